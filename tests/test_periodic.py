"""Periodic cells: the contract of the smooth hypergraph across the boundary."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.build import make_supercell, molecule
from crystals import (
    SYSTEMS,
    CellSurface,
    evaluated,
    liquid,
    polyacetylene,
    polyethylene,
    small_cell,
)
from paths import proton_transfer
from scans import roughness
from scipy.spatial.transform import Rotation
from test_contract import (
    GRADIENT,
    JUMP_ENERGY,
    JUMP_FORCES,
    MOST_ENERGY,
    MOST_FORCES,
    STEP,
    hard,
    random_model,
)

from se3set_ase.hypergraph.lattice import Lattice
from se3set_ase.hypergraph.refragment import Refragmenter

EXACT = 1e-9  # eV/atom, eV/Angstrom
STRESS = 1e-6  # eV/Angstrom^3
NOTICEABLE = 1e-3  # eV, smallest effect of a control


def along(atoms: Atoms, n: tuple[int, int, int]) -> bool:
    """Whether the system is periodic wherever it is repeated."""
    return all(p for k, p in zip(n, atoms.pbc, strict=True) if k > 1)


REPEATS = [
    (name, n)
    for name, make in SYSTEMS.items()
    for n in ((2, 1, 1), (1, 2, 1), (1, 1, 2), (3, 2, 1))
    if along(make(), n)
]


@pytest.mark.parametrize(("name", "n"), REPEATS)
def test_a_supercell_is_several_cells(name, n):
    model, atoms = random_model(), SYSTEMS[name]()
    energies, forces, strain = evaluated(model, atoms)
    times = int(np.prod(n))
    many, many_forces, many_strain = evaluated(model, atoms * n)
    np.testing.assert_allclose(many, np.tile(energies, times), rtol=0, atol=EXACT)
    np.testing.assert_allclose(many_forces, np.tile(forces, (times, 1)), rtol=0, atol=EXACT)
    np.testing.assert_allclose(many_strain, times * strain, rtol=0, atol=10 * EXACT)
    alone = atoms.copy()
    alone.pbc = False
    assert abs(evaluated(model, alone)[0].sum() - energies.sum()) > NOTICEABLE


@pytest.mark.parametrize("name", ["liquid", "graphene", "oblique chains"])
def test_another_choice_of_cell_vectors_changes_nothing(name):
    model, atoms = random_model(), SYSTEMS[name]()
    matrix = np.array([[1, 0, 0], [2, 1, 0], [0, 0, 1]])
    sheared = make_supercell(atoms, matrix, wrap=False)
    energies, forces, strain = evaluated(model, atoms)
    others, other_forces, other_strain = evaluated(model, sheared)
    np.testing.assert_allclose(others, energies, rtol=0, atol=EXACT)
    np.testing.assert_allclose(other_forces, forces, rtol=0, atol=EXACT)
    np.testing.assert_allclose(other_strain, strain, rtol=0, atol=10 * EXACT)


@pytest.mark.parametrize(
    ("make", "repeats"),
    [(liquid, 5), (small_cell, 7), (polyethylene, 19), (polyacetylene, 19)],
)
def test_the_cell_is_the_middle_of_a_large_cluster(make: Callable[[], Atoms], repeats: int):
    """The path of isolated molecules, which knows no cells, gives the same energies."""
    model, atoms = random_model(), make()
    n = tuple(repeats if p else 1 for p in atoms.pbc)
    cluster = atoms * n
    cluster.pbc = False
    middle = (
        repeats // 2 * sum(len(atoms) * int(np.prod(n[k + 1 :])) for k in range(3) if atoms.pbc[k])
    )
    own = slice(middle, middle + len(atoms))
    energies, forces, _ = evaluated(model, cluster)
    expected, expected_forces, _ = evaluated(model, atoms)
    np.testing.assert_allclose(energies[own], expected, rtol=0, atol=EXACT)
    if make is not small_cell:  # forces see twice as far
        np.testing.assert_allclose(forces[own], expected_forces, rtol=0, atol=EXACT)
    assert abs(energies[0] - expected[0]) > NOTICEABLE  # the control: the surface of the cluster


@pytest.mark.parametrize("pbc", [True, (True, False, False), (False, True, True)])
def test_a_molecule_in_vacuum_is_a_free_molecule(pbc):
    model = random_model()
    atoms, path, _ = proton_transfer()
    atoms.positions = path(1.0)  # with ambiguous bonds
    energies, forces, _ = evaluated(model, atoms)
    atoms.set_cell([[24.0, 1.0, 0.0], [-3.0, 25.0, 2.0], [0.0, 4.0, 23.0]])
    atoms.pbc = pbc
    boxed, boxed_forces, strain = evaluated(model, atoms)
    np.testing.assert_allclose(boxed, energies, rtol=0, atol=1e-10)
    np.testing.assert_allclose(boxed_forces, forces, rtol=0, atol=1e-10)
    atoms.positions += [11.0, 13.0, -50.0]
    atoms.wrap()
    np.testing.assert_allclose(evaluated(model, atoms)[0], energies, rtol=0, atol=1e-10)
    assert np.abs(strain).max() > NOTICEABLE


@pytest.mark.parametrize("name", SYSTEMS)
def test_translation_wrapping_rotation_and_order_change_nothing(name, rng):
    model, atoms = random_model(), SYSTEMS[name]()
    energies, forces, strain = evaluated(model, atoms)

    moved = atoms.copy()
    moved.positions += [31.7, -8.3, 2.9]
    jumps = rng.integers(-3, 4, size=(len(atoms), 3)) * atoms.pbc
    moved.positions += jumps @ atoms.cell.array
    e, f, s = evaluated(model, moved)
    np.testing.assert_allclose(e, energies, rtol=0, atol=EXACT)
    np.testing.assert_allclose(f, forces, rtol=0, atol=EXACT)
    np.testing.assert_allclose(s, strain, rtol=0, atol=10 * EXACT)

    turn = -Rotation.random(rng=5).as_matrix()
    turned = atoms.copy()
    turned.positions = atoms.positions @ turn.T
    turned.set_cell(atoms.cell.array @ turn.T)
    e, f, s = evaluated(model, turned)
    np.testing.assert_allclose(e, energies, rtol=0, atol=EXACT)
    np.testing.assert_allclose(f, forces @ turn.T, rtol=0, atol=EXACT)
    assert s[:3].sum() == pytest.approx(strain[:3].sum(), abs=10 * EXACT)

    order = rng.permutation(len(atoms))
    e, f, _ = evaluated(model, atoms[order])
    np.testing.assert_allclose(e, energies[order], rtol=0, atol=EXACT)
    np.testing.assert_allclose(f, forces[order], rtol=0, atol=EXACT)

    moved.positions[0] += [0.1, 0.2, 0.05]
    assert abs(evaluated(model, moved)[0].sum() - energies.sum()) > NOTICEABLE


@pytest.mark.parametrize("name", SYSTEMS)
def test_forces_and_stress_are_derivatives(name, rng):
    model, atoms = random_model(), SYSTEMS[name]()
    _, forces, strain = evaluated(model, atoms)
    h = 1e-4

    def energy(change: np.ndarray, epsilon: np.ndarray) -> float:
        other = atoms.copy()
        scale = np.eye(3) + epsilon
        other.positions = (atoms.positions + change) @ scale
        other.set_cell(atoms.cell.array @ scale)
        return float(evaluated(model, other)[0].sum())

    none = np.zeros((3, 3))
    direction = rng.normal(size=forces.shape)
    slope = (energy(h * direction, none) - energy(-h * direction, none)) / (2 * h)
    assert -(forces * direction).sum() == pytest.approx(slope, abs=20 * GRADIENT)
    volume = atoms.cell.volume if atoms.cell.rank == 3 else 100.0
    for k, (i, j) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        epsilon = np.zeros((3, 3))
        epsilon[i, j] += 0.5 * h
        epsilon[j, i] += 0.5 * h
        still = np.zeros_like(forces)
        slope = (energy(still, epsilon) - energy(still, -epsilon)) / (2 * h)
        assert strain[k] / volume == pytest.approx(slope / volume, abs=STRESS)
    assert np.abs(strain).max() / volume > 1e3 * STRESS
    assert np.abs(forces).max() > NOTICEABLE


# --- Smooth through events across the boundary --------------------------------------------------


def proton_across() -> tuple[Atoms, Callable[[float], np.ndarray], tuple[float, float]]:
    """A proton goes from one molecule to another across the boundary, and is wrapped there."""
    atoms, inside, span = proton_transfer()
    ethanol = molecule("CH3CH2OH")
    ethanol.positions += [0.5, 0.2, 4.3]
    n = len(atoms)
    atoms = atoms + ethanol
    atoms.set_cell([[9.0, 0.4, 0.0], [0.5, 8.6, 0.7], [-0.3, 0.2, 8.4]])
    atoms.pbc = True
    middle = inside(1.1)[np.abs(inside(1.1) - inside(0.2)).max(axis=1).argmax()]

    def path(t: float) -> np.ndarray:
        moved = atoms.copy()
        moved.positions[:n] = inside(t)
        moved.positions -= middle  # the proton passes through a face
        moved.wrap(eps=0.0)
        return moved.positions

    return atoms, path, span


def chain_breaks() -> tuple[Atoms, Callable[[float], np.ndarray], tuple[float, float]]:
    """A fragment without an end gets ends: one bond of the chain breaks in each long cell."""
    atoms = polyacetylene(4)
    atoms.positions -= atoms.positions[0]
    n = len(atoms)
    height = atoms.positions[:, 1] - atoms.positions[:, 1].min()

    def path(t: float) -> np.ndarray:
        positions = atoms.positions.copy()
        positions[:, 1] -= t * height / height.max()  # shorter, and the bond to the copy longer
        return positions

    assert n == 16
    return atoms, path, (0.1, 1.1)


def copies_meet() -> tuple[Atoms, Callable[[float], np.ndarray], tuple[float, float]]:
    """Two hydrogens of one molecule and its copy, in a cell that holds only that."""
    atoms = molecule("CH4")
    atoms.set_cell([[3.9, 0.1, 0.0], [0.3, 4.4, 0.0], [0.2, 0.1, 4.6]])
    atoms.pbc = True
    outward = atoms.positions[1] / np.linalg.norm(atoms.positions[1])

    def path(t: float) -> np.ndarray:
        positions = atoms.positions.copy()
        positions[1] += t * outward
        return positions

    return atoms, path, (-0.2, 1.6)


CROSSINGS = {
    "proton across": proton_across,
    "chain breaks": chain_breaks,
    "copies meet": copies_meet,
}


@pytest.mark.parametrize("name", CROSSINGS)
def test_energy_is_smooth_through_events_across_the_boundary(name):
    model = random_model()
    atoms, path, (start, end) = CROSSINGS[name]()
    surface = CellSurface(model, atoms, path)
    bonds = CellSurface(model, atoms, path, edges=False).events(start, end, n=80, most=4)
    assert len(bonds) >= 2
    events = bonds + surface.events(start, end, n=80, most=3)
    worst = [roughness(surface, t, STEP, n=4) for t in events]
    assert max(r.energy for r in worst) < MOST_ENERGY
    assert max(r.forces for r in worst) < MOST_FORCES

    jumping = CellSurface(hard(model), atoms, path, edges=False)
    control = [roughness(jumping, t, STEP, n=3) for t in jumping.events(start, end, 80, most=4)]
    assert max(r.energy for r in control) > JUMP_ENERGY
    assert max(r.forces for r in control) > JUMP_FORCES


def test_the_paths_cross_what_they_say():
    atoms, path, (start, end) = proton_across()
    ts = np.linspace(start, end, 200)
    where = np.array([path(t) for t in ts])
    steps = np.abs(np.diff(where, axis=0)).max(axis=(1, 2))
    assert (steps > 4.0).any()  # an atom is wrapped
    surface = CellSurface(random_model(), *chain_breaks()[:2])
    wraps = [{f.wraps for f in surface.hypergraph(t).fragments} for t in (0.1, 0.7, 1.1)]
    assert wraps[0] == {((0, 1, 0),)}
    assert wraps[1] == {((0, 1, 0),), ()}  # mixed
    assert wraps[2] == {()}
    assert len(atoms) == 24


# --- No memory ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["liquid", "polyacetylene", "graphene"])
def test_the_past_does_not_matter(name, rng):
    """Atoms leave the cell, the cell changes, and atoms are wrapped now and then."""
    model, atoms = random_model(), SYSTEMS[name]()
    refragmenter = Refragmenter(model.hypergraph, skin=0.6)
    seen = []
    for step in range(60):
        atoms.positions += rng.normal(scale=0.02, size=(len(atoms), 3))
        atoms.positions += [0.05, 0.08, 0.06]
        strain = np.eye(3) + rng.normal(scale=5e-4, size=(3, 3))
        atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        if step % 23 == 22:
            atoms.wrap()
        lattice = Lattice.of(atoms.cell.array, atoms.pbc)
        kept = refragmenter.update(atoms.numbers, atoms.positions, lattice)
        seen.append(kept)
        if step % 6 == 0:
            energies, forces, strains = evaluated(model, atoms)
            again, again_forces, again_strains = evaluated(model, atoms, kept)
            np.testing.assert_allclose(again, energies, rtol=0, atol=1e-10)
            np.testing.assert_allclose(again_forces, forces, rtol=0, atol=1e-10)
            np.testing.assert_allclose(again_strains, strains, rtol=0, atol=1e-9)
    n_lists = len({id(g) for g in seen})
    assert 4 < n_lists < 50  # some are kept, and some are not
    assert np.abs(atoms.get_scaled_positions(wrap=False)[:, atoms.pbc]).max() > 0.2


def test_a_strain_that_may_bring_atoms_closer_is_noticed():
    atoms = liquid()
    refragmenter = Refragmenter(random_model().hypergraph, skin=0.5)

    def updated(cell: np.ndarray, positions: np.ndarray) -> object:
        lattice = Lattice.of(cell, atoms.pbc)
        return refragmenter.update(atoms.numbers, positions, lattice)

    cell, r = atoms.cell.array, atoms.positions
    first = updated(cell, r)
    turn = Rotation.random(rng=3).as_matrix()
    assert updated(cell @ turn, r @ turn) is first  # a rotation of all
    assert updated(cell * 0.95, r * 0.95) is first
    assert updated(cell * 0.85, r * 0.85) is not first
