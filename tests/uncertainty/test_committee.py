"""The committee of a model: uncertainties against its members, and warnings."""

from __future__ import annotations

import json
import pickle
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import InputError, PropertyNotImplementedError
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from paths import acetylacetone
from untrained import ENERGY_FACTOR, FORCES_FACTOR, METADATA, tiny_model
from untrained import save_committee as make

from se3set_ase import SE3SetCalculator
from se3set_ase.checkpoint import registry
from se3set_ase.checkpoint.metadata import CheckpointError
from se3set_ase.checkpoint.registry import COMMITTEE_FILE, resolve_model, write_registry
from se3set_ase.checkpoint.store import save_checkpoint
from se3set_ase.hypergraph.build import build_hypergraph
from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.hypergraph.weighted import WeightedHypergraph
from se3set_ase.nn.weighting import weighted_hypergraph
from se3set_ase.potential import Potential, Prediction
from se3set_ase.uncertainty import novelty
from se3set_ase.uncertainty.calibration import Calibration, read_calibration, write_calibration
from se3set_ase.uncertainty.committee import Committee, environments
from se3set_ase.uncertainty.novelty import NoveltyTracker

ROUNDING = 1e-12


def ethanol(seed: int = 0) -> Atoms:
    atoms = molecule("CH3CH2OH")
    atoms.positions += 0.05 * np.random.default_rng(seed).standard_normal(atoms.positions.shape)
    return atoms


def test_uncertainty_is_the_spread_of_the_members(tmp_path: Path) -> None:
    atoms, folder = ethanol(), make(tmp_path / "model")
    found = [Potential(folder / name).predict([atoms])[0] for name in (".", "member-1", "member-2")]
    energies = [p.energy for p in found]
    mean = sum(energies) / 3
    energy = ENERGY_FACTOR * (sum((e - mean) ** 2 for e in energies) / 2) ** 0.5
    centre = sum(p.forces for p in found) / 3
    forces = [
        FORCES_FACTOR * (sum(((p.forces - centre)[i] ** 2).sum() for p in found) / 2) ** 0.5
        for i in range(len(atoms))
    ]
    assert energy > 1e-3
    assert min(forces) > 1e-3

    atoms.calc = SE3SetCalculator(folder)
    assert atoms.calc.energy_uncertainty is None
    assert atoms.get_potential_energy() == pytest.approx(found[0].energy, abs=ROUNDING)
    assert atoms.calc.energy_uncertainty == pytest.approx(energy, abs=ROUNDING)
    assert atoms.calc.forces_uncertainty == pytest.approx(np.array(forces), abs=ROUNDING)


def test_members_that_agree_have_no_uncertainty(tmp_path: Path) -> None:
    atoms = ethanol()
    atoms.calc = SE3SetCalculator(make(tmp_path, seeds=(1, 1, 1)))
    atoms.get_forces()
    assert atoms.calc.energy_uncertainty == pytest.approx(0.0, abs=ROUNDING)
    assert atoms.calc.forces_uncertainty == pytest.approx(np.zeros(len(atoms)), abs=ROUNDING)


@pytest.mark.filterwarnings("ignore:model 'tiny' was not trained on")
def test_hard_members_are_compared_with_hard_ones(tmp_path: Path) -> None:
    """All members have the same weights, and smooth ones would differ from hard ones."""
    atoms = ethanol()
    atoms.set_distance(2, 3, 1.35, fix=0)  # a bond in between
    with pytest.warns(UserWarning, match="hard"):
        atoms.calc = SE3SetCalculator(make(tmp_path, seeds=(1, 1, 1)), refragment="hard")
    hard = atoms.get_potential_energy()
    assert atoms.calc.energy_uncertainty == pytest.approx(0.0, abs=ROUNDING)
    atoms.calc = SE3SetCalculator(tmp_path)
    assert abs(atoms.get_potential_energy() - hard) > 1e-3  # the control


def test_members_of_another_kind_are_refused_at_once(tmp_path: Path) -> None:
    folder = make(tmp_path)
    model = tiny_model(1)
    model.hypergraph = replace(model.hypergraph, cutoff=4.0)
    save_checkpoint(folder / "member-1", model, METADATA)
    write_calibration(folder, ["member-1"], familiar_forces=1.0)
    with pytest.raises(CheckpointError, match="hypergraph of the first member"):
        SE3SetCalculator(folder)
    save_checkpoint(folder / "member-1", tiny_model(1), replace(METADATA, level_of_theory="HF"))
    write_calibration(folder, ["member-1"], familiar_forces=1.0)
    with pytest.raises(CheckpointError, match="level_of_theory of the first member"):
        SE3SetCalculator(folder)


def test_uncertainty_is_that_of_the_last_geometry(tmp_path: Path) -> None:
    calc = SE3SetCalculator(make(tmp_path))
    found = []
    for seed in (0, 1, 0):
        atoms = ethanol(seed)
        atoms.calc = calc
        atoms.get_potential_energy()
        found.append(calc.energy_uncertainty)
    assert found[0] == found[2] != found[1]
    atoms.positions[1] = atoms.positions[0]
    with pytest.raises(InputError, match="atoms 0 and 1"):
        atoms.get_potential_energy()
    assert calc.energy_uncertainty is None
    assert calc.forces_uncertainty is None


def test_a_run_evaluates_only_the_first_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    atoms = ethanol()
    atoms.calc = SE3SetCalculator(make(tmp_path))
    atoms.get_potential_energy()
    calls = []
    monkeypatch.setattr(
        atoms.calc.potential.committee.others[0], "evaluate", lambda *_: calls.append(1) or [found]
    )
    found = Potential(tmp_path).predict([atoms])[0]
    for _ in range(5):
        atoms.rattle(0.001)
        atoms.get_forces()
    assert not calls
    assert atoms.calc.energy_uncertainty is not None  # the control
    assert len(calls) == 1


def test_results_survive_files_of_ase(tmp_path: Path) -> None:
    atoms = ethanol()
    atoms.calc = SE3SetCalculator(make(tmp_path / "model"))
    atoms.get_forces()
    assert atoms.calc.forces_uncertainty is not None
    SinglePointCalculator(atoms, **atoms.calc.results)
    write(tmp_path / "a.extxyz", atoms)
    assert read(tmp_path / "a.extxyz").get_potential_energy() == pytest.approx(
        atoms.get_potential_energy()
    )


def test_environments() -> None:
    atoms = acetylacetone()
    atoms.calc = calc = SE3SetCalculator("acac")
    atoms.get_potential_energy()
    assert calc.hypergraph is not None
    found = environments(calc.hypergraph)
    assert {"C(C,H,H,H)", "C(C,C,H)", "C(C,C,O)", "H(C)"} <= found
    assert all("N" not in e for e in found)


@pytest.mark.parametrize(
    ("name", "marked"),
    [
        ("CH3", {"C(H,H,H)*"}),
        ("CH2_s1A1d", {"C(H,H)*"}),
        ("OH", {"O(H)*"}),
        ("C2H4", set()),
        ("HCN", set()),
        ("CO", set()),
        ("CH3CHO", set()),
        ("SO2", {"O(S)*"}),  # the valence of sulfur is not unique
    ],
)
def test_atoms_with_an_open_valence_are_marked(name: str, marked: set[str]) -> None:
    atoms = molecule(name)
    config = HypergraphConfig()
    structure = build_hypergraph(atoms.numbers, atoms.positions, config)
    seen = weighted_hypergraph(structure, atoms.positions, config)
    assert {found for found in environments(seen) if found.endswith("*")} == marked


def test_uncertainties_have_a_minimum(tmp_path: Path) -> None:
    """Root of the sum of squares; an isolated atom is exact."""
    folder, floors = make(tmp_path / "model"), {"energy_floor": 0.7, "forces_floor": 0.3}
    atoms = ethanol()
    atoms.calc = SE3SetCalculator(folder)
    atoms.get_potential_energy()
    spread, spread_of_forces = atoms.calc.energy_uncertainty, atoms.calc.forces_uncertainty
    before = read_calibration(folder / COMMITTEE_FILE)
    others = {k: v for k, v in before if k not in ("members", "sha256")}
    write_calibration(folder, [m.folder for m in before.members], **others | floors)
    atoms.calc = SE3SetCalculator(folder)
    atoms.get_potential_energy()
    assert atoms.calc.energy_uncertainty == pytest.approx(np.hypot(spread, 0.7))
    assert atoms.calc.forces_uncertainty == pytest.approx(np.hypot(spread_of_forces, 0.3))
    alone = Atoms("H", calculator=SE3SetCalculator(folder, spin_multiplicity=2))
    alone.get_potential_energy()
    assert alone.calc.energy_uncertainty == alone.calc.forces_uncertainty == 0.0


def test_a_new_environment_is_reported_once(tmp_path: Path) -> None:
    calc = SE3SetCalculator(make(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        known = ethanol()
        known.calc = calc
        known.get_forces()
    atoms = molecule("CH3OCH3")
    atoms.calc = calc
    with pytest.warns(
        UserWarning, match=r"was not trained on atoms bonded as C\(H,H,H,O\), O\(C,C\)"
    ):
        atoms.get_forces()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            atoms.rattle(0.01)
            atoms.get_forces()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each uncertainty that a committee evaluates."""
    times: list[int] = []
    original = Committee.uncertainties

    def counted(self: Committee, predictions: Sequence[Prediction]) -> list[Any]:
        times.extend([1] * len(predictions))
        return original(self, predictions)

    monkeypatch.setattr(Committee, "uncertainties", counted)
    return times


def test_a_displaced_molecule_is_not_checked_again(tmp_path: Path, asked: list[int]) -> None:
    atoms = ethanol()
    atoms.calc = SE3SetCalculator(make(tmp_path))
    for _ in range(3):
        atoms.get_forces()
        atoms.positions += 3.0
    assert len(asked) == 1
    atoms.rotate_dihedral(0, 1, 2, 3, 120, mask=[0, 0, 0, 1, 0, 0, 0, 0, 0])
    atoms.get_forces()
    assert len(asked) == 2


def test_a_long_run_is_checked_rarely(
    tmp_path: Path, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interval between checks is three times the steps so far, up to a limit. A geometry that
    is further away than one step is checked."""
    monkeypatch.setattr(novelty, "MAX_INTERVAL", 16)
    atoms = ethanol()
    atoms.calc = SE3SetCalculator(make(tmp_path))
    checks = []
    for step in range(1, 101):
        atoms.rotate_dihedral(0, 1, 2, 3, 120 if step == 99 else 23, mask=[0, 0, 0, 1, *[0] * 5])
        before = len(asked)
        atoms.get_forces()
        checks += [step] * (len(asked) - before)
    assert checks[0] == 1
    assert checks[-1] == 99
    gaps = [(a, b - a) for a, b in pairwise(checks[:-1])]
    assert len(gaps) > 4
    assert all(gap == min(3 * a, 16) for a, gap in gaps), checks


@pytest.mark.filterwarnings("ignore:model 'tiny' was not trained on")
def test_a_rise_in_energy_is_checked(tmp_path: Path, asked: list[int]) -> None:
    """If it is 0.1 eV per atom higher than at any check before."""
    atoms = ethanol()
    atoms.calc = SE3SetCalculator(make(tmp_path))
    checks, heights = [], []
    for step in range(40):
        before = len(asked)
        heights.append(atoms.get_potential_energy() / 9)
        checks += [step] * (len(asked) - before)
        atoms.positions *= 0.99
    highest, expected = -np.inf, []
    for step, height in enumerate(heights):
        if height > highest + 0.1 or step == 0:
            expected.append(step)
            highest = height
    assert checks == expected
    assert len(checks) > 3


def test_each_formula_of_a_screening_is_reported_once_for_each_reason(tmp_path: Path) -> None:
    calc = SE3SetCalculator(make(tmp_path))
    ether = molecule("CH3OCH3")
    rotated, shuffled = ether.copy(), ether[::-1]
    rotated.positions = rotated.positions @ np.diag([1.0, -1.0, -1.0])
    broken = ether.copy()
    broken.positions[np.argmax(broken.numbers == 1)] += 4.0
    reported = []
    for name, atoms in (
        ("ether", ether),
        ("ethanol", ethanol()),
        ("rotated ether", rotated),
        ("ether in another order", shuffled),
        ("methanol", molecule("CH3OH")),
        ("methane", molecule("CH4")),
        ("broken ether", broken),
        ("methane", molecule("CH4")),
    ):
        atoms.calc = calc
        with warnings.catch_warnings(record=True) as issued:
            warnings.simplefilter("always")
            atoms.get_forces()
        reported += [name] * len(issued)
    assert reported == ["ether", "methanol", "methane", "broken ether"]


def test_images_that_share_a_calculator_are_tracked_separately(
    tmp_path: Path, asked: list[int]
) -> None:
    calc, images = SE3SetCalculator(make(tmp_path)), [molecule("CH3OCH3") for _ in range(3)]
    for k, image in enumerate(images):
        image.positions[0] += 0.6 * k
        image.calc = calc
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always")
        for _ in range(10):
            for image in images:
                image.rattle(1e-3, seed=1)
                image.get_forces()
    assert len(asked) == len(images)
    assert len(issued) == len({str(w.message) for w in issued}) > 0


def spread(count: int, n_atoms: int = 3) -> list[WeightedHypergraph]:
    """Geometries of one molecule, at least 1 Angstrom apart, in random positions."""
    rng = np.random.default_rng(3)
    none = np.zeros(0)
    structure = build_hypergraph(
        np.full(n_atoms, 6), 9.0 * np.arange(3 * n_atoms).reshape(-1, 3), HypergraphConfig()
    )
    found = []
    for index in range(count):
        positions = 0.1 * rng.normal(size=(n_atoms, 3))
        positions[0, 0] += 3.0 * index
        found.append(
            WeightedHypergraph(
                structure=structure,
                positions=positions,
                bond_weights=none,
                fragment_weights=none,
                hyperedge_weights=none,
                hyperedge_reach=none,
            )
        )
    return found


def test_two_thousand_geometries_are_tracked_by_the_nearest() -> None:
    tracker, rng = NoveltyTracker(), np.random.default_rng(2)
    images = spread(novelty.REMEMBERED)
    tracked = [tracker.follow(image) for image in images]
    assert len(set(tracked)) == len(images) >= 1000
    for _ in range(2):
        for index in rng.permutation(len(images)):
            near = images[index].positions + rng.uniform(-0.2, 0.2, size=(3, 3))
            images[index] = replace(images[index], positions=near + rng.normal(size=3))
            assert tracker.follow(images[index]) is tracked[index]


def test_the_least_recently_used_geometry_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(novelty, "REMEMBERED", 3)
    tracker = NoveltyTracker()
    a, b, c, d = spread(4)
    other = spread(1, n_atoms=4)[0]
    first = {name: tracker.follow(image) for name, image in zip("abcd", (a, b, c, d), strict=True)}
    assert tracker.follow(b) is first["b"]
    assert tracker.follow(d) is first["d"]
    tracker.follow(other)  # in place of c
    assert tracker.follow(d) is first["d"]
    assert tracker.follow(b) is first["b"]
    assert tracker.follow(c) is not first["c"]


@pytest.mark.filterwarnings("ignore:model 'tiny' was not trained on")
def test_larger_errors_are_reported_if_they_are_twice_as_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calc = SE3SetCalculator(make(tmp_path))
    limit = calc.potential.committee.calibration.familiar_forces
    expected = {1.1: True, 1.2: False, 2.1: False, 2.3: True, 0.9: False, 4.0: False, 5.0: True}
    for factor, reported in expected.items():
        errors = np.array([0.5 * limit] * 8 + [factor * limit])
        monkeypatch.setattr(
            Committee, "uncertainties", lambda _, p, e=errors: [(0.1, e) for _ in p]
        )
        atoms = ethanol()
        atoms.positions = (
            atoms.positions
            @ np.linalg.qr(np.random.default_rng(int(100 * factor)).normal(size=(3, 3)))[0]
        )
        atoms.calc = calc
        with warnings.catch_warnings(record=True) as issued:
            warnings.simplefilter("always")
            atoms.get_forces()
        found = [str(w.message) for w in issued if "may be wrong by" in str(w.message)]
        assert len(found) == reported, factor


def test_a_calculator_keeps_its_committee(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the folder is not found any more: in another working folder, or from a pickle."""
    make(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    atoms = ethanol()
    atoms.calc = SE3SetCalculator("model")
    taken = pickle.dumps(atoms.calc)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    energy = atoms.get_potential_energy()
    uncertainty = atoms.calc.energy_uncertainty
    shutil.rmtree(tmp_path / "model")
    atoms.calc = pickle.loads(taken)
    assert atoms.get_potential_energy() == energy
    assert atoms.calc.energy_uncertainty == uncertainty > 0


def test_a_broken_bond_can_be_new(tmp_path: Path) -> None:
    atoms = ethanol()
    atoms.calc = SE3SetCalculator(make(tmp_path))
    atoms.get_forces()
    atoms.set_distance(2, 3, 3.5, fix=0)
    with pytest.warns(UserWarning, match=r"H\(\)\*, O\(C\)\* \(\* has an open valence\)"):
        atoms.get_forces()


def test_geometries_far_from_the_data_are_reported(tmp_path: Path) -> None:
    atoms = ethanol()
    atoms.calc = SE3SetCalculator(make(tmp_path, familiar_forces=1e-3))
    with pytest.warns(UserWarning, match=r"may be wrong by .* eV/Angstrom at [CHO]\d"):
        atoms.get_forces()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        atoms.rattle(0.01)
        atoms.get_forces()  # the next step of a run
        atoms.rotate_dihedral(0, 1, 2, 3, 120, mask=[0, 0, 0, 1, 0, 0, 0, 0, 0])
        atoms.get_forces()  # a conformer, of the same formula
    ethane = molecule("C2H6")
    ethane.calc = atoms.calc
    with pytest.warns(UserWarning, match="may be wrong by .* of C2H6;"):
        ethane.get_forces()


def test_a_model_without_a_committee_raises() -> None:
    calc = SE3SetCalculator("acac")
    with pytest.raises(PropertyNotImplementedError, match="'acac'"):
        _ = calc.energy_uncertainty
    with pytest.raises(PropertyNotImplementedError, match="committee"):
        _ = calc.forces_uncertainty
    assert not hasattr(calc, "energy_uncertainty")  # as inspect.getmembers requires


def signed(content: dict[str, Any]) -> str:
    """A manipulated file with a valid checksum."""
    calibration = Calibration(**content)
    return calibration.model_copy(update={"sha256": calibration.digest}).model_dump_json()


def test_damaged_committees(tmp_path: Path) -> None:
    folder = make(tmp_path / "model")
    file = folder / COMMITTEE_FILE
    good = file.read_text()
    content = json.loads(good)
    bad = {
        "damaged": good[: len(good) // 2],
        "schema version": json.dumps({**content, "schema_version": 2}),
        "plain name": signed(
            {**content, "members": [{**content["members"][0], "folder": "../other"}]}
        ),
        "familiar_forces": json.dumps({**content, "familiar_forces": -1.0}),
        "another_key": json.dumps({**content, "another_key": 1}),
        "checksum mismatch, recorded": json.dumps({**content, "energy_factor": 7.0}),
        "recorded '', contents hash to": json.dumps(
            {k: v for k, v in content.items() if k != "sha256"}
        ),
    }
    for message, text in bad.items():
        file.write_text(text)
        with pytest.raises(CheckpointError, match=message):
            SE3SetCalculator(folder)
    file.write_text(good)
    SE3SetCalculator(folder)


def test_replaced_members(tmp_path: Path) -> None:
    folder = make(tmp_path / "model")
    save_checkpoint(folder / "member-1", tiny_model(7), METADATA)
    with pytest.raises(CheckpointError, match=r"not the file that committee\.json lists"):
        SE3SetCalculator(folder)
    shutil.rmtree(folder / "member-1")
    with pytest.raises(CheckpointError, match="missing"):
        SE3SetCalculator(folder)


def test_members_of_other_elements(tmp_path: Path) -> None:
    folder = make(tmp_path / "model")
    shutil.copytree(resolve_model("acac"), folder / "other")
    write_calibration(folder, ["other"], familiar_forces=1.0)
    with pytest.raises(CheckpointError, match="of the first member"):
        SE3SetCalculator(folder)


def test_the_registry_knows_the_committee(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make(tmp_path / "tiny")
    write_registry(tmp_path)
    monkeypatch.setattr(registry, "models_folder", lambda: tmp_path)
    assert SE3SetCalculator("tiny").potential.committee is not None
    file = folder / COMMITTEE_FILE
    content = file.read_text()
    file.write_text(content + "\n")
    with pytest.raises(CheckpointError, match="not the one that was released"):
        SE3SetCalculator("tiny")
    file.unlink()
    with pytest.raises(CheckpointError, match="lacks committee"):
        SE3SetCalculator("tiny")
