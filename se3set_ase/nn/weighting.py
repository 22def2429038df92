"""The weights of a hypergraph, without a network."""

from __future__ import annotations

import numpy as np
import torch

from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.hypergraph.structure import Hypergraph
from se3set_ase.hypergraph.weighted import WeightedHypergraph
from se3set_ase.nn.cells import Cells, in_cells
from se3set_ase.nn.graph import collate, weigh


def weighted_hypergraph(
    structure: Hypergraph,
    positions: np.ndarray,
    config: HypergraphConfig,
    cell: np.ndarray | None = None,
) -> WeightedHypergraph:
    """A hypergraph with its weights at some positions.

    Parameters
    ----------
    structure : result of :func:`se3set_ase.hypergraph.build.build_hypergraph` for positions close
        to these.
    positions : (N, 3) Angstrom.
    config : configuration of the structure.
    cell : (3, 3) Angstrom, if the structure is periodic.
    """
    positions = np.array(positions, dtype=np.float64)  # a copy: atoms may move later
    species_of = {int(z): k for k, z in enumerate(np.unique(structure.numbers))}
    graph = collate([structure], species_of, config, dtype=torch.float64)
    where = torch.from_numpy(positions)
    if cell is not None:
        cells = Cells.of([structure], [positions], [cell])
        graph = in_cells(graph, cells, cells.vectors)
    weights = weigh(where, graph, config)
    return WeightedHypergraph(
        structure=structure,
        positions=positions,
        bond_weights=weights.bond.numpy(),
        fragment_weights=weights.fragment.numpy(),
        hyperedge_weights=weights.hyperedge.numpy(),
        hyperedge_reach=weights.reach.numpy(),
        cell=cell,
    )
