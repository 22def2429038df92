"""Every output of a relaxation or of dynamics has the doubt of its geometries."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import read, write
from typer.testing import CliRunner, Result
from untrained import save_committee

from se3set_ase import Potential, SE3SetCalculator
from se3set_ase.cli import app
from se3set_ase.io.smiles import atoms_from_smiles
from se3set_ase.prediction import Prediction
from se3set_ase.simulate import md, relax, relax_many
from se3set_ase.uncertainty.committee import Committee
from se3set_ase.uncertainty.doubt import Doubt

UNSEEN = "was not trained on atoms bonded as C(H,H,H,O), O(C,C)"
LEVEL = "PBE-D3/def2-SVP"
SAME = 1e-9


@pytest.fixture(scope="module")
def committee(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has seen ethanol."""
    return save_committee(tmp_path_factory.mktemp("committee"))


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    """The warnings of the calculator are not the subject here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*model '(tiny|organic|acac)'")
        yield


def ether(committee: Path) -> Atoms:
    atoms = molecule("CH3OCH3")
    atoms.calc = SE3SetCalculator(committee, device="cpu")
    return atoms


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_relaxation_has_the_doubt_of_its_last_geometry(committee: Path, tmp_path: Path) -> None:
    atoms = ether(committee)
    result = relax(atoms, steps=1)
    assert result.doubt is not None
    last = atoms.calc.energy_uncertainty
    assert result.doubt.energy == pytest.approx(last, abs=SAME)
    assert result.doubt.forces == pytest.approx(atoms.calc.forces_uncertainty.max(), abs=SAME)
    (reason,) = result.doubt.reasons
    assert UNSEEN in reason
    text = str(result)
    assert f"uncertainty    {last:.3f} eV, {result.doubt.forces:.3f} eV/A" in text
    assert f"(against {LEVEL})" in text
    assert text.splitlines()[-1] == f"NOT converged; doubtful: {reason}"
    result.to_csv(tmp_path / "run.csv")
    with (tmp_path / "run.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["doubts"], second["doubts"]) == ("", reason)
    assert float(second["energy_uncertainty_eV"]) == pytest.approx(last)
    start = molecule("CH3OCH3")
    start.calc = atoms.calc
    start.get_potential_energy()
    assert abs(atoms.calc.energy_uncertainty - last) > 1e-3  # the control


def test_a_reason_is_in_each_result_though_it_is_warned_of_once(committee: Path) -> None:
    atoms = ether(committee)
    for _ in range(2):
        result = relax(atoms, steps=0)
        assert result.doubt is not None
        assert UNSEEN in result.doubt.reasons[0]
    found = md(atoms, steps=1, seed=1)
    assert UNSEEN in found.doubts[0][1]


def test_a_known_molecule_is_not_doubtful(committee: Path) -> None:
    atoms = molecule("CH3CH2OH")
    atoms.calc = SE3SetCalculator(committee, device="cpu")
    result = relax(atoms, steps=0)
    assert result.doubt is not None
    assert not result.doubt.doubtful
    assert str(result).splitlines()[-1] == "NOT converged"
    assert md(atoms, steps=1, seed=1).doubts == ()


def test_dynamics_have_the_doubt_of_what_was_checked(committee: Path, tmp_path: Path) -> None:
    atoms = ether(committee)
    result = md(atoms, steps=6, interval=3, seed=1, trajectory=tmp_path / "md.traj")
    last = atoms.calc.energy_uncertainty
    assert np.isfinite(result.energy_uncertainty[[0, -1]]).all()
    assert result.energy_uncertainty[-1] >= last - SAME
    (time, reason), *_ = result.doubts
    assert time == 0.0
    assert UNSEEN in reason
    assert f"6 steps; doubtful: from 0 ps on {reason}" in str(result).splitlines()[-1]
    assert f"uncertainty     at most {np.nanmax(result.energy_uncertainty):.3f} eV" in str(result)
    result.to_csv(tmp_path / "md.csv")
    with (tmp_path / "md.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert UNSEEN in rows[0]["doubts"]
    assert float(rows[-1]["energy_uncertainty_eV"]) == pytest.approx(result.energy_uncertainty[-1])
    frames = read(tmp_path / "md.traj", ":")
    assert frames[0].info["doubtful"]
    assert frames[-1].info["energy_uncertainty"] == pytest.approx(last, abs=SAME)
    assert not {"doubts", "energy_uncertainty"} & atoms.info.keys()  # results are not kept there


def test_a_bond_that_breaks_in_a_run_is_found(committee: Path) -> None:
    """Hydrogen leaves the oxygen of ethanol, which the model has not seen."""
    atoms = molecule("CH3CH2OH")
    atoms.calc = SE3SetCalculator(committee, device="cpu")
    momenta = np.zeros((9, 3))
    away = atoms.positions[3] - atoms.positions[2]
    momenta[3] = 2.0 * away / np.linalg.norm(away)  # about 20 km/s
    atoms.set_momenta(momenta)
    result = md(atoms, steps=25, ensemble="nve", velocities="keep", interval=100)
    (time, reason), *_ = result.doubts
    assert 0.0 < time <= 0.0125
    assert "(* has an open valence)" in reason
    broken = [
        at for at, event in zip(result.event_times, result.events, strict=True)
        if event.kind == "bond broken"
    ]  # fmt: skip
    assert time == pytest.approx(broken[0], abs=SAME)


def test_the_committee_is_evaluated_seldom(
    committee: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the first, fourth and last geometry of these; the calculator shares the first ones."""
    atoms = molecule("CH3CH2OH")
    atoms.calc = SE3SetCalculator(committee, device="cpu")
    evaluated: list[int] = []
    original = Committee.uncertainties

    def counted(self: Committee, predictions: Sequence[Prediction]) -> list[Any]:
        evaluated.extend([1] * len(predictions))
        return original(self, predictions)

    monkeypatch.setattr(Committee, "uncertainties", counted)
    md(atoms, steps=30, temperature_K=10, seed=1)
    assert 2 <= len(evaluated) <= 5
    evaluated.clear()
    relax(atoms, steps=10)
    assert 1 <= len(evaluated) <= 3


def test_many_relaxations(committee: Path) -> None:
    potential = Potential(committee, device="cpu")
    molecules = [molecule("CH3CH2OH"), molecule("CH3OCH3")]
    results = relax_many(molecules, potential, steps=1)
    for result in results:
        atoms = result.atoms.copy()
        atoms.calc = SE3SetCalculator(committee, device="cpu")
        atoms.get_potential_energy()
        assert result.doubt is not None
        assert result.doubt.energy == pytest.approx(atoms.calc.energy_uncertainty, abs=SAME)
    assert [r.doubt is not None and r.doubt.doubtful for r in results] == [False, True]
    *_, reason, last = str(results).splitlines()
    assert reason.startswith("molecule 1 doubtful: model 'tiny' was not trained on")
    assert last == "converged: 0 of 2; 1 doubtful (see above)"


def test_outputs_of_the_commands(
    committee: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write("ether.xyz", molecule("CH3OCH3"))
    write("many.xyz", [molecule("CH3OCH3"), molecule("CH3CH2OH")])
    model = ("-m", committee, "--device", "cpu")
    one = run("relax", "ether.xyz", *model, "--steps", 1, "--table", "one.csv")
    assert UNSEEN in one.stdout.splitlines()[-1]
    assert f"(against {LEVEL})" in one.stdout
    assert UNSEEN in Path("one.csv").read_text()
    relaxed = read("ether-relaxed.xyz")
    assert relaxed.info["doubtful"]
    assert UNSEEN in relaxed.info["doubts"]
    assert f"{relaxed.info['energy_uncertainty']:.3f} eV" in one.stdout

    for _ in range(2):  # the second run only reports
        many = run("relax", "many.xyz", *model, "--steps", 1, "--table", "many.csv", "--overwrite")
        assert many.stdout.splitlines()[-1] == "converged: 0 of 2; 1 doubtful (see above)"
        assert UNSEEN in many.stdout
    ether, ethanol = read("many-relaxed.xyz", ":")
    assert UNSEEN in ether.info["doubts"]
    assert ether.info["energy_uncertainty"] > 1e-3
    assert not ethanol.info["doubtful"]
    assert "doubts" not in ethanol.info
    assert ethanol.info["forces_uncertainty"] > 1e-3
    assert Path("many.csv").read_text().count(UNSEEN) == 1

    dynamics = run("md", "ether.xyz", *model, "--steps", 2)
    assert UNSEEN in dynamics.stdout.splitlines()[-1]
    assert UNSEEN in Path("ether-md.csv").read_text()

    frames = [read("many-relaxed.xyz", k) for k in (0, 1)]
    write("labelled.xyz", frames)
    errors = run("evaluate", committee, "labelled.xyz", "--json", "errors.json")
    assert errors.exit_code == 0, errors.output
    assert errors.stdout.splitlines()[-1] == "1 of 2 frames doubtful"
    assert f"frame 0 doubtful: model 'tiny' {UNSEEN}" in errors.stdout
    without = run("evaluate", committee, "labelled.xyz", "--no-uncertainty")
    assert "1 of 2 frames doubtful; uncertainty unknown" in without.stdout.splitlines()[-1]

    # Another model has no committee: nothing remains of the doubt in the file.
    again = run("relax", "ether-relaxed.xyz", "-m", committee / "member-1", "--steps", 0)
    assert "uncertainty    unknown" in again.stdout
    assert "energy_uncertainty" not in read("ether-relaxed-relaxed.xyz").info


def cubane() -> Atoms:
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    outward = 1.09 / np.sqrt(3)  # C-H, Angstrom
    return Atoms("C8H8", np.concatenate([0.785 * corners, (0.785 + outward) * corners]))


def test_a_zwitterion_and_cubane_are_doubtful(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bundled model does not know them: both converge, and the last line says how far."""
    monkeypatch.chdir(tmp_path)
    glycine = atoms_from_smiles("[NH3+]CC(=O)[O-]", seed=1)
    write("many.xyz", [glycine, cubane(), molecule("CH3CH2OH")])
    arguments = ("--fmax", 0.1, "--dtype", "float32", "--device", "cpu")
    result = run("relax", "many.xyz", *arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "converged: 3 of 3; 2 doubtful (see above)"
    assert "molecule 0 doubtful: model 'organic' was not trained on atoms bonded as N(C,H,H,H)" in (
        result.stdout
    )
    assert "molecule 1 doubtful: model 'organic' may be wrong by 0.2" in result.stdout
    assert "molecule 2 doubtful" not in result.stdout
    uncertain = [atoms.info["energy_uncertainty"] for atoms in read("many-relaxed.xyz", ":")]
    assert uncertain[1] > 0.2 > 5 * uncertain[2]


def test_cubane_gets_a_warning() -> None:
    atoms = cubane()
    atoms.calc = SE3SetCalculator(dtype="float32", device="cpu")
    with pytest.warns(UserWarning, match=r"may be wrong by 0\.\d\d eV in the energy of .* C8H8"):
        atoms.get_potential_energy()


def test_doubt_survives_a_file(tmp_path: Path) -> None:
    doubts = (
        Doubt(energy=0.25, forces=0.5, level=LEVEL, reasons=("'a' (b,c) [d]; e", 'f: g=h "i"')),
        Doubt(energy=0.25, forces=0.5, level=LEVEL),
        Doubt(level=LEVEL, reasons=("a",)),
        Doubt(level=LEVEL),
    )
    for suffix in (".xyz", ".traj"):
        path = tmp_path / f"frames{suffix}"
        write(path, [Atoms("H", info=doubt.info) for doubt in doubts])
        found = [Doubt.from_info(atoms.info, LEVEL) for atoms in read(path, ":")]
        assert found == list(doubts)
    assert Doubt.from_info({}, LEVEL) is None


def test_a_model_of_another_molecule_is_a_reason() -> None:
    (result,) = relax_many([molecule("CH3CH2OH")], Potential("acac", device="cpu"), steps=0)
    assert result.doubt is not None
    (reason,) = result.doubt.reasons
    assert reason.startswith("model 'acac' was trained on C5H8O2 only, got C2H6O")
    assert result.doubt.energy is None
