"""Hyperedges and edges, compared with loops that follow the definition."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from ase.build import molecule
from hypothesis import given
from hypothesis import strategies as st
from untrained import tiny_model

from se3set_ase.hypergraph.build import build_hypergraph
from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.hypergraph.mixing import FragmentMixer
from se3set_ase.hypergraph.radii import COVALENT_RADII
from se3set_ase.hypergraph.structure import Hypergraph
from se3set_ase.nn.graph import Sizes, collate, sizes_of
from se3set_ase.nn.model import energy_and_forces

SAME_ENERGY = 1e-10  # eV, of one geometry listed differently, in float64
SAME_FORCES = 1e-9  # eV/Angstrom
EXACT = 1e-12

CONFIG = HypergraphConfig(cutoff=4.5, reach=3.5)


def random_molecule(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Atoms at distances typical of bonds, some of which are partially broken."""
    rng = np.random.default_rng(seed)
    numbers = rng.choice([1, 1, 6, 6, 8], n)
    positions = np.zeros((n, 3))
    for i in range(1, n):
        for _ in range(200):
            direction = rng.normal(size=3)
            near = rng.integers(i)
            length = COVALENT_RADII[numbers[[i, near]]].sum() * rng.uniform(0.95, 1.4)
            place = positions[near] + direction / np.linalg.norm(direction) * length
            others = np.delete(np.arange(i), near)
            clear = np.linalg.norm(positions[others] - place, axis=1)
            if not len(others) or (clear > 1.6).all():
                break
        else:
            place = positions[near] + [20.0 * i, 0.0, 0.0]
        positions[i] = place
    return numbers, positions + rng.normal(size=3)


def reference(
    numbers: np.ndarray, positions: np.ndarray, config: HypergraphConfig, skin: float
) -> dict[str, Any]:
    """Bonds, hyperedges and edges by the definition, each as a sorted list."""
    n = len(numbers)

    def distance(i: int, j: int) -> float:
        return float(np.sqrt(((positions[i] - positions[j]) ** 2).sum()))

    sure, ambiguous, limits = [], [], []
    for i in range(n):
        for j in range(i + 1, n):
            hydrogen = 1 in (numbers[i], numbers[j])
            on = config.hydrogen_bond_on if hydrogen else config.bond_on
            off = config.hydrogen_bond_off if hydrogen else config.bond_off
            radii = COVALENT_RADII[numbers[i]] + COVALENT_RADII[numbers[j]]
            if config.hard:
                on = off = (on + off) / 2
            if distance(i, j) <= on * radii:
                sure.append((i, j))
            elif distance(i, j) < off * radii:
                ambiguous.append((i, j))
                limits.append((on * radii, off * radii))
    as_array = (np.array(b, dtype=int).reshape(-1, 2) for b in (sure, ambiguous))
    t = [
        (distance(i, j) - on) / (off - on)
        for (i, j), (on, off) in zip(ambiguous, limits, strict=True)
    ]
    weights = np.array([1.0 - 10.0 * x**3 + 15.0 * x**4 - 6.0 * x**5 for x in t])
    fragments = [f.atoms for f in FragmentMixer()(numbers, *as_array, weights).fragments]
    reach = config.reach - (config.reach_width / 2 if config.hard else 0.0)
    hyper, edges = [], []
    for i in range(n):
        for f, atoms in enumerate(fragments):
            member = i in atoms
            if member or any(distance(i, j) < reach + skin for j in atoms):
                hyper.append((i, f, member))
                edges += [
                    (i, f, j) for j in atoms if j != i and distance(i, j) < config.cutoff + skin
                ]
    return {
        "sure": sure,
        "ambiguous": ambiguous,
        "limits": limits,
        "fragments": fragments,
        "hyper": hyper,
        "edges": edges,
    }


def listed(g: Hypergraph) -> dict[str, Any]:
    owner, fragment = g.hyper_atom.tolist(), g.hyper_fragment.tolist()
    return {
        "sure": [tuple(b) for b in g.sure_bonds.tolist()],
        "ambiguous": [tuple(b) for b in g.bond_atoms.tolist()],
        "fragments": [f.atoms for f in g.fragments],
        "hyper": list(zip(owner, fragment, g.hyper_member.tolist(), strict=True)),
        "edges": [
            (owner[h], fragment[h], j)
            for h, j in zip(g.edge_hyper.tolist(), g.edge_atom.tolist(), strict=True)
        ],
    }


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("skin", [0.0, 0.5])
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 11))
def test_hyperedges_and_edges_are_those_of_the_definition(
    hard: bool, skin: float, seed: int, n: int
) -> None:
    numbers, positions = random_molecule(seed, n)
    config = dataclasses.replace(CONFIG, hard=hard)
    g = build_hypergraph(numbers, positions, config, skin=skin)
    expected = reference(numbers, positions, config, skin)
    limits = np.array(expected.pop("limits")).reshape(-1, 2)
    assert listed(g) == expected
    assert np.allclose(g.bond_range, limits, rtol=0, atol=EXACT)
    assert (np.diff(g.hyper_atom) >= 0).all()
    assert (np.diff(g.edge_hyper) >= 0).all()


def test_the_random_molecules_are_interesting() -> None:
    """The control: they have ambiguous bonds and fragments out of reach."""
    graphs = [build_hypergraph(*random_molecule(s, 9), CONFIG) for s in range(40)]
    assert sum(len(g.bond_atoms) > 0 for g in graphs) > 10
    assert sum(len(g.hyper_atom) < 9 * len(g.fragments) for g in graphs) > 10
    assert sum((~g.hyper_member).any() for g in graphs) > 20


def test_hard_membership_leaves_no_bond_ambiguous() -> None:
    numbers, positions = random_molecule(3, 11)
    assert len(build_hypergraph(numbers, positions, CONFIG).bond_atoms) > 0
    hard = build_hypergraph(numbers, positions, dataclasses.replace(CONFIG, hard=True))
    assert len(hard.bond_atoms) == 0
    assert all(f.terms == ((),) for f in hard.fragments)


# --- Skin and padding change nothing ---------------------------------------------------------


def energy_of(
    numbers: np.ndarray, positions: np.ndarray, skin: float, pad: int = 0
) -> tuple[float, np.ndarray]:
    model = tiny_model(dtype=torch.float64)
    g = build_hypergraph(numbers, positions, model.hypergraph, skin=skin)
    size = sizes_of([g])
    full = Sizes(*(n + pad for n in size)) if pad else size
    graph = collate([g], model.species_of, model.hypergraph, dtype=torch.float64, pad_to=full)
    where = torch.zeros(full.atoms, 3, dtype=torch.float64)
    where[: len(positions)] = torch.as_tensor(positions)
    # Padded atoms are not connected to anything.
    energy, forces, energies = energy_and_forces(model, where, graph)
    assert not energies[len(numbers) :].any()
    assert not forces[len(numbers) :].any()
    return float(energy), forces[: len(numbers)].numpy()


@pytest.mark.parametrize("seed", range(6))
def test_skin_changes_neither_energy_nor_forces(seed: int) -> None:
    numbers, positions = random_molecule(seed, 8)
    energy, forces = energy_of(numbers, positions, 0.0)
    for skin in (0.1, 0.5, 2.0):
        other, other_forces = energy_of(numbers, positions, skin)
        assert other == pytest.approx(energy, abs=SAME_ENERGY)
        assert np.allclose(other_forces, forces, rtol=0, atol=SAME_FORCES)


@pytest.mark.parametrize("seed", range(6))
def test_padding_changes_neither_energy_nor_forces(seed: int) -> None:
    numbers, positions = random_molecule(seed, 8)
    energy, forces = energy_of(numbers, positions, 0.5)
    for pad in (1, 7):
        other, other_forces = energy_of(numbers, positions, 0.5, pad)
        assert other == pytest.approx(energy, abs=SAME_ENERGY)
        assert np.allclose(other_forces, forces, rtol=0, atol=SAME_FORCES)


def test_a_skin_lists_more_and_a_move_changes_the_energy() -> None:
    """The controls of the two tests above."""
    numbers, positions = random_molecule(0, 11)
    tight = build_hypergraph(numbers, positions, CONFIG)
    loose = build_hypergraph(numbers, positions, CONFIG, skin=1.0)
    assert len(loose.edge_hyper) > len(tight.edge_hyper)
    moved = positions.copy()
    moved[0, 0] += 1e-3
    assert abs(energy_of(numbers, positions, 0.5)[0] - energy_of(numbers, moved, 0.5)[0]) > 1e-6


# --- Invalid geometries ----------------------------------------------------------------------

ETHANOL = molecule("CH3CH2OH")


@pytest.mark.parametrize(
    ("bad", "shown"), [(np.nan, "NaN"), (np.inf, "inf"), (-np.inf, "-inf")], ids=str
)
def test_positions_must_be_finite(bad: float, shown: str) -> None:
    positions = ETHANOL.positions.copy()
    positions[2, 1] = positions[5, 0] = bad
    with pytest.raises(
        ValueError, match=r"expected finite positions, got NaN or infinite ones for atoms \[2, 5\]"
    ):
        build_hypergraph(ETHANOL.numbers, positions, CONFIG)


@pytest.mark.parametrize("number", [-1, 119, 2**40])
def test_invalid_atomic_numbers(number: int) -> None:
    numbers = ETHANOL.numbers.astype(np.int64)
    numbers[3] = number
    with pytest.raises(ValueError, match=f"from 0 to 118, got {number} for atom 3"):
        build_hypergraph(numbers, ETHANOL.positions, CONFIG)


@pytest.mark.parametrize("shape", [(9,), (27,), (9, 2), (3, 9), (1, 9, 3)])
def test_positions_of_the_wrong_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected positions of shape \(N, 3\), got \("):
        build_hypergraph(ETHANOL.numbers, np.zeros(shape), CONFIG)


@pytest.mark.parametrize("n", [1, 8, 10])
def test_wrong_number_of_positions(n: int) -> None:
    with pytest.raises(ValueError, match=rf"expected one position per atom, got {n} for 9"):
        build_hypergraph(ETHANOL.numbers, np.arange(3.0 * n).reshape(n, 3), CONFIG)


@pytest.mark.parametrize("apart", [0.0, 1e-9, 9e-4])
def test_coincident_atoms(apart: float) -> None:
    positions = ETHANOL.positions.copy()
    positions[7] = positions[2] + [0.0, 0.0, apart]
    with pytest.raises(
        ValueError,
        match=r"expected atoms apart from each other, got atoms 2 and 7 at a distance of .* Angst",
    ):
        build_hypergraph(ETHANOL.numbers, positions, CONFIG)
    positions[7] = positions[2] + [0.0, 0.0, 0.01]  # near, but two atoms
    assert [2, 7] in build_hypergraph(ETHANOL.numbers, positions, CONFIG).sure_bonds.tolist()


def test_no_atoms() -> None:
    with pytest.raises(ValueError, match=r"expected at least one atom, got none"):
        build_hypergraph(np.empty(0, int), np.empty((0, 3)), CONFIG)


def test_one_atom_is_a_hyperedge_without_edges() -> None:
    g = build_hypergraph(np.array([6]), np.zeros((1, 3)), CONFIG)
    assert listed(g) == {
        "sure": [],
        "ambiguous": [],
        "fragments": [(0,)],
        "hyper": [(0, 0, True)],
        "edges": [],
    }


def test_many_partially_broken_bonds_at_one_atom() -> None:
    """Eleven and more partially broken bonds around one atom."""
    rng = np.random.default_rng(0)
    around = rng.normal(size=(13, 3))
    around *= 1.45 / np.linalg.norm(around, axis=1)[:, None]
    positions = np.concatenate([np.zeros((1, 3)), around])
    g = build_hypergraph(np.array([6] + [1] * 13), positions, CONFIG)
    assert g.fleeting
    assert len(g.bond_atoms) >= 13
    alone = [f.atoms for f in g.fragments if f.rest]
    assert alone == [(i,) for i in range(14)]
    # The rest of an atom is reduced by the weights of its other fragments.
    lacking = set(zip(g.rest_fragment.tolist(), g.rest_other.tolist(), strict=True))
    index = {f.atoms: k for k, f in enumerate(g.fragments)}
    assert lacking == {
        (index[i,], k) for i in range(14) for f, k in zip(g.fragments, range(99), strict=False)
        if i in f.atoms and not f.rest
    }  # fmt: skip


def test_inputs_are_not_changed_and_may_be_lists() -> None:
    numbers, positions = ETHANOL.numbers.copy(), ETHANOL.positions.copy()
    g = build_hypergraph(numbers, positions, CONFIG, skin=0.5)
    assert np.array_equal(numbers, ETHANOL.numbers)
    assert np.array_equal(positions, ETHANOL.positions)
    same = build_hypergraph(numbers.tolist(), positions.tolist(), CONFIG, skin=0.5)  # type: ignore[arg-type]
    assert listed(same) == listed(g)


def test_cost_grows_linearly_in_a_giant_fragment() -> None:
    """A polyacetylene is one fragment; its edges per atom are those of the cutoff."""
    per_atom = []
    for n in (40, 80, 160):
        numbers = np.full(n, 6)
        positions = np.array([[1.2 * i, 0.35 * (-1) ** i, 0.0] for i in range(n)])
        g = build_hypergraph(numbers, positions, CONFIG)
        assert len(g.fragments) == 1
        per_atom.append(len(g.edge_hyper) / n)
    assert 5 < per_atom[0] < per_atom[2] < 8


# --- Configuration ---------------------------------------------------------------------------


def test_config_round_trip_and_unknown_keys() -> None:
    config = HypergraphConfig(cutoff=6.0, hard=True)
    assert HypergraphConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ValueError, match=r"got unknown keys \['cutof'\]"):
        HypergraphConfig.from_dict({"cutof": 5.0})
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.cutoff = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"reach": 6.0}, r"expected 0 < reach_width <= reach <= cutoff, got 1\.0, 6\.0, 5\.0"),
        ({"reach_width": 0.0}, r"expected 0 < reach_width <= reach <= cutoff"),
        ({"cutoff": float("nan")}, r"expected 0 < reach_width <= reach <= cutoff"),
        ({"bond_on": 1.4}, r"expected 0 < on < off for the bond switch, got 1\.4, 1\.35"),
        ({"hydrogen_bond_off": 1.25}, r"expected 0 < on < off for the bond switch"),
        ({"bond_on": 0.0}, r"expected 0 < on < off for the bond switch"),
    ],
)
def test_invalid_settings(values: dict[str, float], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        HypergraphConfig(**values)  # type: ignore[arg-type]


def test_distant_atoms_give_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        g = build_hypergraph(np.array([6, 8]), np.array([[0.0, 0, 0], [1e6, 0, 0]]), CONFIG)
    assert len(g.fragments) == 2
