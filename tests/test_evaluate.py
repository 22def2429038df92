"""Errors over labelled frames, against sums done by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read
from untrained import METADATA, save_committee, tiny_model

from se3set_ase.calculator import SE3SetCalculator
from se3set_ase.checkpoint.store import load_checkpoint, save_checkpoint
from se3set_ase.evaluate import OtherLevel, evaluate
from se3set_ase.potential import Potential
from se3set_ase.simulate import md


class Zero(Calculator):
    """No energy, no forces: the errors are the labels themselves."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: object = None,
        system_changes: object = all_changes,
    ) -> None:
        super().calculate(atoms)
        self.calls += 1
        self.results = {"energy": 0.0, "forces": np.zeros((len(self.atoms), 3))}


def frame(name: str = "H2O", *, energy: float | None = None, force: float | None = None) -> Atoms:
    atoms = molecule(name)
    results = {}
    if energy is not None:
        results["energy"] = energy
    if force is not None:
        results["forces"] = np.full((len(atoms), 3), force)
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def test_errors_of_labelled_frames() -> None:
    frames = [frame("H2O", energy=0.003, force=0.01), frame("CH4", energy=-0.001, force=-0.03)]
    result = evaluate(Zero(), frames)
    assert result["n_frames"] == 2
    assert result["energy_mae_meV"] == pytest.approx(2.0)
    assert result["energy_rmse_meV"] == pytest.approx(np.sqrt(5.0))
    assert result["energy_mae_meV_per_atom"] == pytest.approx((3 / 3 + 1 / 5) / 2)
    # Components, not frames, weigh the same: 9 of 10 meV/A and 15 of 30 meV/A.
    assert result["forces_mae_meV_A"] == pytest.approx((9 * 10 + 15 * 30) / 24)
    assert result["forces_rmse_meV_A"] == pytest.approx(np.sqrt((9 * 100 + 15 * 900) / 24))
    assert (result["n_energies"], result["n_force_components"]) == (2, 24)
    assert result["complete"]


def test_missing_labels_are_null() -> None:
    result = evaluate(Zero(), [frame(energy=0.002), frame(energy=0.004)])
    assert result["energy_mae_meV"] == pytest.approx(3.0)
    assert result["forces_mae_meV_A"] is None
    assert result["forces_rmse_meV_A"] is None
    assert json.loads(json.dumps(result))["forces_rmse_meV_A"] is None
    result = evaluate(Zero(), [molecule("H2O"), frame(force=0.01)])
    assert result["n_frames"] == 2
    assert result["energy_mae_meV"] is None
    assert result["energy_mae_meV_per_atom"] is None
    assert result["forces_mae_meV_A"] == pytest.approx(10.0)


def test_no_frames() -> None:
    result = evaluate(Zero(), [])
    assert result["n_frames"] == 0
    assert result["energy_rmse_meV"] is None


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_batches_change_nothing(batch_size: int) -> None:
    frames = [frame(energy=0.001 * i, force=0.01 * i) for i in range(5)]
    done: list[int] = []
    result = evaluate(Zero(), iter(frames), batch_size=batch_size, progress=done.append)
    assert result == evaluate(Zero(), frames)
    assert sum(done) == 5


def test_labels_and_input_survive() -> None:
    frames = [frame(energy=1.0, force=0.5)]
    evaluate(Zero(), frames)
    assert frames[0].get_potential_energy() == 1.0
    assert frames[0].get_forces()[0, 0] == 0.5


def test_frames_are_streamed_and_ctrl_c_keeps_those_done() -> None:
    def frames() -> Iterator[Atoms]:
        for i in range(7):
            if i == 5:
                raise KeyboardInterrupt
            yield frame(energy=0.002, force=0.01)

    calculator = Zero()
    result = evaluate(calculator, frames(), batch_size=2)
    assert result["n_frames"] == 4  # the batch that was being read is not counted by half
    assert result["energy_mae_meV"] == pytest.approx(2.0)
    assert result["n_energies"] == 4
    assert not result["complete"]


@pytest.mark.parametrize("label", ["energy", "force"])
def test_labels_that_are_not_numbers(label: str) -> None:
    frames = [frame(energy=1.0), frame(**{label: float("nan")})]  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"frame 1: expected finite (energy|forces), got NaN"):
        evaluate(Zero(), frames)


def test_labels_of_the_wrong_shape() -> None:
    bad = frame(force=0.1)
    bad.calc.results["forces"] = np.zeros((2, 3))
    with pytest.raises(
        ValueError, match=r"frame 0: expected forces of shape \(3, 3\), got \(2, 3\)"
    ):
        evaluate(Zero(), [bad])


def test_batch_size_is_checked() -> None:
    with pytest.raises(ValueError, match=r"expected a batch size of at least 1, got 0"):
        evaluate(Zero(), [], batch_size=0)


# --- The potential itself --------------------------------------------------------------------

SUM_TOLERANCE = 1e-9  # meV and meV/A, between batches and single molecules


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_checkpoint(folder, tiny_model(), METADATA)
    return folder


def numbers(errors: dict[str, Any]) -> dict[str, float]:
    return {key: value for key, value in errors.items() if isinstance(value, int | float)}


def test_potential_in_batches_equals_the_calculator(model: Path) -> None:
    names = ("H2O", "CH4", "CH3CH2OH", "CO2", "H2O")
    frames = [frame(name, energy=-100.0, force=0.1) for name in names]
    single = evaluate(SE3SetCalculator(model), frames)
    for batch_size in (1, 3, 16):
        batched = evaluate(Potential(model), frames, batch_size=batch_size)
        assert (batched.pop("doubts"), single["doubts"]) == ({}, {})
        assert batched["notes"] == single["notes"]
        assert numbers(batched) == pytest.approx(numbers(single), abs=SUM_TOLERANCE)
    assert single["forces_rmse_meV_A"] > 1.0


@pytest.mark.parametrize("batch_size", [1, 16])
def test_expected_errors_are_those_of_the_committee(tmp_path: Path, batch_size: int) -> None:
    potential = Potential(save_committee(tmp_path), device="cpu")
    frames = [frame(name, energy=-100.0, force=0.1) for name in ("CH3CH2OH", "CH3OCH3")]
    assert potential.committee is not None
    expected = potential.committee.uncertainties(potential.predict(frames, warn=False))
    result = evaluate(potential, frames, batch_size=batch_size)
    energy = 1000 * np.sqrt(np.mean([e**2 for e, _ in expected]))
    force = 1000 * np.sqrt(sum((f**2).sum() for _, f in expected) / (3 * 18))  # of a component
    assert result["energy_uncertainty_rms_meV"] == pytest.approx(energy)
    assert result["forces_uncertainty_rms_meV_A"] == pytest.approx(force)
    assert energy > 1.0
    assert result["n_doubtful"] == 1
    ((number, (reason,)),) = result["doubts"].items()
    assert number == 1
    assert "was not trained on atoms bonded as C(H,H,H,O), O(C,C)" in reason
    without = evaluate(potential, frames, batch_size=batch_size, uncertainty=False)
    assert without["energy_uncertainty_rms_meV"] is None
    assert without["doubts"] == result["doubts"]  # bonds cost nothing


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_unsupported_frames_are_named(model: Path, batch_size: int) -> None:
    potential = Potential(model)

    def refused(bad: Atoms, text: str) -> None:
        frames = [frame("H2O"), frame("CH4"), frame("CO2"), bad]
        with pytest.raises(ValueError, match=rf"^frame 3: {text}"):
            evaluate(potential, frames, batch_size=batch_size)

    refused(molecule("NH3"), r"expected the elements H, C, O, .* got N")
    charged = molecule("H2O")
    charged.info["charge"] = 1
    refused(charged, r"expected charge 0, .* got 1")
    broken = molecule("H2O")
    broken.positions[1] = np.nan
    refused(broken, r"expected finite positions")
    fused = molecule("H2O")
    fused.positions[1] = fused.positions[0]
    refused(fused, r"expected atoms apart from each other")
    refused(Atoms(), r"expected at least one atom, got none")


def test_charge_of_all_frames(model: Path) -> None:
    with pytest.raises(ValueError, match=r"^frame 0: expected charge 0, .* got -1"):
        evaluate(Potential(model), [frame("H2O")], charge=-1)


def test_charged_and_open_shell_models_are_measured(model: Path, tmp_path: Path) -> None:
    made, metadata = load_checkpoint(model)
    radical = replace(metadata, charges=(1,), multiplicities=(2,))
    save_checkpoint(tmp_path / "radical", made, radical)
    potential, frames = Potential(tmp_path / "radical"), [frame("H2O", energy=-1.0)]
    errors = evaluate(potential, frames, charge=1, spin_multiplicity=2)
    assert errors["n_energies"] == 1
    with pytest.raises(ValueError, match=r"spin_multiplicity 2, .* got 1"):
        evaluate(potential, frames, charge=1)


# --- Levels of theory ------------------------------------------------------------------------


def of_level(level: str, names: tuple[str, ...] = ("H2O",)) -> list[Atoms]:
    frames = [frame(name, energy=-1.0, force=0.01) for name in names]
    for atoms in frames:
        atoms.info["level_of_theory"] = level
    return frames


def test_labels_of_another_level_are_refused(model: Path) -> None:
    potential = Potential(model)
    frames = [*of_level(METADATA.level_of_theory), *of_level("GFN2-xTB")]
    with pytest.raises(OtherLevel, match=r"frame 1: expected labels of PBE-D3/def2-SVP.* got GFN2"):
        evaluate(potential, frames)
    with pytest.raises(OtherLevel):
        evaluate(SE3SetCalculator(model), frames)
    found = evaluate(potential, frames, other_level="compare")
    assert found["levels"] == ["GFN2-xTB", "PBE-D3/def2-SVP"]
    assert "the labels are of GFN2-xTB, the model is of PBE-D3/def2-SVP" in found["notes"][0]
    assert evaluate(Zero(), frames)["n_frames"] == 2  # the level of a calculator is unknown
    with pytest.raises(ValueError, match="expected other_level out of"):
        evaluate(potential, frames, other_level="ignore")


@pytest.mark.parametrize("level", ["PBE-D3/def2-SVP", "pbe-d3 / def2-svp", "PBE-D3/DEF2SVP", ""])
def test_the_same_level_in_other_words(model: Path, level: str) -> None:
    found = evaluate(Potential(model), of_level(level))
    assert found["n_frames"] == 1
    assert not any("the model is of" in note for note in found["notes"])


def test_energies_are_aligned_by_elements(model: Path) -> None:
    """Labels that differ from the model by energies of elements alone, but for a known rest."""
    potential = Potential(model)
    names = ("H2O", "CH4", "CH3OH", "CO2", "H2", "C2H6", "CH3CH2OH")
    shifts = {"H": 3.0, "C": 981.25, "O": -17.5}
    rng = np.random.default_rng(3)
    rest = rng.normal(0.0, 0.05, len(names))
    frames = []
    for name, extra in zip(names, rest, strict=True):
        atoms = molecule(name)
        prediction = potential.predict([atoms], warn=False)[0]
        energy = prediction.energy - sum(shifts[s] for s in atoms.symbols) - extra
        atoms.info["level_of_theory"] = "GFN2-xTB"
        labels = {"energy": energy, "forces": prediction.forces + 0.01}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        frames.append(atoms)
    counts = np.array([[list(a.symbols).count(s) for s in shifts] for a in frames], dtype=float)
    fit, *_ = np.linalg.lstsq(counts, rest, rcond=None)
    left = 1000 * (rest - counts @ fit)
    found = evaluate(potential, frames, other_level="align")
    assert found["energy_mae_meV"] == pytest.approx(np.abs(left).mean(), rel=1e-6)
    assert found["energy_rmse_meV"] == pytest.approx(np.sqrt((left**2).mean()), rel=1e-6)
    atoms_in = counts.sum(axis=1)
    assert found["energy_mae_meV_per_atom"] == pytest.approx(np.abs(left / atoms_in).mean())
    assert found["forces_mae_meV_A"] == pytest.approx(10.0)
    for (s, shift), more in zip(shifts.items(), fit, strict=True):
        assert found["element_energies"][s] == pytest.approx(shift + more, abs=1e-6)
    assert any("aligned by fitted energies of the elements: H +" in note for note in found["notes"])
    plain = evaluate(potential, frames, other_level="compare")  # the control
    assert plain["energy_mae_meV"] > 1e5
    assert any("different levels of theory or references" in note for note in plain["notes"])
    own = of_level(potential.metadata.level_of_theory)  # not aligned: that would hide its error
    alone, mixed = (evaluate(potential, f, other_level="align") for f in (own, [*frames, *own]))
    assert alone["energy_mae_meV"] == evaluate(potential, own)["energy_mae_meV"]
    assert alone["element_energies"] is None
    assert not any("too few" in note for note in alone["notes"])
    assert mixed["element_energies"] == pytest.approx(found["element_energies"])
    both = (len(frames) * found["energy_mae_meV"] + alone["energy_mae_meV"]) / (len(frames) + 1)
    assert mixed["energy_mae_meV"] == pytest.approx(both)
    few = evaluate(potential, frames[:3], other_level="align")
    assert few["energy_mae_meV"] is None
    assert any("too few frames to align" in note for note in few["notes"])


def test_a_large_difference_without_a_declared_level_is_noted(model: Path) -> None:
    found = evaluate(Potential(model), [frame("H2O", energy=-1.0)])
    assert any("different levels of theory or references" in note for note in found["notes"])
    right = frame("H2O", energy=Potential(model).predict([molecule("H2O")])[0].energy + 0.01)
    assert evaluate(Potential(model), [right])["notes"] == []


@pytest.mark.parametrize("suffix", ["traj", "xyz"])
def test_its_own_trajectory_is_noted(model: Path, tmp_path: Path, suffix: str) -> None:
    """By the calculator of the file, or by errors that are too small."""
    atoms = molecule("CH3OH")
    atoms.rattle(0.05, seed=1)
    atoms.info["level_of_theory"] = METADATA.level_of_theory  # of the file that the run began from
    atoms.calc = SE3SetCalculator(model)
    md(atoms, steps=3, interval=1, trajectory=tmp_path / f"run.{suffix}")
    frames = read(tmp_path / f"run.{suffix}", ":")
    (note,) = evaluate(Potential(model), frames)["notes"]
    expected = "of 4 frames are predictions of this model" if suffix == "traj" else "are rounding"
    assert expected in note
    other = tmp_path / "other"
    save_checkpoint(other, tiny_model(3), replace(METADATA, name="other"))
    notes = evaluate(Potential(other), frames)["notes"]
    assert not any("this model" in note for note in notes)
    if suffix == "traj":
        assert any(f"predictions of the model {model}" in note for note in notes)


def test_isolated_atoms_are_no_sign_of_its_own_predictions(model: Path) -> None:
    """Their energies are exact, and their forces zero."""
    atom = Atoms("H")
    energy = Potential(model).predict([atom], spin_multiplicity=2)[0].energy
    atom.calc = SinglePointCalculator(atom, energy=energy, forces=np.zeros((1, 3)))
    assert evaluate(Potential(model), [atom], spin_multiplicity=2)["notes"] == []
