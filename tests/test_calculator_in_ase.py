"""The calculator among ASE's tools: caching, copies, optimisers, integrators, NEB, files."""

from __future__ import annotations

import copy
import inspect
import multiprocessing
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.db
import ase.io
import ase.optimize
import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.calculator import get_calculator_class
from ase.constraints import FixAtoms
from ase.io.trajectory import Trajectory
from ase.md.andersen import Andersen
from ase.md.bussi import Bussi
from ase.md.langevin import Langevin
from ase.md.nvtberendsen import NVTBerendsen
from ase.md.verlet import VelocityVerlet
from ase.mep import NEB
from ase.optimize.ode import ODE12r
from ase.optimize.sciopt import SciPyFminBFGS, SciPyFminCG
from ase.vibrations import Vibrations
from untrained import Make

from se3set_ase import SE3SetCalculator

SAME_ENERGY = 1e-10  # eV
SAME_FORCES = 1e-9  # eV/Angstrom
FILE_FORCES = 1e-7  # eV/Angstrom, written as text with eight digits


def methanol(seed: int = 0) -> Atoms:
    atoms = molecule("CH3OH")
    atoms.rattle(0.03, seed=seed)
    return atoms


def fresh(atoms: Atoms, make: Make) -> tuple[float, np.ndarray]:
    """Energy and unconstrained forces of a new calculator."""
    other = atoms.copy()
    other.calc = make()
    return other.get_potential_energy(), other.get_forces(apply_constraint=False)


def assert_fresh(atoms: Atoms, make: Make) -> None:
    energy, forces = fresh(atoms, make)
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=SAME_ENERGY)
    assert np.allclose(atoms.get_forces(apply_constraint=False), forces, rtol=0, atol=SAME_FORCES)


# --- Caching ---------------------------------------------------------------------------------


@pytest.fixture
def counted(make: Make, monkeypatch: pytest.MonkeyPatch) -> tuple[SE3SetCalculator, list[int]]:
    calculator, passes = make(), []
    evaluate = calculator.potential.evaluate

    def count(*args: Any) -> Any:
        passes.append(1)
        return evaluate(*args)

    monkeypatch.setattr(calculator.potential, "evaluate", count)
    return calculator, passes


def change_positions(atoms: Atoms) -> None:
    atoms.positions[0, 0] += 1e-9


def change_numbers(atoms: Atoms) -> None:
    atoms.numbers[0] = 8


@pytest.mark.parametrize(
    ("change", "recalculates"),
    [
        (change_positions, True),
        (change_numbers, True),
        (lambda a: a.info.update(charge=0), True),
        (lambda a: a.info.update(spin_multiplicity=1), True),
        (lambda a: a.set_initial_charges([0.1, -0.1, 0, 0, 0, 0]), True),
        (lambda a: None, False),
        (lambda a: a.set_cell([30.0, 30.0, 30.0]), False),
        (lambda a: a.info.update(name="methanol", weights=np.ones(3)), False),
        (lambda a: a.set_velocities(np.ones((6, 3))), False),
        (lambda a: a.set_constraint(FixAtoms([0])), False),
        (lambda a: a.set_tags(1), False),
        (lambda a: a.set_masses([1.0] * 6), False),
    ],
)
def test_what_is_calculated_again(
    counted: tuple[SE3SetCalculator, list[int]],
    change: Callable[[Atoms], None],
    recalculates: bool,
) -> None:
    calculator, passes = counted
    atoms = methanol()
    atoms.calc = calculator
    atoms.get_forces()
    assert calculator.check_state(atoms) == []
    change(atoms)
    assert bool(calculator.check_state(atoms)) == recalculates
    assert calculator.calculation_required(atoms, ["energy"]) == recalculates
    atoms.get_potential_energy()
    assert len(passes) == 1 + recalculates


def test_a_cell_without_periodicity_is_ignored(make: Make) -> None:
    atoms, boxed = methanol(), methanol()
    boxed.set_cell([4.0, 4.0, 4.0])
    boxed.translate([20.0, 0, 0])
    atoms.calc, boxed.calc = make(), make()
    assert boxed.get_potential_energy() == pytest.approx(
        atoms.get_potential_energy(), abs=SAME_ENERGY
    )


def test_inputs_are_never_changed(make: Make) -> None:
    atoms = methanol()
    atoms.info.update(charge=0, note=[1, 2])
    atoms.set_initial_charges([0.1, -0.1, 0, 0, 0, 0])
    before = atoms.copy()
    atoms.calc = make()
    atoms.get_potential_energy()
    atoms.get_forces()
    assert atoms == before
    assert atoms.info == before.info
    assert set(atoms.arrays) == set(before.arrays)
    assert all(np.array_equal(atoms.arrays[k], v) for k, v in before.arrays.items())


def test_results_handed_out_are_copies(make: Make) -> None:
    atoms = methanol()
    atoms.calc = make()
    forces = atoms.get_forces()
    kept = forces.copy()
    forces[:] = 0.0
    atoms.get_potential_energies()[:] = 0.0
    assert np.array_equal(atoms.get_forces(), kept)
    assert atoms.get_potential_energies().any()
    assert kept.any()


def test_a_wrapper_may_change_results(make: Make) -> None:
    """ASE hands out copies; what adds a bias to ``calc.results`` itself gets none."""
    atoms = methanol()
    atoms.calc = make()
    atoms.get_forces()
    parts = atoms.calc.fragment_energies
    atoms.calc.results["energies"] += 1.0
    assert atoms.calc.fragment_energies == parts


# --- Copies ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))]
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_copies_are_equal_and_independent(
    make: Make, duplicate: Callable[[SE3SetCalculator], SE3SetCalculator], dtype: str
) -> None:
    atoms = methanol()
    unused = duplicate(make(dtype=dtype))
    calculator = make(dtype=dtype)
    energy = calculator.get_potential_energy(atoms)
    broken = atoms.copy()
    broken.set_distance(0, 2, 2.5, fix=0)
    calculator.get_potential_energy(broken)
    used = duplicate(calculator)
    assert used.results["energy"] == calculator.results["energy"]
    assert used.events == calculator.events != []
    assert used.parameters == calculator.parameters
    for other in (unused, used):
        assert other.get_potential_energy(atoms) == energy
        assert np.array_equal(other.get_forces(atoms), calculator.get_forces(atoms))
    n = len(calculator.events)
    used.get_potential_energy(broken)
    assert len(calculator.events) == n < len(used.events)
    with_calculator = duplicate(Atoms("CO", [[0, 0, 0], [0, 0, 1.2]], calculator=calculator))  # type: ignore[arg-type]
    assert np.isfinite(with_calculator.get_potential_energy())


def test_another_process_gets_the_same_number(make: Make) -> None:
    atoms, calculator = methanol(), make()
    energy = calculator.get_potential_energy(atoms)
    atoms.positions += 1.0  # so that it has to calculate
    # Not fork: torch has threads.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.apply(SE3SetCalculator.get_potential_energy, (calculator, atoms))
    assert there == pytest.approx(energy, abs=SAME_ENERGY)


def test_one_calculator_for_several_atoms(make: Make) -> None:
    calculator = make()
    molecules = [methanol(1), methanol(2), molecule("H2O"), molecule("C6H6"), Atoms("O")]
    for atoms in molecules:
        atoms.calc = calculator
    for atoms in [*molecules, *molecules[::-1], molecules[0], molecules[0]]:
        assert_fresh(atoms, make)


# --- Optimisers and integrators --------------------------------------------------------------

# CellAwareBFGS is for cells.
OPTIMIZERS = {
    **{
        name: kind
        for name, kind in vars(ase.optimize).items()
        if inspect.isclass(kind) and issubclass(kind, ase.optimize.optimize.Optimizer)
    },
    "ODE12r": ODE12r,
    "SciPyFminBFGS": SciPyFminBFGS,
    "SciPyFminCG": SciPyFminCG,
}


def test_the_optimizers_are_all_of_them() -> None:
    usual = {"BFGS", "LBFGS", "LBFGSLineSearch", "BFGSLineSearch", "FIRE", "FIRE2", "MDMin"}
    assert usual | {"GPMin", "GoodOldQuasiNewton", "QuasiNewton"} <= set(OPTIMIZERS)


@pytest.mark.parametrize("name", sorted(set(OPTIMIZERS) - {"Optimizer", "CellAwareBFGS"}))
def test_optimizers_run(make: Make, name: str) -> None:
    atoms = methanol()
    atoms.calc = make()
    start, before = atoms.get_potential_energy(), atoms.positions.copy()
    optimizer = OPTIMIZERS[name](atoms, logfile=None)
    optimizer.run(fmax=1e-3, steps=4)
    assert np.isfinite(atoms.positions).all()
    assert np.abs(atoms.positions - before).max() > 1e-3
    assert_fresh(atoms, make)
    if "MD" not in name and "FIRE" not in name:
        assert atoms.get_potential_energy() < start


INTEGRATORS: dict[str, Callable[[Atoms], Any]] = {
    "VelocityVerlet": lambda a: VelocityVerlet(a, 0.5 * units.fs),
    "Langevin": lambda a: Langevin(
        a,
        0.5 * units.fs,
        temperature_K=300,
        friction=0.01 / units.fs,
        fixcm=False,
        rng=np.random.default_rng(1),
    ),
    "Andersen": lambda a: Andersen(
        a, 0.5 * units.fs, temperature_K=300, andersen_prob=0.1, rng=np.random.default_rng(1)
    ),
    "Bussi": lambda a: Bussi(
        a, 0.5 * units.fs, temperature_K=300, taut=10 * units.fs, rng=np.random.default_rng(1)
    ),
    "NVTBerendsen": lambda a: NVTBerendsen(
        a, 0.5 * units.fs, temperature_K=300, taut=10 * units.fs
    ),
    # Not in the oldest ASE that is supported.
    "NoseHooverChainNVT": lambda a: pytest.importorskip(
        "ase.md.nose_hoover_chain"
    ).NoseHooverChainNVT(a, 0.5 * units.fs, temperature_K=300, tdamp=50 * units.fs),
}


@pytest.mark.parametrize("name", INTEGRATORS)
def test_integrators_run(make: Make, name: str) -> None:
    atoms = methanol()
    atoms.calc = make()
    atoms.set_velocities(0.02 * np.random.default_rng(4).normal(size=(6, 3)))
    before = atoms.positions.copy()
    INTEGRATORS[name](atoms).run(10)
    assert np.isfinite(atoms.get_momenta()).all()
    assert np.abs(atoms.positions - before).max() > 1e-3
    assert_fresh(atoms, make)


def test_constraints_are_kept(make: Make) -> None:
    atoms = methanol()
    atoms.set_constraint(FixAtoms([0, 1]))
    atoms.calc = make()
    before = atoms.positions.copy()
    ase.optimize.BFGS(atoms, logfile=None).run(fmax=1e-3, steps=5)
    assert np.array_equal(atoms.positions[:2], before[:2])
    assert np.abs(atoms.positions[2:] - before[2:]).max() > 1e-3
    assert not atoms.get_forces()[:2].any()


def test_vibrations(make: Make, tmp_path: Path) -> None:
    """ASE's Hessian from forces is symmetric as that of an energy must be."""
    atoms = molecule("H2O")
    atoms.calc = make()
    vibrations = Vibrations(atoms, name=str(tmp_path / "vib"), delta=1e-4)
    vibrations.run()
    hessian = vibrations.get_vibrations(direction="central").get_hessian_2d()
    assert np.abs(hessian - hessian.T).max() < 1e-5 * np.abs(hessian).max()


# --- NEB -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("climb", [True, False])
def test_neb_with_one_calculator_or_many(make: Make, shared: bool, climb: bool) -> None:
    images = [methanol(seed) for seed in range(5)]
    calculator = make()
    for image in images:
        image.calc = calculator if shared else make()
    neb = NEB(images, climb=climb, method="improvedtangent", allow_shared_calculator=shared)
    neb.interpolate()
    before = [image.positions.copy() for image in images]
    ase.optimize.FIRE(neb, logfile=None).run(fmax=1e-3, steps=3)
    assert np.abs(images[2].positions - before[2]).max() > 1e-4
    assert np.array_equal(images[0].positions, before[0])
    for image, energy in zip(images[1:-1], neb.energies[1:-1], strict=True):
        expected, _ = fresh(image, make)
        # The energies are those before the last step; the geometry is that after it.
        assert np.isfinite(energy)
        assert image.get_potential_energy() == pytest.approx(expected, abs=SAME_ENERGY)
    assert len({round(e, 9) for e in neb.energies}) == 5


def test_a_shared_and_separate_calculators_take_the_same_path(make: Make) -> None:
    paths = []
    for shared in (True, False):
        images = [methanol(seed) for seed in range(4)]
        calculator = make()
        for image in images:
            image.calc = calculator if shared else make()
        neb = NEB(images, method="improvedtangent", allow_shared_calculator=shared)
        ase.optimize.FIRE(neb, logfile=None).run(fmax=1e-3, steps=4)
        paths.append(np.array([image.positions for image in images]))
    assert np.allclose(paths[0], paths[1], rtol=0, atol=1e-9)


# --- Files -----------------------------------------------------------------------------------


def test_trajectory_keeps_energy_and_forces(make: Make, tmp_path: Path) -> None:
    atoms = methanol()
    atoms.calc = make()
    expected = []
    with Trajectory(tmp_path / "run.traj", "w", atoms) as trajectory:
        optimizer = ase.optimize.BFGS(atoms, logfile=None)
        optimizer.attach(trajectory)
        optimizer.attach(
            lambda: expected.append((atoms.get_potential_energy(), atoms.get_forces()))
        )
        optimizer.run(fmax=1e-3, steps=3)
    frames = ase.io.read(tmp_path / "run.traj", index=":")
    assert len(frames) == len(expected) == 4
    for frame, (energy, forces) in zip(frames, expected, strict=True):
        assert frame.get_potential_energy() == energy
        assert np.array_equal(frame.get_forces(), forces)
        assert frame.calc.results["free_energy"] == energy
        assert frame.calc.results["energies"].sum() == pytest.approx(energy, abs=SAME_ENERGY)
        assert frame.calc.name == "se3set"
    assert len({e for e, _ in expected}) == 4


def test_a_device_may_be_torchs(saved: Path, tmp_path: Path) -> None:
    atoms = methanol()
    atoms.calc = SE3SetCalculator(saved, device=torch.device("cpu"))
    energy = atoms.get_potential_energy()
    with Trajectory(tmp_path / "run.traj", "w", atoms) as trajectory:
        trajectory.write()
    assert ase.io.read(tmp_path / "run.traj").get_potential_energy() == energy


@pytest.mark.parametrize("name", ["frame.xyz", "frame.json", "frame.db"])
def test_other_files_keep_energy_and_forces(make: Make, tmp_path: Path, name: str) -> None:
    atoms = methanol()
    atoms.calc = make()
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    ase.io.write(tmp_path / name, atoms)
    frame = ase.io.read(tmp_path / name)
    assert frame.get_potential_energy() == pytest.approx(energy, abs=1e-6)
    assert np.allclose(frame.get_forces(), forces, rtol=0, atol=FILE_FORCES)


@pytest.mark.parametrize("kind", ["trajectory", "database"])
def test_a_calculator_is_made_again_from_a_file(make: Make, tmp_path: Path, kind: str) -> None:
    """Numbers are kept to the last digit, and with them by what they were made."""
    atoms = methanol()
    atoms.calc = make(dtype="float32", skin=0.7)
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    if kind == "trajectory":
        ase.io.write(tmp_path / "frame.traj", atoms)
        frame = ase.io.read(tmp_path / "frame.traj")
        name, parameters = frame.calc.name, frame.calc.parameters
    else:
        with ase.db.connect(tmp_path / "frame.db") as database:
            row = database.get(database.write(atoms))
        frame, name, parameters = row.toatoms(), row.calculator, row.calculator_parameters
    assert frame.get_potential_energy() == energy
    assert np.array_equal(frame.get_forces(), forces)
    assert np.array_equal(frame.positions, atoms.positions)
    assert parameters == atoms.calc.todict()
    frame.calc = get_calculator_class(name)(**parameters)
    assert frame.calc.parameters == atoms.calc.parameters
    assert frame.get_potential_energy() == energy
    frame.calc = make()  # the control
    assert frame.get_potential_energy() != energy


def test_properties_without_a_calculation(counted: tuple[SE3SetCalculator, list[int]]) -> None:
    calculator, passes = counted
    atoms = methanol()
    assert calculator.get_property("energy", atoms, allow_calculation=False) is None
    forces = calculator.get_property("forces", atoms)
    assert len(passes) == 1
    assert np.array_equal(calculator.get_property("forces", atoms, False), forces)
    energy = calculator.get_property("energy", atoms, False)  # of the same pass
    assert energy == calculator.results["energy"]
    change_positions(atoms)
    assert calculator.get_property("energy", atoms, False) is None
    assert calculator.get_property("energy", atoms) != energy
    assert len(passes) == 2


def test_parameters_are_the_requested_ones(make: Make, saved: Path) -> None:
    parameters = make(charge=0, skin=0.7).todict()
    assert parameters["model"] == str(saved)
    assert parameters["skin"] == 0.7
    assert make().todict().get("skin") is None  # ASE leaves defaults out


def test_nothing_is_printed(make: Make, capfd: pytest.CaptureFixture[str]) -> None:
    atoms = methanol()
    atoms.calc = make()
    atoms.get_forces()
    copy.deepcopy(atoms.calc)
    assert tuple(capfd.readouterr()) == ("", "")
