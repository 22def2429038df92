"""The contract of the smooth hypergraph: one smooth surface through every refragmentation.

Points 1 to 5 of it: E is C2 through any event, F is its gradient, symmetries, no memory of the
path (in test_refragment.py and test_dynamics.py), and no interaction of distant molecules.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import molecule
from paths import CROWDED, FAR, PATHS, acetylacetone, proton_transfer
from scans import Surface, roughness
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from se3set_ase.checkpoint.registry import resolve_model
from se3set_ase.checkpoint.store import load_checkpoint
from se3set_ase.hypergraph.build import build_hypergraph
from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.nn.graph import collate
from se3set_ase.nn.light.config import LightConfig
from se3set_ase.nn.longrange.config import LongRangeConfig
from se3set_ase.nn.model import SE3Set, energy_and_forces
from se3set_ase.nn.published.config import PublishedConfig

STEP = 1e-4  # Angstrom
MOST_ENERGY = 1e-8  # eV, worst third difference in steps of STEP
MOST_FORCES = 1e-4  # eV/Angstrom, worst second difference
#: The same if atoms collide with energies of tens of eV.
MOST_ENERGY_STEEP, MOST_FORCES_STEEP = 1e-6, 5e-3
ROUNDING = 1e-12  # eV
#: eV, smallest jump with hard membership at its worst place: ten thousand times the tolerance.
JUMP_ENERGY = 1e4 * MOST_ENERGY
JUMP_FORCES = 5e-4  # eV/Angstrom
GRADIENT = 2e-6  # eV/Angstrom, central differences of 1e-4 Angstrom
SINGLE = 1e-5  # of the energy and of the largest force, float32
EXACT = 1e-10  # eV, eV/Angstrom: symmetries


LIGHT = LightConfig(channels=16, heads=4, mean_members=16.0, mean_hyperedges=8.0)
PUBLISHED = PublishedConfig(
    irreps_node="16x0e+8x1o+4x2e",
    irreps_feedforward="24x0e+12x1o+8x2e",
    irreps_last="32x0e",
    attention_channels=8,
    blocks=2,
    radial_functions=16,
    radial_hidden=16,
)


LONG_RANGE = LongRangeConfig(dispersion=True, charges=True)


def random_model(
    network: LightConfig | PublishedConfig = LIGHT, long_range: LongRangeConfig | None = None
) -> SE3Set:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        return SE3Set(
            elements=(1, 6, 7, 8),
            hypergraph=HypergraphConfig(),
            network=network,
            atomic_energies=(0.0, 0.0, 0.0, 0.0),
            shifts=(-2.0, -5.0, -4.0, -4.0),
            scale=1.0 if network is LIGHT else 30.0,  # controls of meV for both
            long_range=long_range,
        ).double()


@pytest.fixture(params=["light", "published", "charged", "acac", "organic"])
def model(request: pytest.FixtureRequest) -> SE3Set:
    """The networks with random weights, and trained models."""
    if request.param == "charged":
        return random_model(LIGHT, long_range=LONG_RANGE)
    untrained = {"light": LIGHT, "published": PUBLISHED}
    if request.param in untrained:
        return random_model(untrained[request.param])
    return load_checkpoint(resolve_model(request.param), dtype=torch.float64)[0]


def hard(model: SE3Set) -> SE3Set:
    """The same weights with hard membership, as in the published method."""
    copy = SE3Set.from_config(model.to_config()).to(model.dtype)
    copy.load_state_dict(model.state_dict())
    copy.hypergraph = replace(model.hypergraph, hard=True)
    return copy


# --- 1. C2 through every event ----------------------------------------------------------------


@pytest.mark.parametrize("name", PATHS)
def test_energy_is_smooth_through_every_event(name, model):
    if name.startswith("hot") and isinstance(model.network_config, PublishedConfig):
        pytest.skip("the same as with the other networks, and slow")
    atoms, path, (start, end) = PATHS[name]()
    surface = Surface(model, atoms.numbers, path)
    events = surface.events(start, end, n=160, most=6)
    assert len(events) >= 2
    worst = [roughness(surface, t, STEP) for t in events]
    assert max(r.energy for r in worst) < MOST_ENERGY
    assert max(r.forces for r in worst) < MOST_FORCES

    jumping = Surface(hard(model), atoms.numbers, path)
    control = [roughness(jumping, t, STEP, n=3) for t in jumping.events(start, end, 160, most=6)]
    assert max(r.energy for r in control) > JUMP_ENERGY
    assert max(r.forces for r in control) > JUMP_FORCES


def assert_jumps(surface: Surface, start: float, end: float) -> None:
    """The control: jumps with hard membership on the same path."""
    worst = [roughness(surface, t, STEP, n=3) for t in surface.events(start, end, 120, most=6)]
    assert max(r.energy for r in worst) > JUMP_ENERGY


def steep_but_smooth(surface: Surface, events: list[float]) -> bool:
    """If atoms collide, derivatives are large, but they do not jump.

    Halving the step divides differences larger than rounding by 8 and by 4. Returns whether
    there are any.
    """
    worst = [roughness(surface, t, STEP, n=3) for t in events]
    half = [roughness(surface, t, STEP / 2, n=3) for t in events]
    assert max(r.energy for r in worst) < MOST_ENERGY_STEEP
    assert max(r.forces for r in worst) < MOST_FORCES_STEEP
    falls = [(a.energy / b.energy, a.forces / b.forces) for a, b in zip(worst, half, strict=True)]
    rounding = max(ROUNDING, 4 * np.finfo(float).eps * abs(surface(events[0])[0]))
    rough = [r.energy > 100 * rounding for r in worst]
    assert (np.array(falls)[rough] > (5.0, 2.8)).all()
    return any(rough)


@pytest.mark.parametrize("name", FAR)
def test_a_trained_surface_is_smooth_where_it_is_steep(name):
    model = load_checkpoint(resolve_model("acac"), dtype=torch.float64)[0]
    atoms, path, (start, end) = FAR[name]()
    surface = Surface(model, atoms.numbers, path)
    events = surface.events(start, end, n=160, most=6)
    assert max(np.abs(surface(t)[1]).max() for t in events) > 20.0
    assert steep_but_smooth(surface, events)
    assert_jumps(Surface(hard(model), atoms.numbers, path), start, end)


@pytest.mark.parametrize("name", CROWDED)
def test_energy_is_smooth_where_more_bonds_are_ambiguous_than_can_be_mixed(name):
    model = random_model()
    atoms, path, (start, end) = CROWDED[name]()
    surface = Surface(model, atoms.numbers, path)
    events = surface.events(start, end, n=120, most=6)
    assert sum(surface.hypergraph(t).fleeting for t in events) >= 3
    steep_but_smooth(surface, events)

    assert_jumps(Surface(hard(model), atoms.numbers, path), start, end)


@pytest.mark.parametrize(("name", "centre"), [("CH4", 0), ("CO2", 0), ("planar NH3", 0)])
def test_energy_is_smooth_where_symmetry_makes_features_vanish(name, centre, model):
    atoms = molecule(name.split()[-1])
    if name.startswith("planar"):
        atoms.positions[centre] = atoms.positions[1:].mean(axis=0)
    if not set(atoms.numbers) <= set(model.elements):
        pytest.skip("an element that this model has not")
    start = atoms.positions.copy()

    def path(t: float) -> np.ndarray:
        positions = start.copy()
        positions[centre] += t * np.array([0.48, 0.6, 0.64])
        return positions

    scan = roughness(Surface(model, atoms.numbers, path), 0.0, STEP)
    assert scan.energy < MOST_ENERGY
    assert scan.forces < MOST_FORCES


def test_differences_fall_with_the_step_as_those_of_a_smooth_function():
    model = random_model()
    atoms, path, (start, end) = proton_transfer()
    steps = (4e-3, 2e-3)

    def falls(model: SE3Set) -> np.ndarray:
        surface = Surface(model, atoms.numbers, path)
        events = surface.events(start, end, n=240, most=8)
        scans = [[roughness(surface, t, h) for h in steps] for t in events]
        return np.array([[a.energy / b.energy, a.forces / b.forces] for a, b in scans])

    # Halving h divides a third difference by 8 and a second one by 4, up to the next order.
    assert (falls(model) > (5.0, 2.8)).all()
    assert falls(hard(model)).min(axis=0).max() < 2.0  # a jump stays


# --- 2. Forces are the gradient ---------------------------------------------------------------


@pytest.mark.parametrize("t", [0.3, 0.95, 1.0, 1.1])
def test_forces_are_the_gradient_where_bonds_are_mixed(t, model):
    atoms, path, _ = proton_transfer()
    surface = Surface(model, atoms.numbers, path)
    origin, forces = path(t), surface(t)[1]
    mixed = len(surface.hypergraph(t).bond_atoms)
    assert mixed == 0 if t < 0.5 else mixed > 0
    h = 1e-4
    for i, axis in [(a, c) for a in range(len(atoms)) for c in range(3)]:
        energies = []
        for sign in (1, -1):
            moved = origin.copy()
            moved[i, axis] += sign * h
            energies.append(Surface(model, atoms.numbers, lambda _, p=moved: p)(0)[0])
        gradient = (energies[0] - energies[1]) / (2 * h)
        assert forces[i, axis] == pytest.approx(-gradient, abs=GRADIENT)
    assert np.abs(forces).max() > 100 * GRADIENT


@pytest.mark.parametrize("name", CROWDED)
def test_forces_are_the_gradient_where_outcomes_are_left_out(name):
    model = random_model()
    atoms, path, (start, end) = CROWDED[name]()
    surface = Surface(model, atoms.numbers, path)
    origin = path(0.5 * (start + end))
    assert surface.hypergraph(0.5 * (start + end)).fleeting
    direction = np.random.default_rng(5).normal(size=origin.shape)
    line = Surface(model, atoms.numbers, lambda t: origin + t * direction)
    h = 1e-4
    slope = (line(h)[0] - line(-h)[0]) / (2 * h)
    assert float((line(0.0)[1] * direction).sum()) == pytest.approx(-slope, rel=1e-5)
    assert abs(slope) > 1.0


def test_second_derivatives_are_finite_and_continuous_through_events(model):
    """The second derivative along a path, by autograd, on both sides of each event."""
    if isinstance(model.network_config, PublishedConfig):
        pytest.skip("the same as with the light network, and slow")
    atoms, path, (start, end) = proton_transfer()
    surface = Surface(model, atoms.numbers, path)

    def curvature(surface: Surface, t: float, step: float) -> float:
        """u.H.u at the geometry of t + step, u the direction of the path."""
        direction = torch.tensor((path(t + 1e-3) - path(t - 1e-3)) / 2e-3)
        graph = collate(
            [surface.hypergraph(t + step)],
            surface.model.species_of,
            surface.model.hypergraph,
            dtype=torch.float64,
            pairs=surface.model.long_range is not None,
        )
        x = torch.zeros((), dtype=torch.float64, requires_grad=True)
        where = torch.tensor(path(t + step)) + x * direction
        (slope,) = torch.autograd.grad(surface.model(where, graph).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(slope, x)
        return float(second)

    for t in surface.events(start, end, n=160, most=6):
        below, above = curvature(surface, t, -1e-7), curvature(surface, t, 1e-7)
        assert np.isfinite(below)
        assert above == pytest.approx(below, abs=1e-3)  # eV/A^2; over 2e-7 A
    assert abs(curvature(surface, 1.0, 0.05) - curvature(surface, 1.0, 0.0)) > 0.1


# --- 3. Symmetries ----------------------------------------------------------------------------


def evaluate(model: SE3Set, numbers: np.ndarray, positions: np.ndarray):
    return Surface(model, numbers, lambda _: positions)(0.0)


@pytest.mark.parametrize("t", [0.3, 1.0])
def test_rotation_reflection_translation_permutation(t, model, rng):
    atoms, path, _ = proton_transfer()
    positions = path(t)
    energy, forces = evaluate(model, atoms.numbers, positions)
    for turn in (Rotation.random(rng=7).as_matrix(), -np.eye(3), np.diag([1.0, 1.0, -1.0])):
        moved = positions @ turn.T + [3.0, -20.0, 7.0]
        e, f = evaluate(model, atoms.numbers, moved)
        assert e == pytest.approx(energy, abs=EXACT * abs(energy))
        np.testing.assert_allclose(f, forces @ turn.T, atol=EXACT)
    order = rng.permutation(len(atoms))
    e, f = evaluate(model, atoms.numbers[order], positions[order])
    assert e == pytest.approx(energy, abs=EXACT)
    np.testing.assert_allclose(f, forces[order], atol=EXACT)
    # Controls: a stretched molecule, and two elements exchanged.
    assert abs(evaluate(model, atoms.numbers, positions * 1.01)[0] - energy) > 1e-3
    other = atoms.numbers.copy()
    other[[0, 3]] = other[[3, 0]]
    assert abs(evaluate(model, other, positions)[0] - energy) > 1e-3


@pytest.mark.parametrize("name", CROWDED)
def test_symmetries_and_precision_where_outcomes_are_left_out(name, rng):
    model = random_model()
    atoms, path, (start, end) = CROWDED[name]()
    t = 0.5 * (start + end)
    surface = Surface(model, atoms.numbers, path)
    assert surface.hypergraph(t).fleeting
    energy, forces = surface(t)
    turn, order = -Rotation.random(rng=7).as_matrix(), rng.permutation(len(atoms))
    e, f = evaluate(model, atoms.numbers[order], path(t)[order] @ turn.T)
    assert e == pytest.approx(energy, abs=EXACT * abs(energy))
    np.testing.assert_allclose(f, forces[order] @ turn.T, atol=EXACT * np.abs(forces).max())
    e, f = evaluate(model.float(), atoms.numbers, path(t))
    assert e == pytest.approx(energy, rel=SINGLE)
    np.testing.assert_allclose(f, forces, atol=SINGLE * np.abs(forces).max())


# --- 5. Distant molecules ---------------------------------------------------------------------


def test_distant_molecules_do_not_interact(model):
    if model.long_range is not None:
        pytest.skip("they interact as their charges do, see test_longrange.py")
    first, second = acetylacetone(), molecule("CH3CH2OH")
    alone = [evaluate(model, a.numbers, a.positions) for a in (first, second)]

    def together(distance: float):
        numbers = np.concatenate([first.numbers, second.numbers])
        shifted = second.positions + np.array([distance, 0.0, 0.0])
        return evaluate(model, numbers, np.concatenate([first.positions, shifted]))

    energy, forces = together(20.0)
    assert energy == pytest.approx(alone[0][0] + alone[1][0], abs=EXACT * abs(energy))
    np.testing.assert_allclose(forces, np.concatenate([f for _, f in alone]), atol=EXACT)
    near, _ = together(5.5)
    assert abs(near - energy) > 1e-6


def test_cross_gradients_of_distant_molecules_are_exactly_zero(model):
    if model.long_range is not None:
        pytest.skip("they interact as their charges do, see test_longrange.py")
    first, second = acetylacetone(), molecule("CH3CH2OH")
    numbers = np.concatenate([first.numbers, second.numbers])

    def cross(gap: float) -> tuple[int, float]:
        """Number of edges between molecules at a closest distance, and the gradient across."""
        shift = next(
            x
            for x in np.arange(20.0, 0.0, -0.01)
            if cdist(first.positions, second.positions + np.array([x, 0.0, 0.0])).min() < gap
        )
        positions = np.concatenate(
            [first.positions, second.positions + np.array([shift, 0.0, 0.0])]
        )
        listed = build_hypergraph(numbers, positions, model.hypergraph, skin=1.0)
        owner = listed.hyper_atom[listed.edge_hyper]
        n_edges = ((owner < len(first)) != (listed.edge_atom < len(first))).sum()
        graph = collate([listed], model.species_of, model.hypergraph, dtype=model.dtype)
        where = torch.tensor(positions, requires_grad=True)
        energies = model(where, graph)
        (gradient,) = torch.autograd.grad(energies[: len(first)].sum(), where)
        return int(n_edges), float(gradient[len(first) :].abs().max())

    reach = model.hypergraph.reach
    n_edges, gradient = cross(reach + 0.3)  # listed because of the skin, and of weight zero
    assert n_edges > 0
    assert gradient == 0.0
    assert cross(reach - 0.5)[1] > 0.0


@pytest.mark.parametrize(("reach", "pair"), [(4.0, (19, 53)), (3.0, (1, 8))])
def test_skin_changes_no_energy(reach, pair):
    """Just out of reach a pair is listed with a skin and not without; big atoms, short reach."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = SE3Set(
            elements=pair,
            hypergraph=HypergraphConfig(reach=reach),
            network=LIGHT,
            atomic_energies=(0.0, 0.0),
            shifts=(-3.0, -4.0),
        ).double()

    def energy(distance: float, skin: float) -> float:
        positions = np.array([[0.0, 0.0, 0.0], [distance, 0.0, 0.0]])
        listed = build_hypergraph(np.array(pair), positions, model.hypergraph, skin=skin)
        graph = collate([listed], model.species_of, model.hypergraph, dtype=model.dtype)
        return float(energy_and_forces(model, torch.tensor(positions), graph)[0])

    for distance in (reach - 0.01, reach + 1e-6, reach + 0.2):
        assert energy(distance, 0.0) == pytest.approx(energy(distance, 0.5), abs=EXACT)
    assert abs(energy(reach - 0.5, 0.0)) > 1e-3
    assert energy(reach + 0.2, 0.5) == 0.0


def test_energies_of_atoms_add_up(model):
    atoms = acetylacetone()
    listed = build_hypergraph(atoms.numbers, atoms.positions, model.hypergraph)
    pairs = model.long_range is not None
    graph = collate([listed], model.species_of, model.hypergraph, dtype=model.dtype, pairs=pairs)
    energy, forces, energies = energy_and_forces(model, torch.tensor(atoms.positions), graph)
    assert float(energies.sum()) == pytest.approx(float(energy), rel=1e-14)
    # Nothing pulls the molecule as a whole, or turns it.
    assert float(forces.sum(0).abs().max()) < EXACT
    torque = np.cross(atoms.positions, forces.numpy()).sum(axis=0)
    assert np.abs(torque).max() < 1e3 * EXACT
    assert np.abs(forces.numpy()).max() > 0.01
