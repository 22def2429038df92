"""Charges, electrostatics and dispersion in periodic cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import make_supercell, molecule
from ase.md.verlet import VelocityVerlet
from ase.stress import voigt_6_to_full_3x3_stress
from ase.units import fs
from crystals import SYSTEMS, CellSurface, evaluated, liquid, polyethylene, sheet, small_cell
from scans import roughness
from scipy.spatial.transform import Rotation
from test_contract import (
    GRADIENT,
    JUMP_ENERGY,
    JUMP_FORCES,
    LIGHT,
    LONG_RANGE,
    MOST_ENERGY,
    MOST_FORCES,
    STEP,
    hard,
    random_model,
)
from test_periodic import CROSSINGS, NOTICEABLE, STRESS
from untrained import METADATA

from se3set_ase import Potential, SE3SetCalculator
from se3set_ase.checkpoint.store import save_checkpoint
from se3set_ase.nn.longrange.config import LongRangeConfig
from se3set_ase.nn.model import SE3Set
from se3set_ase.system import UnsupportedSystem

EXACT = 1e-9  # eV/atom, eV/Angstrom: sums over pairs
DISPERSION = LongRangeConfig(dispersion=True)
#: Systems that are periodic in all directions, as electrostatics needs.
SOLIDS = ["liquid", "diamond", "oblique chains", "small cell"]
CASES = [(LONG_RANGE, name) for name in SOLIDS] + [(DISPERSION, name) for name in SYSTEMS]


def ids(value: object) -> str:
    return "charges" if value is LONG_RANGE else "dispersion" if value is DISPERSION else str(value)


def model_with(long_range: LongRangeConfig | None) -> SE3Set:
    return random_model(LIGHT, long_range=long_range)


@pytest.fixture
def charged(tmp_path: Path) -> Path:
    values = {**vars(METADATA), "charges": (-1, 0, 1)}
    save_checkpoint(tmp_path / "model", model_with(LONG_RANGE), type(METADATA)(**values))
    return tmp_path / "model"


@pytest.mark.parametrize(("long_range", "name"), CASES, ids=ids)
def test_a_supercell_is_several_cells(long_range: LongRangeConfig, name: str) -> None:
    model, atoms = model_with(long_range), SYSTEMS[name]()
    n = tuple(2 if periodic else 1 for periodic in atoms.pbc)
    n = (n[0], n[1], 1) if all(atoms.pbc) else n
    energies, forces, strain = evaluated(model, atoms)
    times = int(np.prod(n))
    many, many_forces, many_strain = evaluated(model, atoms * n)
    np.testing.assert_allclose(many, np.tile(energies, times), rtol=0, atol=EXACT)
    np.testing.assert_allclose(many_forces, np.tile(forces, (times, 1)), rtol=0, atol=EXACT)
    np.testing.assert_allclose(many_strain, times * strain, rtol=0, atol=10 * EXACT)
    without = random_model(LIGHT)
    assert abs(evaluated(without, atoms)[0].sum() - energies.sum()) > NOTICEABLE


@pytest.mark.parametrize(("long_range", "name"), CASES, ids=ids)
def test_forces_and_stress_are_derivatives(
    long_range: LongRangeConfig, name: str, rng: np.random.Generator
) -> None:
    model, atoms = model_with(long_range), SYSTEMS[name]()
    _, forces, strain = evaluated(model, atoms)
    h = 1e-4

    def energy(change: np.ndarray, epsilon: np.ndarray) -> float:
        other, scale = atoms.copy(), np.eye(3) + epsilon
        other.positions = (atoms.positions + change) @ scale
        other.set_cell(atoms.cell.array @ scale)
        return float(evaluated(model, other)[0].sum())

    none, still = np.zeros((3, 3)), np.zeros_like(forces)
    direction = rng.normal(size=forces.shape)
    slope = (energy(h * direction, none) - energy(-h * direction, none)) / (2 * h)
    assert -(forces * direction).sum() == pytest.approx(slope, abs=20 * GRADIENT)
    volume = atoms.cell.volume if atoms.cell.rank == 3 else 100.0
    full = voigt_6_to_full_3x3_stress(strain)
    for i, j in [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]:
        epsilon = np.zeros((3, 3))
        epsilon[i, j] += 0.5 * h
        epsilon[j, i] += 0.5 * h
        slope = (energy(still, epsilon) - energy(still, -epsilon)) / (2 * h)
        assert full[i, j] / volume == pytest.approx(slope / volume, abs=STRESS)
    assert np.abs(strain).max() / volume > 1e3 * STRESS


@pytest.mark.parametrize(("long_range", "name"), CASES, ids=ids)
def test_translation_wrapping_rotation_and_order_change_nothing(
    long_range: LongRangeConfig, name: str, rng: np.random.Generator
) -> None:
    model, atoms = model_with(long_range), SYSTEMS[name]()
    energies, forces, strain = evaluated(model, atoms)
    others = []
    moved = atoms.copy()
    moved.positions += [31.7, -8.3, 2.9]
    jumps = rng.integers(-3, 4, size=(len(atoms), 3)) * atoms.pbc
    moved.positions += jumps @ atoms.cell.array
    others.append((moved, np.eye(3)))
    turn = -Rotation.random(rng=5).as_matrix()
    turned = atoms.copy()
    turned.positions = atoms.positions @ turn.T
    turned.set_cell(atoms.cell.array @ turn.T)
    others.append((turned, turn))
    if all(atoms.pbc):
        matrix = np.array([[1, 0, 0], [2, 1, 0], [0, 0, 1]])
        others.append((make_supercell(atoms, matrix, wrap=False), np.eye(3)))
    for other, back in others:
        e, f, s = evaluated(model, other)
        np.testing.assert_allclose(e, energies, rtol=0, atol=EXACT)
        np.testing.assert_allclose(f, forces @ back.T, rtol=0, atol=EXACT)
        assert s[:3].sum() == pytest.approx(strain[:3].sum(), abs=10 * EXACT)
    order = rng.permutation(len(atoms))
    e, f, _ = evaluated(model, atoms[order])
    np.testing.assert_allclose(e, energies[order], rtol=0, atol=EXACT)
    np.testing.assert_allclose(f, forces[order], rtol=0, atol=EXACT)


@pytest.mark.parametrize(("make", "repeats"), [(polyethylene, 19), (sheet, 21)])
def test_dispersion_in_a_cell_is_that_in_the_middle_of_a_cluster(make, repeats: int) -> None:
    """The path of isolated molecules, which knows no cells, gives the same energies."""
    model, atoms = model_with(DISPERSION), make()
    n = tuple(repeats if p else 1 for p in atoms.pbc)
    cluster = atoms * n
    cluster.pbc = False
    middle = sum(
        repeats // 2 * len(atoms) * int(np.prod(n[k + 1 :])) for k in range(3) if atoms.pbc[k]
    )
    own = slice(middle, middle + len(atoms))
    energies, _, _ = evaluated(model, cluster)
    expected, _, _ = evaluated(model, atoms)
    np.testing.assert_allclose(energies[own], expected, rtol=0, atol=EXACT)
    assert abs(energies[0] - expected[0]) > NOTICEABLE


def test_a_molecule_in_vacuum_nears_the_free_molecule() -> None:
    """Its own images are dipoles: their energy falls with the volume. Dispersion is exact."""
    atoms = molecule("CH3CONH2")
    atoms.rattle(0.05, seed=2)
    for long_range, exact in ((DISPERSION, True), (LONG_RANGE, False)):
        model = model_with(long_range)
        free, free_forces, _ = evaluated(model, atoms)
        away = []
        for length in (24.0, 48.0):
            boxed = atoms.copy()
            boxed.set_cell(length * np.eye(3))
            boxed.pbc = True
            energies, forces, _ = evaluated(model, boxed)
            away.append(float(energies.sum() - free.sum()))
        if exact:
            assert np.abs(away).max() < 1e-10
            np.testing.assert_allclose(forces, free_forces, rtol=0, atol=1e-10)
        else:
            assert away[0] / away[1] == pytest.approx(8.0, rel=0.05)
            np.testing.assert_allclose(forces, free_forces, rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", CROSSINGS)
@pytest.mark.parametrize("long_range", [LONG_RANGE, DISPERSION], ids=ids)
def test_energy_is_smooth_through_events_across_the_boundary(
    long_range: LongRangeConfig, name: str
) -> None:
    atoms, path, (start, end) = CROSSINGS[name]()
    if long_range.charges and not all(atoms.pbc):
        pytest.skip("electrostatics needs a cell that is periodic in all directions")
    model = model_with(long_range)
    surface = CellSurface(model, atoms, path)
    events = CellSurface(model, atoms, path, edges=False).events(start, end, n=80, most=3)
    assert len(events) >= 2
    worst = [roughness(surface, t, STEP, n=3) for t in events]
    assert max(r.energy for r in worst) < MOST_ENERGY
    assert max(r.forces for r in worst) < MOST_FORCES
    jumping = CellSurface(hard(model), atoms, path, edges=False)
    control = [roughness(jumping, t, STEP, n=3) for t in jumping.events(start, end, 80, most=4)]
    assert max(r.energy for r in control) > JUMP_ENERGY
    assert max(r.forces for r in control) > JUMP_FORCES


def test_a_pair_that_leaves_the_range_of_dispersion_is_no_event() -> None:
    """The cell grows until images of an atom are further apart than the sum goes."""
    model = model_with(DISPERSION)
    atoms = Atoms("O", pbc=[True, False, False])

    def energy(length: float) -> float:
        atoms.set_cell([length, 0, 0])
        return float(evaluated(model, atoms)[0].sum())

    step = 1e-3
    for length in (12.0, 15.0):
        values = [energy(length + k * step) for k in range(-3, 4)]
        assert np.abs(np.diff(values, 3)).max() < 1e-12
    assert energy(12.0) < energy(14.0) < energy(15.0) == energy(16.0)


def test_results_of_ase(charged: Path) -> None:
    atoms = liquid()
    atoms.calc = SE3SetCalculator(charged)
    charges, stress = atoms.get_charges(), atoms.get_stress()
    assert charges.sum() == pytest.approx(0.0, abs=1e-10)
    assert np.ptp(charges) > 0.01
    _, _, strain = evaluated(model_with(LONG_RANGE), atoms)
    np.testing.assert_allclose(stress, strain / atoms.get_volume(), rtol=0, atol=STRESS)
    with pytest.raises(NotImplementedError, match="dipole"):
        atoms.get_dipole_moment()
    with pytest.raises(NotImplementedError, match="a cell has no dipole"):
        atoms.calc.get_dipole_derivatives()


def test_second_derivatives(charged: Path) -> None:
    atoms = small_cell()
    atoms.rattle(0.05, seed=3)
    atoms.calc = calc = SE3SetCalculator(charged)
    matrix = calc.get_hessian(atoms)
    for k in range(0, 9, 2):
        found = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions.flat[k] += sign * 1e-4
            moved.calc = calc
            found.append(moved.get_forces().ravel())
        np.testing.assert_allclose(matrix[k], (found[1] - found[0]) / 2e-4, atol=1e-4)
    assert np.abs(matrix).max() > 1.0


def test_cells_and_molecules_in_one_batch(charged: Path) -> None:
    potential = Potential(charged, device="cpu")
    ammonium = molecule("NH3") + Atoms("H", [[0.0, 0.0, 1.5]])
    ammonium.info["charge"] = 1
    molecules = [molecule("H2O"), liquid(), ammonium, small_cell()]
    for atoms, found in zip(molecules, potential.predict(molecules), strict=True):
        (alone,) = potential.predict([atoms])
        assert found.energy == pytest.approx(alone.energy, abs=EXACT)
        np.testing.assert_allclose(found.forces, alone.forces, rtol=0, atol=EXACT)
        np.testing.assert_allclose(found.charges, alone.charges, rtol=0, atol=EXACT)
        assert (found.stress is None) == (not atoms.pbc.any())


def test_energy_is_conserved(charged: Path) -> None:
    """Molecular dynamics across the boundary, with images of atoms that move."""
    atoms = liquid()
    atoms.calc = SE3SetCalculator(charged)
    rng = np.random.default_rng(4)
    atoms.set_velocities(0.02 * rng.normal(size=(len(atoms), 3)))
    drifts = []
    for timestep, steps in ((0.05, 40), (0.025, 80)):
        moving = atoms.copy()
        moving.calc = atoms.calc
        start = moving.get_total_energy()
        VelocityVerlet(moving, timestep * fs).run(steps)
        drifts.append(abs(moving.get_total_energy() - start))
    assert drifts[1] < 0.5 * drifts[0]  # the integrator's, which falls as the square
    assert drifts[1] < 1e-3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pbc": [True, True, False]}, "in all directions or none"),
        ({"info": {"charge": 1}}, "expected a neutral cell"),
    ],
)
def test_sums_over_images_without_a_limit_are_refused(
    charged: Path, change: dict[str, object], message: str
) -> None:
    atoms = liquid()
    potential = Potential(charged, device="cpu")
    potential.predict([atoms])  # the control
    if "info" in change:
        atoms += Atoms("H", [[3.0, 3.0, 1.0]])
        atoms.info["charge"] = 1
    else:
        atoms.pbc = change["pbc"]
    with pytest.raises(UnsupportedSystem, match=message):
        potential.predict([atoms])
