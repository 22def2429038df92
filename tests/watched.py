"""Geometries with the weights of their hypergraphs, for tests of what is reused and logged."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from ase.build import molecule

from se3set_ase.hypergraph.build import build_hypergraph
from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.hypergraph.structure import Hypergraph
from se3set_ase.hypergraph.weighted import WeightedHypergraph
from se3set_ase.nn.graph import collate, weigh

CONFIG = HypergraphConfig(cutoff=4.5, reach=3.5)
SPECIES = {1: 0, 6: 1, 8: 2}


def weighted(
    g: Hypergraph,
    positions: np.ndarray,
    config: HypergraphConfig = CONFIG,
    dtype: torch.dtype = torch.float64,
) -> WeightedHypergraph:
    graph = collate([g], SPECIES, config, dtype=dtype)
    weights = weigh(torch.tensor(positions), graph, config)
    return WeightedHypergraph(
        structure=g,
        positions=positions,
        bond_weights=weights.bond.double().numpy(),
        fragment_weights=weights.fragment.double().numpy(),
        hyperedge_weights=weights.hyperedge.double().numpy(),
        hyperedge_reach=weights.reach.double().numpy(),
    )


def seen(numbers: np.ndarray, positions: np.ndarray) -> WeightedHypergraph:
    return weighted(build_hypergraph(numbers, positions, CONFIG), positions)


def random_walk(
    n_steps: int, size: float, seed: int = 5
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Acetic acid and water in a soft cage, shaken so hard that bonds break."""
    rng = np.random.default_rng(seed)
    acid, water = molecule("CH3COOH"), molecule("H2O")
    numbers = np.concatenate([acid.numbers, water.numbers])
    home = np.concatenate([acid.positions, water.positions + np.array([0.0, 2.6, 1.0])])
    positions, velocity = home.copy(), np.zeros_like(home)
    for _ in range(n_steps):
        velocity = 0.9 * velocity - 0.05 * (positions - home) + size * rng.normal(size=home.shape)
        positions = positions + velocity
        yield numbers, positions.copy()


# --- Reuse -----------------------------------------------------------------------------------
