"""Second derivatives of the energy by automatic differentiation, several rows at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from se3set_ase.nn.cells import InCells
from se3set_ase.nn.graph import Graph
from se3set_ase.nn.light.network import LightNetwork
from se3set_ase.nn.model import SE3Set
from se3set_ase.nn.threads import threads_for

#: Memory for rows that are computed together; on a CPU more rows are slower.
BYTES, BYTES_ON_DEVICE = 2**28, 2**32
#: Numbers that autograd stores per edge, channel and row (measured: 190 to 260).
NUMBERS = 250


def hessian(model: SE3Set | InCells, positions: Tensor, graph: Graph) -> Tensor:
    """Matrix of second derivatives of one molecule's energy.

    Parameters
    ----------
    model : of any backend; computed by the native one, which autograd can differentiate any
        number of times. For a cell, with it. positions : (N, 3) Angstrom.
    graph : of this molecule alone.

    Returns
    -------
    (3N, 3N) eV/Angstrom^2, float64, x y z of the first atom, then of the second, ...; exactly
    symmetric, as the mean of the matrix and its transpose.
    """
    model = model.with_backend("native")
    network = model.model if isinstance(model, InCells) else model
    at_once = min(rows_at_once(network, graph), positions.numel())
    with threads_for(at_once * len(graph.edge_atom)):
        positions = positions.detach().requires_grad_(True)
        energy = model(positions, graph).sum()
        (gradient,) = torch.autograd.grad(
            energy, positions, create_graph=True, materialize_grads=True
        )
        components = gradient.flatten()  # k
        seeds = torch.eye(len(components), dtype=components.dtype, device=components.device)
        rows = []  # k, i, x
        for some in seeds.split(at_once):
            together = len(some) > 1  # a single row needs no batching rule for any operation
            (found,) = torch.autograd.grad(
                components,
                positions,
                some if together else some[0],
                retain_graph=True,
                is_grads_batched=together,
                materialize_grads=True,
            )
            rows.append(found.view(len(some), -1))
    matrix = torch.cat(rows)
    return 0.5 * (matrix + matrix.T)


def rows_at_once(model: SE3Set, graph: Graph) -> int:
    """Number of rows that fit into memory; one if the needs of the network are unknown."""
    if not isinstance(model.network, LightNetwork):
        return 1
    memory = BYTES if model.device.type == "cpu" else BYTES_ON_DEVICE
    n_edges, channels = len(graph.edge_atom), model.network.config.channels
    row = NUMBERS * channels * max(n_edges, 1) * model.dtype.itemsize
    return max(1, memory // row)
