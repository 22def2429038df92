"""Periodic cells: distances to images of atoms, and the derivative with respect to strain.

The energy depends on positions only through the vectors of bonds and edges, so a cell only adds
lattice vectors to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from se3set_ase.hypergraph.structure import Hypergraph
from se3set_ase.nn.graph import Graph, Weights
from se3set_ase.nn.model import OfAtoms, Outputs, SE3Set, outputs


class Shifts(NamedTuple):
    """Cells of the second atoms of bonds and edges relative to the first, float64."""

    bond: Tensor
    """(A, 3) of each ambiguous bond."""
    edge: Tensor
    """(E, 3) of each edge."""


def shifts_and_cells(
    hypergraphs: Sequence[Hypergraph], cells: Sequence[np.ndarray | None], like: Tensor
) -> tuple[Shifts, Tensor]:
    """Shifts and cells (M, 3, 3) of molecules, on the device of a tensor; zero without a cell."""
    known = np.array([np.zeros((3, 3)) if cell is None else cell for cell in cells])
    return shifts_of(hypergraphs, like.device), torch.as_tensor(known, device=like.device)


def shifts_of(hypergraphs: Sequence[Hypergraph], device: torch.device | str) -> Shifts:
    """Shifts of the graph that :func:`se3set_ase.nn.graph.collate` makes without padding.

    They are zero for molecules without a cell.
    """

    def joined(parts: list[tuple[np.ndarray | None, np.ndarray]]) -> Tensor:
        rows = [np.zeros((len(atoms), 3)) if s is None else s for s, atoms in parts]
        return torch.as_tensor(np.concatenate(rows), dtype=torch.float64, device=device)

    return Shifts(
        bond=joined([(g.bond_shift, g.bond_atoms) for g in hypergraphs]),
        edge=joined([(g.edge_shift, g.edge_atom) for g in hypergraphs]),
    )


def in_cells(graph: Graph, shifts: Shifts, cells: Tensor) -> Graph:
    """The graph with the lattice vectors of its bonds and edges, float64.

    ``cells`` : (M, 3, 3) Angstrom, of each molecule; anything for one without a cell.
    """
    return graph._replace(
        bond_shift=_each(shifts.bond, cells[graph.molecule[graph.bond_atoms[:, 0]]]),
        edge_shift=_each(shifts.edge, cells[graph.molecule[graph.edge_atom]]),
    )


def outputs_in_cells(
    model: SE3Set, positions: Tensor, graph: Graph, shifts: Shifts, cells: Tensor
) -> tuple[Outputs, Tensor]:
    """:func:`se3set_ase.nn.model.outputs` in cells, and the derivative with respect to strain.

    Parameters
    ----------
    positions : (N, 3) Angstrom, float64.
    graph, shifts : of the same molecules. cells : see :func:`in_cells`.

    Returns
    -------
    The outputs, and (M, 3, 3) eV, dE/dstrain of each molecule, symmetric: the stress times the
    volume.
    """
    n_atoms, n_cells = len(positions), len(cells)
    # The strain is zero, and counts as further positions: one pass gives both derivatives.
    with_strain = torch.cat([positions, positions.new_zeros(3 * n_cells, 3)])
    found = outputs(_InCells(model, shifts, cells), with_strain, graph)
    virial = -found.forces[n_atoms:].view(n_cells, 3, 3)
    virial = 0.5 * (virial + virial.mT)
    return found._replace(forces=found.forces[:n_atoms]), virial


class _InCells:
    """A model for positions that are followed by the strain of each cell."""

    def __init__(self, model: SE3Set, shifts: Shifts, cells: Tensor):
        self._model, self._shifts, self._cells = model, shifts, cells

    def energies(self, positions: Tensor, graph: Graph, weights: Weights) -> OfAtoms:
        return self._model.energies(positions[: -3 * len(self._cells)], graph, weights)

    def weigh(self, positions: Tensor, graph: Graph) -> Weights:
        n_cells = len(self._cells)
        strain = positions[-3 * n_cells :].view(n_cells, 3, 3)
        scale = strain + torch.eye(3, dtype=strain.dtype, device=strain.device)
        moved = _each(positions[: -3 * n_cells], scale[graph.molecule])
        return self._model.weigh(moved, in_cells(graph, self._shifts, self._cells @ scale))


def _each(vectors: Tensor, matrices: Tensor) -> Tensor:
    """Row vectors (K, 3), each times a matrix (K, 3, 3)."""
    return (vectors[:, None, :] @ matrices).squeeze(1)
