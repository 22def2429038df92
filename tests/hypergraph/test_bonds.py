"""Neighbour pairs, and the distances between which their bond weight falls."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, combinations_with_replacement

import numpy as np
import pytest
from ase.data import chemical_symbols, covalent_radii
from hypothesis import given
from hypothesis import strategies as st

from se3set_ase.hypergraph.bonds import bond_limits, longest_bond, neighbour_pairs
from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.hypergraph.radii import COVALENT_RADII

EXACT = 1e-12  # Angstrom, rounding of a distance of a few Angstrom

CONFIG = HypergraphConfig(bond_on=1.15, bond_off=1.35, hydrogen_bond_on=1.25, hydrogen_bond_off=1.5)

# Cordero et al. (2008), as in the published recipe; Angstrom.
PUBLISHED_RADII = {
    1: 0.31, 3: 1.28, 5: 0.84, 6: 0.76, 7: 0.71, 8: 0.66, 9: 0.57, 14: 1.11, 15: 1.07, 16: 1.05,
    17: 1.02, 33: 1.19, 34: 1.20, 35: 1.20, 52: 1.38, 53: 1.39,
}  # fmt: skip


@pytest.mark.parametrize(("number", "radius"), PUBLISHED_RADII.items())
def test_radii_are_those_of_the_published_recipe(number: int, radius: float) -> None:
    assert COVALENT_RADII[number] == pytest.approx(radius, abs=EXACT)


def test_radii_are_those_of_ase() -> None:
    """From H to Cm; beyond, releases of ASE differ."""
    assert len(COVALENT_RADII) == len(chemical_symbols)
    np.testing.assert_array_equal(COVALENT_RADII[1:97], covalent_radii[1:97])
    assert COVALENT_RADII[1:97].max() == 2.6


@given(n=st.integers(0, 30), cutoff=st.floats(0.1, 8.0), seed=st.integers(0, 2**32 - 1))
def test_neighbour_pairs_are_those_of_a_double_loop(n: int, cutoff: float, seed: int) -> None:
    positions = np.random.default_rng(seed).uniform(0.0, 5.0, (n, 3))
    pairs, distances = neighbour_pairs(positions, cutoff)
    expected = {
        (i, j): d
        for i, j in combinations(range(n), 2)
        if (d := float(np.sqrt(((positions[i] - positions[j]) ** 2).sum()))) < cutoff
    }
    assert [tuple(p) for p in pairs.tolist()] == sorted(expected)  # each once, i < j, in order
    assert pairs.dtype == np.int64
    assert pairs.shape == (len(expected), 2)
    assert np.allclose(distances, [expected[k] for k in sorted(expected)], rtol=0, atol=EXACT)


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_atoms_have_no_pairs(n: int) -> None:
    pairs, distances = neighbour_pairs(np.zeros((n, 3)), 5.0)
    assert pairs.shape == (0, 2)
    assert distances.shape == (0,)
    assert len(neighbour_pairs(np.zeros((2, 3)), 5.0)[0]) == 1  # the control


def test_neighbour_pairs_do_not_change_positions(rng: np.random.Generator) -> None:
    positions = rng.uniform(size=(9, 3))
    before = positions.copy()
    neighbour_pairs(positions, 3.0)
    assert np.array_equal(positions, before)


def test_bond_limits_by_hand() -> None:
    numbers = np.array([6, 8, 1, 1])
    pairs = np.array([(0, 1), (0, 2), (1, 2), (2, 3)])
    expected = [
        (1.42 * 1.15, 1.42 * 1.35),
        (1.07 * 1.25, 1.07 * 1.5),
        (0.97 * 1.25, 0.97 * 1.5),
        (0.62 * 1.25, 0.62 * 1.5),
    ]
    limits = bond_limits(numbers, pairs, CONFIG)
    assert np.allclose(limits, expected, rtol=0, atol=EXACT)
    # Either end may be the hydrogen.
    assert np.array_equal(limits, bond_limits(numbers, pairs[:, ::-1], CONFIG))
    assert bond_limits(numbers, np.empty((0, 2), int), CONFIG).shape == (0, 2)
    hard = bond_limits(numbers, pairs, replace(CONFIG, hard=True))
    middle = [(0.5 * (on + off),) * 2 for on, off in expected]
    assert np.allclose(hard, middle, rtol=0, atol=EXACT)


@pytest.mark.parametrize(
    ("heavy_off", "hydrogen_off"), [(1.35, 1.5), (1.2, 3.0)], ids=["usual", "hydrogen longer"]
)
@given(
    elements=st.lists(st.sampled_from(sorted(PUBLISHED_RADII)), min_size=1, max_size=5, unique=True)
)
def test_longest_bond_is_that_of_some_pair(
    heavy_off: float, hydrogen_off: float, elements: list[int]
) -> None:
    numbers = np.array(elements)
    every = np.array(list(combinations_with_replacement(range(len(elements)), 2)))
    config = replace(CONFIG, bond_off=heavy_off, hydrogen_bond_off=hydrogen_off)
    limits = bond_limits(numbers, every, config)
    assert longest_bond(numbers, config) == pytest.approx(limits[:, 1].max(), abs=EXACT)


def test_longest_bond_of_nothing() -> None:
    assert longest_bond(np.empty(0, int), CONFIG) == 0.0
    assert longest_bond(np.array([6]), CONFIG) > 2.0  # the control
