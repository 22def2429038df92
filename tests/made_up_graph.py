"""A hypergraph of six atoms with smooth weights, for tests of networks alone."""

from __future__ import annotations

import torch
from torch import Tensor

from se3set_ase.nn.graph import Graph, Weights
from se3set_ase.nn.smooth import envelope, switch

CUTOFF = 5.0  # Angstrom


def positions() -> Tensor:
    """Six atoms, 1 to 4.5 Angstrom apart."""
    points = [
        [0.0, 0.1, 0.0], [1.1, -0.2, 0.3], [1.9, 0.9, -0.4],
        [0.4, 1.6, 1.1], [-1.3, 0.5, 0.8], [2.4, -1.2, 1.5],
    ]  # fmt: skip
    return torch.tensor(points, dtype=torch.float64)


def graph(dtype: torch.dtype = torch.float64) -> Graph:
    """Fragments {0, 1, 2} and {3, 4, 5}, each a hyperedge of each atom."""
    fragments = [(0, 1, 2), (3, 4, 5)]
    hyper = [(i, f) for i in range(6) for f in range(2)]
    edges = [(h, j) for h, (i, f) in enumerate(hyper) for j in fragments[f] if j != i]
    owner, fragment = torch.tensor(hyper).T.contiguous()
    edge_hyper, edge_atom = torch.tensor(edges).T.contiguous()
    member = torch.tensor([i in fragments[f] for i, f in hyper]).to(dtype)
    none = torch.empty(0, dtype=torch.int64)
    return Graph(
        species=torch.tensor([0, 1, 2, 0, 1, 1]),
        molecule=torch.zeros(6, dtype=torch.int64),
        atom_weight=torch.ones(6, dtype=dtype),
        n_atoms=torch.tensor([6]),
        bond_atoms=none.reshape(0, 2),
        bond_range=torch.empty(0, 2, dtype=dtype),
        bond_shift=torch.empty(0, 3, dtype=dtype),
        term_factor=torch.zeros(2, 1, dtype=torch.int64),
        term_fragment=torch.arange(2),
        rest_fragment=none,
        rest_other=none,
        rest_weight=torch.empty(0, dtype=dtype),
        fragment_size=torch.tensor([3, 3]),
        hyper_atom=owner,
        hyper_fragment=fragment,
        hyper_member=member,
        edge_hyper=edge_hyper,
        edge_atom=edge_atom,
        edge_shift=torch.zeros(len(edges), 3, dtype=dtype),
        charge=torch.zeros(1, dtype=dtype),
        pair=torch.empty(0, 2, dtype=torch.int64),
        pair_shift=torch.empty(0, 3, dtype=dtype),
        pair_weight=torch.empty(0, dtype=dtype),
    )


def weigh(positions: Tensor, graph: Graph) -> Weights:
    """Smooth weights made up for these tests: fragments weigh by the distance of their ends."""
    owner = graph.hyper_atom[graph.edge_hyper]
    vector = positions[graph.edge_atom] - positions[owner] + graph.edge_shift
    distance = vector.norm(dim=-1)
    fragment = torch.stack(
        [switch((positions[a] - positions[b]).norm(), 0.5, 6.0) for a, b in ((0, 2), (3, 5))]
    )
    reach = switch(distance, 0.5, 4.5).new_zeros(graph.hyper_atom.shape[0])
    reach = reach.index_add(0, graph.edge_hyper, switch(distance, 0.5, 4.5)) / 3.0
    return Weights(
        bond=vector.new_empty(0),
        fragment=fragment,
        reach=reach,
        hyperedge=fragment[graph.hyper_fragment] * reach,
        edge=envelope(distance, CUTOFF),
        vector=vector,
        distance=distance,
    )
