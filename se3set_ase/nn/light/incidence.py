"""A weighted hypergraph as input of the default network."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from se3set_ase.nn.light.cartesian import Direction


class Incidence(NamedTuple):
    """Input of the network: n atoms, h hyperedges, e edges."""

    species: Tensor
    """(n,)"""
    hyper_atom: Tensor
    """(h,) owner."""
    edge_hyper: Tensor
    """(e,) hyperedge."""
    owner: Tensor
    """(e,) owner of the hyperedge."""
    edge_atom: Tensor
    """(e,) member."""
    hyperedge: Tensor
    """(h,) weight u_if of each hyperedge."""
    edge: Tensor
    """(e,) weight omega of each edge."""
    direction: Direction
    """Direction of each edge."""
    basis: Tensor
    """(e, k) radial basis at its length."""
