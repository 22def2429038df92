"""Contract 2, 3 and 5 for random molecules: any atoms, any distances, any order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scans import Surface
from scipy.spatial.distance import pdist
from scipy.spatial.transform import Rotation

from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.nn.light.config import LightConfig
from se3set_ase.nn.model import SE3Set

EXACT = 1e-11  # relative to the largest number
GRADIENT = 1e-6  # of the largest slope, extrapolated central differences
ELEMENTS = (1, 6, 7, 8)


def model() -> SE3Set:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(21)
        return SE3Set(
            elements=ELEMENTS,
            hypergraph=HypergraphConfig(),
            network=LightConfig(channels=8, heads=2, mean_members=8.0, mean_hyperedges=8.0),
            atomic_energies=(0.0,) * 4,
            shifts=(-2.0, -5.0, -4.0, -4.0),
        ).double()


MODEL = model()


@st.composite
def clusters(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Two to nine atoms, each 0.8 to 2.2 Angstrom from an earlier one: whole and half bonds."""
    n = draw(st.integers(2, 9))
    numbers = np.array(draw(st.lists(st.sampled_from(ELEMENTS), min_size=n, max_size=n)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    positions = np.zeros((1, 3))
    while len(positions) < n:
        step = rng.normal(size=3)
        step *= rng.uniform(0.8, 2.2) / np.linalg.norm(step)
        new = positions[rng.integers(len(positions))] + step
        if np.linalg.norm(positions - new, axis=1).min() > 0.7:
            positions = np.concatenate([positions, [new]])
    return numbers, positions


def evaluate(numbers: np.ndarray, positions: np.ndarray) -> tuple[float, np.ndarray]:
    return Surface(MODEL, numbers, lambda _: positions)(0.0)


def scale(energy: float, forces: np.ndarray) -> float:
    return max(1.0, abs(energy), float(np.abs(forces).max()))


@given(cluster=clusters(), seed=st.integers(0, 10**6))
def test_symmetries_of_any_molecule(cluster: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    numbers, positions = cluster
    rng = np.random.default_rng(seed)
    energy, forces = evaluate(numbers, positions)
    order = rng.permutation(len(numbers))
    turn = Rotation.random(rng=rng).as_matrix() * rng.choice([-1, 1])
    moved = positions[order] @ turn.T + rng.normal(size=3)
    e, f = evaluate(numbers[order], moved)
    exact = EXACT * scale(energy, forces)
    assert e == pytest.approx(energy, abs=exact)
    np.testing.assert_allclose(f, forces[order] @ turn.T, atol=exact)
    assert np.abs(forces.sum(axis=0)).max() < exact
    assert np.abs(np.cross(positions, forces).sum(axis=0)).max() < 10 * exact
    assert np.abs(forces).max() > 1e3 * exact


@given(cluster=clusters(), seed=st.integers(0, 10**6))
def test_forces_are_the_gradient_in_any_molecule(
    cluster: tuple[np.ndarray, np.ndarray], seed: int
) -> None:
    numbers, positions = cluster
    direction = np.random.default_rng(seed).normal(size=positions.shape)
    direction /= np.linalg.norm(direction)
    energy, forces = evaluate(numbers, positions)

    def slope(h: float) -> float:
        ends = (evaluate(numbers, positions + sign * h * direction)[0] for sign in (1, -1))
        return (next(ends) - next(ends)) / (2 * h)

    expected = (4 * slope(1e-4) - slope(2e-4)) / 3
    error = abs(float((forces * direction).sum()) + expected)
    assert error < GRADIENT * scale(energy, forces)


@given(first=clusters(), second=clusters())
def test_distant_molecules_of_any_kind_add_up(
    first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]
) -> None:
    alone = [evaluate(*first), evaluate(*second)]
    numbers = np.concatenate([first[0], second[0]])
    away = np.array([first[1][:, 0].max() - second[1][:, 0].min(), 0.0, 0.0])

    def together(gap: float) -> tuple[float, np.ndarray]:
        shifted = second[1] + away + [gap, 0.0, 0.0]
        return evaluate(numbers, np.concatenate([first[1], shifted]))

    energy, forces = together(MODEL.hypergraph.reach + 0.01)
    expected = np.concatenate([f for _, f in alone])
    exact = EXACT * scale(energy, forces)
    assert energy == pytest.approx(alone[0][0] + alone[1][0], abs=exact)
    np.testing.assert_allclose(forces, expected, atol=exact)
    assume(pdist(np.concatenate([first[1], second[1] + away + [1.5, 0, 0]])).min() > 0.7)
    assert abs(together(1.5)[0] - energy) > 1e3 * exact
