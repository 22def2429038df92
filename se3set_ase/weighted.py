"""What the network would see of a geometry, without a network."""

from __future__ import annotations

import numpy as np
import torch

from se3set_ase.hypergraph import HypergraphConfig, build_hypergraph
from se3set_ase.nn.graph import collate, weigh
from se3set_ase.refragment import WeightedHypergraph

__all__ = ["weighted_hypergraph"]


def weighted_hypergraph(
    numbers: np.ndarray, positions: np.ndarray, config: HypergraphConfig
) -> WeightedHypergraph:
    """The hypergraph of a geometry, with its weights.

    Parameters
    ----------
    numbers : (N,) atomic numbers. positions : (N, 3), Angstrom.

    Raises
    ------
    ValueError : a geometry that has no hypergraph.
    """
    positions = np.array(positions, dtype=np.float64)  # a copy: atoms move on
    structure = build_hypergraph(numbers, positions, config)
    species_of = {int(z): k for k, z in enumerate(np.unique(numbers))}
    graph = collate([structure], species_of, config, dtype=torch.float64)
    weights = weigh(torch.from_numpy(positions), graph, config)
    return WeightedHypergraph(
        structure=structure,
        positions=positions,
        bond_weights=weights.bond.numpy(),
        fragment_weights=weights.fragment.numpy(),
        hyperedge_weights=weights.hyperedge.numpy(),
        hyperedge_reach=weights.reach.numpy(),
    )
