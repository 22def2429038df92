"""The smooth weights: two continuous derivatives, and the values that their definition gives."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from se3set_ase.hypergraph.build import build_hypergraph
from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.hypergraph.radii import COVALENT_RADII
from se3set_ase.hypergraph.structure import EXACT_BONDS, RANK, SHARPNESS, Hypergraph
from se3set_ase.nn.graph import FIELDS, Graph, Sizes, Weights, collate, sizes_of, slices, weigh
from se3set_ase.nn.smooth import any_of, envelope, switch

STEP = 1e-5  # of finite differences, in units of the argument
C2_TOLERANCE = 2e-2  # a second derivative moves by its slope (a few hundred) times a few steps
GRADIENT_TOLERANCE = 1e-8  # per Angstrom, central differences of order-one weights
EXACT = 1e-13
SINGLE = 2e-5  # float32 against float64, of a weight between 0 and 1

CONFIG = HypergraphConfig(cutoff=4.5, reach=3.5)
SPECIES = {1: 0, 6: 1, 8: 2}

Function = Callable[[Tensor], Tensor]


# --- Switches --------------------------------------------------------------------------------


def jumps(function: Function, at: float) -> list[float]:
    """Differences of value, first and second derivative across a point."""
    result = []
    for order in range(3):
        sides = []
        for side in (-STEP, STEP):
            x = torch.tensor(at + side, dtype=torch.float64, requires_grad=True)
            value = function(x)
            for _ in range(order):
                # Beyond the end a derivative is constant, so autograd has no graph for it.
                (value,) = (
                    torch.autograd.grad(value, x, create_graph=True, materialize_grads=True)
                    if value.requires_grad
                    else (torch.zeros_like(x),)
                )
            sides.append(float(value.detach()))
        result.append(abs(sides[1] - sides[0]))
    return result


SMOOTH: dict[str, tuple[Function, tuple[float, ...]]] = {
    "switch": (lambda d: switch(d, 1.2, 1.7), (1.2, 1.7)),
    "switch with tensors": (
        lambda d: switch(d, torch.tensor(1.2).double(), torch.tensor(1.7).double()),
        (float(torch.tensor(1.2)), float(torch.tensor(1.7))),
    ),
    "envelope": (lambda d: envelope(d, 5.0), (5.0,)),
    "any_of": (any_of, (1.0,)),
}

# The controls: continuous, but with a kink in the first or second derivative.
ROUGH: dict[str, tuple[Function, float, int]] = {
    "linear switch": (lambda d: 1.0 - ((d - 1.2) / 0.5).clamp(0.0, 1.0), 1.2, 1),
    "cubic switch": (
        lambda d: 1.0 - (t := ((d - 1.2) / 0.5).clamp(0.0, 1.0)) ** 2 * (3.0 - 2.0 * t),
        1.7,
        2,
    ),
    "cosine envelope": (
        lambda d: 0.5 * (1.0 + torch.cos(torch.pi * d.clamp(max=5.0) / 5.0)),
        5.0,
        2,
    ),
    "squared count": (lambda c: 1.0 - (1.0 - c.clamp(max=1.0)) ** 2, 1.0, 2),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_switches_have_two_continuous_derivatives(name: str) -> None:
    function, places = SMOOTH[name]
    for at in places:
        assert max(jumps(function, at)) < C2_TOLERANCE


@pytest.mark.parametrize("name", ROUGH)
def test_rough_switches_would_be_noticed(name: str) -> None:
    function, at, order = ROUGH[name]
    assert jumps(function, at)[order] > 5 * C2_TOLERANCE
    assert max(jumps(function, at)[:order]) < C2_TOLERANCE


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives_of_switches_agree_with_finite_differences(name: str) -> None:
    function, places = SMOOTH[name]
    x = torch.linspace(0.05, 1.2 * max(places), 97, dtype=torch.float64, requires_grad=True)
    value = function(x).sum()
    (first,) = torch.autograd.grad(value, x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    h = 1e-4
    with torch.no_grad():
        low, here, high = (function(x + step) for step in (-h, 0.0, h))
        assert torch.allclose((high - low) / (2 * h), first, rtol=0, atol=1e-5)
        # The third derivative jumps at the ends, so second differences are right to first order.
        assert torch.allclose((high - 2 * here + low) / h**2, second, rtol=0, atol=5e-2)
    assert float(second.abs().max()) > 0.5  # the control


def test_no_weight_is_negative_in_float32() -> None:
    """Nor above one; near its end it is as exact as its argument, where 1 - p(t) is not."""
    t = torch.linspace(0.0, 1.0, 100_001)
    found = switch(t, 0.0, 1.0)
    assert found.dtype == torch.float32
    assert 0.0 <= found.min() <= found.max() <= 1.0
    away = 1.0 - t.double()
    exact = away**3 * (10.0 - 15.0 * away + 6.0 * away**2)
    end = t > 0.5
    torch.testing.assert_close(found[end].double(), exact[end], rtol=SINGLE, atol=0.0)
    naive = 1.0 - t**3 * (10.0 + t * (6.0 * t - 15.0))
    assert naive.min() < 0.0  # the control


def test_values_of_switches() -> None:
    x = torch.tensor([0.0, 1.2, 1.45, 1.7, 9.0], dtype=torch.float64)
    assert switch(x, 1.2, 1.7).tolist() == pytest.approx([1.0, 1.0, 0.5, 0.0, 0.0], abs=EXACT)
    assert switch(x, 1.2, 1.7)[[0, 1, 3, 4]].tolist() == [1.0, 1.0, 0.0, 0.0]  # exactly
    y = torch.tensor([0.0, 2.5, 5.0, 5.5, 1e6], dtype=torch.float64)
    half = 1.0 - 28.0 / 64 + 48.0 / 128 - 21.0 / 256
    assert envelope(y, 5.0).tolist() == pytest.approx([1.0, half, 0.0, 0.0, 0.0], abs=EXACT)
    c = torch.tensor([0.0, 0.5, 1.0, 7.0], dtype=torch.float64)
    assert any_of(c).tolist() == [0.0, 0.875, 1.0, 1.0]


@pytest.mark.parametrize("name", SMOOTH)
def test_switches_are_monotonic_and_between_zero_and_one(name: str) -> None:
    function, places = SMOOTH[name]
    y = function(torch.linspace(0.0, 1.5 * max(places), 2001, dtype=torch.float64))
    assert float(y.min()) >= 0.0
    assert float(y.max()) <= 1.0
    slopes = y.diff()
    rising = name == "any_of"
    assert bool(((slopes if rising else -slopes) >= -EXACT).all())


def test_weights_past_the_end_are_exactly_zero_with_exactly_zero_gradient() -> None:
    for function, end in ((lambda d: switch(d, 1.2, 1.7), 1.7), (lambda d: envelope(d, 5.0), 5.0)):
        for d, is_zero in ((end * 1.0001, True), (end, True), (end * 0.99, False)):
            x = torch.tensor(d, dtype=torch.float64, requires_grad=True)
            value = function(x)
            (slope,) = torch.autograd.grad(value, x)
            assert (float(value.detach()) == 0.0) == is_zero
            assert (abs(float(slope)) == 0.0) == is_zero or d == end


# --- Weights against loops -------------------------------------------------------------------


def water_cluster(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three waters and a formaldehyde, with O-H bonds that are partially broken."""
    rng = np.random.default_rng(seed)
    numbers = np.array([8, 1, 1, 8, 1, 1, 8, 1, 1, 6, 8, 1, 1])
    positions = np.array([
        [0.0, 0.0, 0.0], [1.28, 0.0, 0.0], [-0.3, 0.92, 0.0],
        [2.55, 0.1, 0.0], [2.9, 0.95, 0.0], [2.9, -0.5, 1.2],
        [0.0, 3.0, 0.6], [0.9, 3.2, 0.8], [-0.5, 3.7, 1.2],
        [0.0, -3.1, 0.0], [0.0, -1.85, 0.1], [0.98, -3.8, 0.0], [-0.95, -3.7, 0.1],
    ])  # fmt: skip
    return numbers, positions + 0.02 * rng.normal(size=positions.shape)


def build(
    numbers: np.ndarray, positions: np.ndarray, config: HypergraphConfig = CONFIG, skin: float = 0.5
) -> Hypergraph:
    return build_hypergraph(numbers, positions, config, skin=skin)


def as_graph(
    graphs: list[Hypergraph], *, dtype: torch.dtype = torch.float64, pad_to: Sizes | None = None
) -> Graph:
    return collate(graphs, SPECIES, CONFIG, dtype=dtype, pad_to=pad_to)


def naive(numbers: np.ndarray, r: np.ndarray, g: Hypergraph, config: HypergraphConfig) -> dict:
    """The definitions, one number at a time."""

    def quintic(x: float, on: float, off: float) -> float:
        t = min(max((x - on) / (off - on), 0.0), 1.0)
        return 1.0 - 10.0 * t**3 + 15.0 * t**4 - 6.0 * t**5

    def distance(i: int, j: int) -> float:
        return float(np.linalg.norm(r[i] - r[j]))

    bond = []
    for i, j in g.bond_atoms.tolist():
        radii = COVALENT_RADII[numbers[i]] + COVALENT_RADII[numbers[j]]
        with_hydrogen = 1 in (numbers[i], numbers[j])
        on = config.hydrogen_bond_on if with_hydrogen else config.bond_on
        off = config.hydrogen_bond_off if with_hydrogen else config.bond_off
        bond.append(quintic(distance(i, j), on * radii, off * radii))
    fragment = [
        sum(
            float(np.prod([bond[a] if present else 1.0 - bond[a] for a, present in term]))
            for term in f.terms
        )
        for f in g.fragments
    ]
    hyperedge = []
    for i, f in zip(g.hyper_atom.tolist(), g.hyper_fragment.tolist(), strict=True):
        atoms = g.fragments[f].atoms
        reached = 1.0
        if i not in atoms:
            near = (distance(i, j) for j in atoms)
            if config.hard:
                middle = config.reach - config.reach_width / 2
                count = float(sum(d < middle for d in near))
            else:
                count = sum(
                    quintic(d, config.reach - config.reach_width, config.reach) for d in near
                )
            reached = 1.0 - (1.0 - min(count, 1.0)) ** 3
        hyperedge.append(fragment[f] * reached)
    ends = [
        (int(g.hyper_atom[h]), int(j))
        for h, j in zip(g.edge_hyper.tolist(), g.edge_atom.tolist(), strict=True)
    ]
    x = np.array([min(distance(i, j) / config.cutoff, 1.0) for i, j in ends])
    return {
        "bond": bond,
        "fragment": fragment,
        "hyperedge": hyperedge,
        "edge": 1.0 - 28.0 * x**6 + 48.0 * x**7 - 21.0 * x**8,
        "vector": [r[j] - r[i] for i, j in ends],
        "distance": [distance(i, j) for i, j in ends],
    }


def burst_methane() -> tuple[np.ndarray, np.ndarray]:
    """Eight hydrogens around a carbon, all between bonded and not, each at another distance."""
    corners = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / 3**0.5
    length = np.array([1.36, 1.38, 1.41, 1.45, 1.48, 1.50, 1.53, 1.57])
    positions = np.concatenate([np.zeros((1, 3)), corners * length[:, None]])
    return np.array([6] + [1] * 8), positions


def test_weights_of_more_bonds_than_can_be_mixed_are_those_of_the_definition() -> None:
    numbers, positions = burst_methane()
    g = build(numbers, positions)
    assert g.fleeting
    assert len(g.bond_atoms) == 8
    weights = weigh(torch.tensor(positions), as_graph([g]), CONFIG)
    b = weights.bond.tolist()

    def counts(term: tuple[tuple[int, bool], ...]) -> float:
        factor = [b[a] if present else 1.0 - b[a] for a, present in term]
        y = [4.0 * f * (1.0 - f) for f in factor]
        result = 1.0
        for a in range(len(term)):
            n = sum(y[c] / (y[c] + SHARPNESS * y[a]) for c in range(len(term)) if c != a)
            t = min(max((n - (EXACT_BONDS - 1)) / (RANK - (EXACT_BONDS - 1)), 0.0), 1.0)
            left_out = 10.0 * t**3 - 15.0 * t**4 + 6.0 * t**5
            u = min(max((factor[a] - 0.5) / 0.5, 0.0), 1.0)
            unlikely = 1.0 - 10.0 * u**3 + 15.0 * u**4 - 6.0 * u**5
            result *= (1.0 - left_out * unlikely) * factor[a]
        return result

    expected = [sum(counts(term) for term in f.terms) for f in g.fragments]
    for f, s in zip(g.rest_other.tolist(), g.rest_fragment.tolist(), strict=True):
        expected[s] -= expected[f]
    assert weights.fragment.tolist() == pytest.approx(expected, abs=EXACT)
    for atom in range(9):
        of_atom = [f for f, fragment in enumerate(g.fragments) if atom in fragment.atoms]
        assert float(weights.fragment[of_atom].sum()) == pytest.approx(1.0, abs=EXACT)
    # The control: without damping the weights are different.
    in_full = mixture_in_full(g, b)
    assert max(abs(w - e) for w, e in zip(weights.fragment.tolist(), in_full, strict=True)) > 1e-3


def mixture_in_full(g: Hypergraph, b: list[float]) -> list[float]:
    return [
        sum(float(np.prod([b[a] if there else 1.0 - b[a] for a, there in t])) for t in f.terms)
        for f in g.fragments
    ]


def test_gradients_of_the_weights_are_their_finite_differences() -> None:
    h = 1e-6
    for numbers, positions in (water_cluster(), burst_methane()):
        g = build(numbers, positions)
        made = as_graph([g])
        r = torch.tensor(positions, requires_grad=True)
        weights = weigh(r, made, CONFIG)
        generator = torch.Generator().manual_seed(3)
        for name in ("bond", "fragment", "hyperedge", "edge"):
            value = getattr(weights, name)
            mixed = torch.randn(len(value), dtype=torch.float64, generator=generator)
            (gradient,) = torch.autograd.grad((value * mixed).sum(), r, retain_graph=True)
            step = torch.randn(r.shape, dtype=torch.float64, generator=generator)
            ends = [
                float((getattr(weigh(r.detach() + s * h * step, made, CONFIG), name) * mixed).sum())
                for s in (1, -1)
            ]
            slope = float((gradient * step).sum())
            assert (ends[0] - ends[1]) / (2 * h) == pytest.approx(slope, rel=1e-6, abs=1e-7), name
            assert abs(slope) > 1e-2


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_weights_are_those_of_the_definition(seed: int, hard: bool) -> None:
    numbers, positions = water_cluster(seed)
    config = dataclasses.replace(CONFIG, hard=hard)
    g = build(numbers, positions, config)
    weights = weigh(torch.tensor(positions), as_graph([g]), config)
    for name, expected in naive(numbers, positions, g, config).items():
        found = getattr(weights, name).numpy()
        assert np.allclose(found, np.array(expected).reshape(found.shape), rtol=0, atol=EXACT), name
    if hard:
        assert set(weights.hyperedge.tolist()) == {0.0, 1.0}
    else:  # the cluster has what the comparison is about
        assert bool(((weights.bond > 0.05) & (weights.bond < 0.95)).any())
        assert bool(((weights.hyperedge > 0.01) & (weights.hyperedge < 0.99)).any())
        assert bool((weights.hyperedge == 0.0).any())


def test_member_hyperedges_of_each_atom_weigh_one() -> None:
    numbers, positions = water_cluster()
    graph = as_graph([build(numbers, positions)])
    weights = weigh(torch.tensor(positions), graph, CONFIG)
    total = torch.zeros(len(numbers), dtype=torch.float64)
    total.index_add_(0, graph.hyper_atom, weights.hyperedge * graph.hyper_member)
    assert torch.allclose(total, torch.ones_like(total), rtol=0, atol=EXACT)
    assert float(weights.fragment.min()) < 0.9  # the control


def total_of(positions: Tensor, graph: Graph, salt: Tensor) -> Tensor:
    """A number that depends on every weight."""
    weights = weigh(positions, graph, CONFIG)
    w = weights.hyperedge[graph.edge_hyper] * weights.edge
    return (w * torch.cos(salt[: len(w)])).sum() + (weights.bond**2).sum()


def test_gradient_of_all_weights_agrees_with_finite_differences(torch_rng: torch.Generator) -> None:
    numbers, start = water_cluster()
    graph = as_graph([build(numbers, start)])
    salt = torch.randn(10_000, generator=torch_rng, dtype=torch.float64)
    positions = torch.tensor(start, requires_grad=True)
    (gradient,) = torch.autograd.grad(total_of(positions, graph, salt), positions)
    assert float(gradient.abs().max()) > 0.1
    h = 1e-4
    for atom, axis in [(0, 0), (1, 0), (1, 2), (3, 1), (5, 2), (9, 1), (10, 1), (12, 0)]:
        values = []
        for steps in (-2, -1, 1, 2):
            moved = torch.tensor(start)
            moved[atom, axis] += steps * h
            values.append(float(total_of(moved, graph, salt)))
        slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
        assert slope == pytest.approx(float(gradient[atom, axis]), abs=GRADIENT_TOLERANCE)


def test_single_precision_weights() -> None:
    """Far from the origin too: differences are taken in the precision of the positions."""
    numbers, positions = water_cluster()
    positions = positions + 1000.0
    g = build(numbers, positions)
    double = weigh(torch.tensor(positions), as_graph([g]), CONFIG)
    single = weigh(torch.tensor(positions), as_graph([g], dtype=torch.float32), CONFIG)
    for name in Weights._fields:
        a, b = getattr(double, name), getattr(single, name)
        assert b.dtype == torch.float32
        assert torch.allclose(a, b.double(), rtol=0, atol=SINGLE), name


# --- Batches and padding ---------------------------------------------------------------------


def three_molecules() -> tuple[list[Hypergraph], list[np.ndarray]]:
    """Molecules of different sizes, including an isolated atom and one without ambiguous bonds."""
    numbers, positions = water_cluster()
    parts = [
        (np.array([8]), np.zeros((1, 3))),
        (numbers, positions),
        (np.array([8, 1, 1]), np.array([[0.0, 0, 0], [0.97, 0, 0], [-0.25, 0.94, 0]])),
        water_cluster(2),
    ]
    return [build(n, p) for n, p in parts], [p for _, p in parts]


def test_weights_of_a_batch_are_those_of_its_molecules() -> None:
    graphs, positions = three_molecules()
    batch = as_graph(graphs)
    together = weigh(torch.tensor(np.concatenate(positions)), batch, CONFIG)
    alone = [
        weigh(torch.tensor(p), as_graph([g]), CONFIG)
        for g, p in zip(graphs, positions, strict=True)
    ]
    for name in Weights._fields:
        expected = torch.cat([getattr(w, name) for w in alone])
        assert torch.equal(getattr(together, name), expected), name
    assert batch.n_atoms.tolist() == [1, 13, 3, 13]
    assert batch.molecule.tolist() == [0] + [1] * 13 + [2] * 3 + [3] * 13
    assert bool((batch.hyper_atom.diff() >= 0).all())
    assert bool((batch.edge_hyper.diff() >= 0).all())


def test_molecules_of_a_batch_do_not_affect_each_other() -> None:
    """Gradients across molecules are exactly zero, although their atoms coincide."""
    graphs, positions = three_molecules()
    batch = as_graph(graphs)
    r = torch.tensor(np.concatenate(positions), requires_grad=True)
    weights = weigh(r, batch, CONFIG)
    of_edge = batch.molecule[batch.hyper_atom[batch.edge_hyper]]
    for m in range(4):
        part = (weights.hyperedge[batch.edge_hyper] * weights.edge)[of_edge == m].sum()
        (gradient,) = torch.autograd.grad(part, r, retain_graph=True, materialize_grads=True)
        assert not gradient[batch.molecule != m].any()
        assert gradient[batch.molecule == m].any() == (m != 0)  # an isolated atom has no edges


@pytest.mark.parametrize("pad", [1, 6])
def test_padding_has_weight_zero_and_no_effect(pad: int) -> None:
    graphs, positions = three_molecules()
    size = sizes_of(graphs)
    padded = as_graph(graphs, pad_to=Sizes(*(n + pad for n in size)))
    assert padded.atom_weight.tolist() == [1.0] * size.atoms + [0.0] * pad
    r = torch.zeros(size.atoms + pad, 3, dtype=torch.float64)
    r[: size.atoms] = torch.tensor(np.concatenate(positions))
    r.requires_grad_(True)
    weights = weigh(r, padded, CONFIG)
    plain = weigh(r[: size.atoms].detach(), as_graph(graphs), CONFIG)
    counts = {"bond": size.bonds, "fragment": size.fragments, "hyperedge": size.hyperedges}
    counts["edge"] = size.edges
    for name, n in counts.items():
        found = getattr(weights, name).detach()
        assert torch.allclose(found[:n], getattr(plain, name), rtol=0, atol=EXACT), name
        assert len(found) == n + pad
        assert not found[n:].any(), name
    spare = weights.edge[size.edges :].sum() + weights.bond[size.bonds :].sum()
    (gradient,) = torch.autograd.grad(spare, r, materialize_grads=True)
    assert not gradient.any()


def test_impossible_padding() -> None:
    graphs, _ = three_molecules()
    size = sizes_of(graphs)
    with pytest.raises(ValueError, match=r"expected padding to at least Sizes\(atoms=30, .*, got"):
        as_graph(graphs, pad_to=size._replace(edges=size.edges - 1))
    with pytest.raises(ValueError, match=r"expected a spare bond when terms are padded, got none"):
        as_graph(graphs, pad_to=size._replace(terms=size.terms + 1))
    spare = size._replace(terms=size.terms + 1, bonds=size.bonds + 1)
    assert as_graph(graphs, pad_to=spare).term_factor.shape[0] == size.terms + 1


def test_sizes_are_those_of_the_arrays() -> None:
    graphs, _ = three_molecules()
    size, graph = sizes_of(graphs), as_graph(graphs)
    assert size.atoms == len(graph.species)
    assert size.bonds == len(graph.bond_atoms)
    assert (size.terms, size.factors) == tuple(graph.term_factor.shape)
    assert size.fragments == len(graph.fragment_size)
    assert size.rests == len(graph.rest_fragment) == len(graph.rest_other)
    assert size.hyperedges == len(graph.hyper_atom)
    assert size.edges == len(graph.edge_atom)
    assert graph.fragment_size.tolist() == [len(f.atoms) for g in graphs for f in g.fragments]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtypes_of_a_graph(dtype: torch.dtype) -> None:
    graphs, _ = three_molecules()
    floats = {"atom_weight", "bond_range", "bond_shift", "rest_weight"}
    floats |= {"hyper_member", "edge_shift", "charge", "pair_shift", "pair_weight"}
    for name, tensor in as_graph(graphs, dtype=dtype)._asdict().items():
        assert tensor.dtype == (dtype if name in floats else torch.int64), name


def test_the_table_has_every_field() -> None:
    """In the order of the graph, with the shapes of its arrays."""
    graphs, _ = three_molecules()
    assert tuple(FIELDS) == Graph._fields
    size, graph = sizes_of(graphs), as_graph(graphs)
    for name, field in FIELDS.items():
        length = len(graphs) if field.per == "molecules" else getattr(size, field.per)
        width = (size.factors,) if name == "term_factor" else field.width
        assert getattr(graph, name).shape == (length, *width), name


def test_a_batch_is_split_into_its_molecules() -> None:
    graphs, _ = three_molecules()
    size = sizes_of(graphs)
    padded = as_graph(graphs, pad_to=Sizes(*(n + 3 for n in size)))
    for name in ("bond_range", "fragment_size", "hyper_member", "edge_shift"):
        rows = slices(graphs)[FIELDS[name].per]
        for at, g in zip(rows, graphs, strict=True):
            part = getattr(padded, name).numpy()[at]
            assert np.array_equal(part, getattr(as_graph([g]), name).numpy()), name
