"""Models that correct another method: results are the sum, and errors name the part."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import CalculationFailed, CalculatorSetupError, InputError
from ase.calculators.morse import MorsePotential
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.io import read
from untrained import METADATA, save_committee, tiny_model

from se3set_ase import Potential, SE3SetCalculator
from se3set_ase.baseline import KNOWN, Baseline
from se3set_ase.checkpoint.metadata import BaselineMethod, CheckpointError
from se3set_ase.checkpoint.store import load_metadata, save_checkpoint
from se3set_ase.evaluate import evaluate
from se3set_ase.integrations.replicas import Replicas
from se3set_ase.simulate import md, relax, relax_many

ROUNDING = 1e-9  # eV and eV/Angstrom
DIFFERENCES = 1e-5  # eV/Angstrom, of differences of energies at STEP
SECOND_DIFFERENCES = 2e-3  # eV/Angstrom^2, of differences of forces at STEP
STEP = 2e-4  # Angstrom

OPTIONS = {"epsilon": 2.0, "r0": 1.2, "rho0": 3.0}
MORSE = BaselineMethod(
    name="Morse", calculator="ase.calculators.morse:MorsePotential", options=OPTIONS, package="ase"
)


def ethanol() -> Atoms:
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=3)
    return atoms


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model on top of ASE's Morse potential."""
    path = tmp_path_factory.mktemp("models") / "corrected"
    save_checkpoint(path, tiny_model(), replace(METADATA, baseline=MORSE))
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> SE3SetCalculator:
    """The same network without a baseline."""
    path = tmp_path_factory.mktemp("models") / "plain"
    save_checkpoint(path, tiny_model(), replace(METADATA, charges=(-1, 0, 1)))
    return SE3SetCalculator(path)


def test_results_are_the_sum(folder: Path, plain: SE3SetCalculator) -> None:
    atoms = ethanol()
    atoms.calc = SE3SetCalculator(folder, baseline=MorsePotential)
    morse = MorsePotential(**OPTIONS)
    parts = [c.get_potential_energy(atoms) for c in (plain, morse)]
    assert abs(parts[1]) > 1.0
    assert atoms.get_potential_energy() == pytest.approx(sum(parts), abs=ROUNDING)
    forces = plain.get_forces(atoms) + morse.get_forces(atoms)
    np.testing.assert_allclose(atoms.get_forces(), forces, atol=ROUNDING)
    # ASE's Morse potential has energies of atoms.
    assert atoms.get_potential_energies().sum() == pytest.approx(sum(parts), abs=ROUNDING)
    assert sum(e for _, e in atoms.calc.fragment_energies) == pytest.approx(
        sum(parts), abs=ROUNDING
    )


class NoAtomicEnergies(MorsePotential):
    """A method with energies of whole molecules only."""

    def calculate(self, *args: object, **kwargs: object) -> None:
        super().calculate(*args, **kwargs)
        del self.results["energies"]


def test_energies_of_atoms_need_those_of_the_baseline(
    folder: Path, plain: SE3SetCalculator
) -> None:
    atoms = ethanol()
    atoms.calc = SE3SetCalculator(folder, baseline=NoAtomicEnergies)
    atoms.get_potential_energy()
    assert "energies" not in atoms.calc.results
    correction = plain.get_potential_energy(atoms)
    assert sum(e for _, e in atoms.calc.fragment_energies) == pytest.approx(
        correction, abs=ROUNDING
    )


def test_every_way_to_evaluate_includes_the_baseline(folder: Path) -> None:
    potential = Potential(folder, baseline=MorsePotential)
    molecules = [ethanol(), molecule("H2O")]
    expected = []
    for atoms in molecules:
        atoms.calc = SE3SetCalculator(folder, baseline=MorsePotential)
        expected.append(atoms.get_potential_energy())
    found = [p.energy for p in potential.predict(molecules)]
    np.testing.assert_allclose(found, expected, atol=ROUNDING)
    relaxed = relax_many(molecules, potential, steps=0)
    np.testing.assert_allclose(
        [r.atoms.get_potential_energy() for r in relaxed], expected, atol=ROUNDING
    )


def test_second_derivatives(folder: Path) -> None:
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=1)
    calc = atoms.calc = SE3SetCalculator(folder, baseline=MorsePotential)
    hessian = calc.get_hessian(atoms)
    for k in range(9):
        forces = []
        for sign in (1.0, -1.0):
            moved = atoms.copy()
            moved.calc = calc
            moved.positions.flat[k] += sign * STEP
            forces.append(moved.get_forces().ravel())
        row = (forces[1] - forces[0]) / (2.0 * STEP)
        np.testing.assert_allclose(hessian[k], row, atol=SECOND_DIFFERENCES)
    assert np.abs(hessian).max() > 1000.0 * SECOND_DIFFERENCES


def test_a_baseline_of_unknown_origin_is_not_imported(folder: Path) -> None:
    with pytest.raises(CalculatorSetupError, match="expected the calculator of Morse"):
        SE3SetCalculator(folder)


def test_a_known_name_with_another_calculator_is_not_imported(tmp_path: Path) -> None:
    other = replace(KNOWN["GFN2-xTB"], calculator="os:system")
    save_checkpoint(tmp_path, tiny_model(), replace(METADATA, baseline=other))
    with pytest.raises(CalculatorSetupError, match="expected the calculator of GFN2-xTB"):
        SE3SetCalculator(tmp_path)


def test_a_model_of_whole_energies_takes_no_baseline(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, tiny_model(), METADATA)
    with pytest.raises(CalculatorSetupError, match="expected no baseline"):
        SE3SetCalculator(tmp_path, baseline=MorsePotential)


def test_an_edited_baseline_is_detected(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        text = file.read_bytes().replace(b'"epsilon": 2.0', b'"epsilon": 2.5')
        (tmp_path / file.name).write_bytes(text)
    with pytest.raises(CheckpointError, match="is not as it was saved"):
        Potential(tmp_path, baseline=MorsePotential)


def test_files_without_a_baseline_stay_as_they_were(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, tiny_model(), METADATA)
    assert "baseline" not in (tmp_path / "model.json").read_text()
    assert load_metadata(tmp_path).baseline is None


class Failing(MorsePotential):
    """Does not converge for stretched molecules."""

    def calculate(self, *args: object, **kwargs: object) -> None:
        super().calculate(*args, **kwargs)
        if self.atoms.get_all_distances().max() > 5.0:
            raise RuntimeError("SCF not converged")


def test_a_failure_names_the_baseline_and_ends_there(folder: Path) -> None:
    atoms = ethanol()
    calc = atoms.calc = SE3SetCalculator(folder, baseline=Failing)
    energy = atoms.get_potential_energy()
    stretched = atoms.copy()
    stretched.positions[0] += 6.0
    stretched.calc = calc
    with pytest.raises(CalculationFailed, match=r"Morse, the baseline.*SCF not converged"):
        stretched.get_potential_energy()
    assert not calc.results
    assert calc.get_potential_energy(atoms) == energy


def test_not_a_number_is_a_failure(folder: Path) -> None:
    class Broken(MorsePotential):
        def calculate(self, *args: object, **kwargs: object) -> None:
            super().calculate(*args, **kwargs)
            self.results["energy"] = np.nan

    atoms = ethanol()
    atoms.calc = SE3SetCalculator(folder, baseline=Broken)
    with pytest.raises(CalculationFailed, match="got NaN or infinity"):
        atoms.get_potential_energy()


def test_the_committee_compares_corrections(tmp_path: Path) -> None:
    folder = save_committee(tmp_path / "members")
    atoms = ethanol()
    plain = SE3SetCalculator(folder)
    plain.get_potential_energy(atoms)
    other = save_committee(tmp_path / "corrected", metadata=replace(METADATA, baseline=MORSE))
    calc = SE3SetCalculator(other, baseline=MorsePotential)
    calc.get_potential_energy(atoms)
    assert plain.energy_uncertainty is not None
    assert plain.energy_uncertainty > 0.1
    assert calc.energy_uncertainty == pytest.approx(plain.energy_uncertainty, abs=ROUNDING)
    np.testing.assert_allclose(calc.forces_uncertainty, plain.forces_uncertainty, atol=ROUNDING)


def test_one_failure_does_not_end_a_relaxation_of_many(folder: Path) -> None:
    class FailsLater(MorsePotential):
        calls = 0

        def calculate(self, *args: object, **kwargs: object) -> None:
            super().calculate(*args, **kwargs)
            FailsLater.calls += len(self.atoms) == 9
            if FailsLater.calls > 3 and len(self.atoms) == 9:
                raise RuntimeError("SCF not converged")

    potential = Potential(folder, baseline=FailsLater)
    failed, other = relax_many([ethanol(), molecule("H2O")], potential, steps=5, fmax=1e-6)
    assert isinstance(failed.error, CalculationFailed)
    assert len(failed.energy) == 3
    assert other.error is None
    assert other.n_steps == 5


class FailsFrom:
    """Makes calculators that all fail from a given call on, as a method that lost its way."""

    def __init__(self, call: int):
        self.calls_left = call

    def __call__(self, **options: float) -> MorsePotential:
        outer = self

        class Counted(MorsePotential):
            def calculate(self, *args: object, **kwargs: object) -> None:
                outer.calls_left -= 1
                if outer.calls_left <= 0:
                    raise RuntimeError("SCF not converged")
                super().calculate(*args, **kwargs)

        return Counted(**options)


@pytest.mark.parametrize("constrained", [False, True])
def test_a_failure_in_dynamics_keeps_the_complete_steps(
    folder: Path, tmp_path: Path, constrained: bool
) -> None:
    def started(call: int) -> Atoms:
        atoms = ethanol()
        if constrained:
            atoms.set_constraint(FixAtoms([0]))
        atoms.calc = SE3SetCalculator(folder, baseline=FailsFrom(call))
        return atoms

    options = {"ensemble": "nve", "timestep": 0.2, "temperature_K": 200, "seed": 1, "interval": 1}
    atoms, whole = started(6), started(1000)
    with pytest.warns(UserWarning, match="ended after step 4: Morse, the baseline.*SCF not conv"):
        result = md(atoms, steps=20, trajectory=tmp_path / "md.traj", **options)
    expected = md(whole, steps=4, **options)
    assert isinstance(result.error, CalculationFailed)
    assert not result.interrupted
    assert result.n_steps == 4
    np.testing.assert_allclose(result.total, expected.total, atol=ROUNDING)
    np.testing.assert_allclose(atoms.positions, whole.positions, atol=ROUNDING)
    np.testing.assert_allclose(atoms.get_momenta(), whole.get_momenta(), atol=ROUNDING)
    assert len(read(tmp_path / "md.traj", ":")) == 5
    assert "4 steps (failed): Morse, the baseline" in str(result)


def test_a_failure_in_a_relaxation_keeps_the_complete_steps(folder: Path, tmp_path: Path) -> None:
    atoms = ethanol()
    atoms.calc = SE3SetCalculator(folder, baseline=FailsFrom(4))
    with pytest.warns(UserWarning, match="ended after step 2"):
        result = relax(atoms, fmax=1e-6, steps=20, trajectory=tmp_path / "relax.traj")
    assert isinstance(result.error, CalculationFailed)
    assert not result.converged
    assert len(result.energy) == 3
    assert "failed: Morse, the baseline" in result.summary()
    frames = read(tmp_path / "relax.traj", ":")
    assert len(frames) == 3
    np.testing.assert_array_equal(frames[-1].positions, atoms.positions)


def test_a_failure_at_the_first_geometry_is_raised(folder: Path) -> None:
    for run in (md, relax):
        atoms = ethanol()
        atoms.calc = SE3SetCalculator(folder, baseline=FailsFrom(1))
        with pytest.raises(CalculationFailed, match="SCF not converged"):
            run(atoms)


def test_a_failure_in_an_evaluation_names_the_frame(folder: Path) -> None:
    frames = []
    for stretch in (0.0, 0.1, 6.0):
        atoms = ethanol()
        atoms.positions[0] += stretch
        atoms.calc = SinglePointCalculator(atoms, energy=0.0)
        frames.append(atoms)
    with pytest.raises(CalculationFailed, match="frame 2: Morse, the baseline"):
        evaluate(Potential(folder, baseline=Failing), frames)


def test_a_hypergraph_needs_no_baseline(folder: Path) -> None:
    calc = SE3SetCalculator(folder, baseline=FailsFrom(2))
    atoms = ethanol()
    calc.get_potential_energy(atoms)
    assert calc.seen_at(molecule("H2O")).structure.numbers.tolist() == [8, 1, 1]
    with pytest.raises(CalculationFailed):
        calc.get_potential_energy(molecule("H2O"))


def test_replicas_include_the_baseline(folder: Path) -> None:
    """As torch-sim and i-PI evaluate molecules."""
    atoms = ethanol()
    atoms.calc = SE3SetCalculator(folder, baseline=MorsePotential)
    replicas = Replicas(Potential(folder, baseline=MorsePotential))
    for found in replicas.predict([molecule("H2O"), atoms])[1:]:
        assert found.energy == pytest.approx(atoms.get_potential_energy(), abs=ROUNDING)
        np.testing.assert_allclose(found.forces, atoms.get_forces(), atol=ROUNDING)
        assert abs(found.energy - found.correction.energy) > 1.0


@pytest.fixture
def xtb(tmp_path: Path) -> Path:
    """A small model on top of GFN2-xTB, for charges -1 to 1."""
    pytest.importorskip("tblite")
    metadata = replace(METADATA, baseline=KNOWN["GFN2-xTB"], charges=(-1, 0, 1))
    save_checkpoint(tmp_path, tiny_model(), metadata)
    return tmp_path


def test_charge_reaches_gfn2_xtb(xtb: Path, plain: SE3SetCalculator) -> None:
    from tblite.ase import TBLite

    hydronium = Atoms("OH3", [[0, 0, 0.1], [0.9, 0, 0], [-0.5, 0.8, 0], [-0.5, -0.8, 0]])
    hydronium.info["charge"] = 1
    hydronium.calc = SE3SetCalculator(xtb)
    direct = TBLite(method="GFN2-xTB", accuracy=0.01, verbosity=0, charge=1, multiplicity=1)
    bare = Atoms(hydronium.numbers, hydronium.positions)
    expected = direct.get_potential_energy(bare) + plain.get_potential_energy(hydronium)
    assert hydronium.get_potential_energy() == pytest.approx(expected, abs=1e-6)
    assert hydronium.get_charges().sum() == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(
        hydronium.get_dipole_moment(), direct.get_dipole_moment(bare), atol=1e-4
    )


def test_forces_on_gfn2_xtb_are_the_gradient(xtb: Path) -> None:
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=1)
    atoms.calc = SE3SetCalculator(xtb)
    forces = atoms.get_forces().copy()
    for k in range(9):
        energies = []
        for sign in (1.0, -1.0):
            moved = atoms.copy()
            moved.calc = atoms.calc
            moved.positions.flat[k] += sign * STEP
            energies.append(moved.get_potential_energy())
        assert -(energies[0] - energies[1]) / (2.0 * STEP) == pytest.approx(
            forces.flat[k], abs=DIFFERENCES
        )
    assert np.abs(forces).max() > 0.1


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_copies_of_a_used_calculator(
    xtb: Path, duplicate: Callable[[SE3SetCalculator], SE3SetCalculator]
) -> None:
    calc = SE3SetCalculator(xtb)
    water = molecule("H2O")
    hessian = calc.get_hessian(water)
    other = duplicate(calc)
    other.get_potential_energy(molecule("CH3OH"))
    np.testing.assert_allclose(calc.get_hessian(water), hessian, atol=SECOND_DIFFERENCES)
    assert other.get_potential_energy(water) == pytest.approx(
        calc.get_potential_energy(water), abs=1e-6
    )


def test_an_isolated_ion_is_refused(xtb: Path) -> None:
    atom = Atoms("O", info={"charge": -1})
    atom.calc = SE3SetCalculator(xtb)
    with pytest.raises(InputError, match="expected a neutral atom"):
        atom.get_potential_energy()


def test_an_atom_has_the_same_baseline_for_any_spin() -> None:
    pytest.importorskip("tblite")
    baseline = Baseline(KNOWN["GFN2-xTB"])
    origin = np.zeros((1, 3))
    energies = [baseline.evaluate(np.array([8]), origin, 0, spin).energy for spin in (1, 3)]
    assert energies[0] == energies[1]


def test_another_version_of_the_program_is_reported() -> None:
    pytest.importorskip("tblite")
    with pytest.warns(UserWarning, match="trained with tblite 0.0.1"):
        Baseline(replace(KNOWN["GFN2-xTB"], version="0.0.1"))


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tblite.ase", None)
    with pytest.raises(ImportError, match=r"pip install 'se3set-ase\[xtb\]'"):
        Baseline(KNOWN["GFN2-xTB"])
