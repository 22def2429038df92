"""Periodic cells: distances to images of atoms, and the derivative with respect to strain.

The energy of the network depends on positions only through the vectors of bonds and edges, so a
cell only adds lattice vectors to them, and to those of pairs. Electrostatics needs the cell itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from se3set_ase.hypergraph.structure import Hypergraph
from se3set_ase.nn.graph import Graph, Weights
from se3set_ase.nn.longrange.terms import OFF
from se3set_ase.nn.model import OfAtoms, SE3Set
from se3set_ase.nn.outputs import Outputs, outputs
from se3set_ase.nn.scatter import Backend


@dataclass(frozen=True, kw_only=True)
class Cells:
    """The cells of M molecules, and the images of atoms in the graph of these molecules.

    Attributes
    ----------
    vectors : (M, 3, 3) Angstrom, float64; zero for isolated molecules.
    periodic : whether each molecule has a cell.
    bond, edge : (A, 3) and (E, 3) float64, cell of the second atom of each bond and edge relative
        to the first.
    pair : (P, 2) atoms closer than the end of dispersion, and all of isolated molecules; of a
        model without energies of pairs, none. pair_image : (P, 3) float64, as ``bond``.
    """

    vectors: Tensor
    periodic: tuple[bool, ...]
    bond: Tensor
    edge: Tensor
    pair: Tensor
    pair_image: Tensor

    @classmethod
    def of(
        cls,
        hypergraphs: Sequence[Hypergraph],
        positions: Sequence[np.ndarray],
        cells: Sequence[np.ndarray | None],
        *,
        pairs: bool = False,
        device: torch.device | str = "cpu",
    ) -> Cells:
        """The cells of the graph that :func:`se3set_ase.nn.graph.collate` makes without padding.

        Parameters
        ----------
        positions : (N, 3) Angstrom, of each molecule.
        cells : (3, 3) Angstrom, one vector per row; None for isolated molecules.
        pairs : list pairs, for a model with energies of pairs.
        """
        known = [np.zeros((3, 3)) if cell is None else cell for cell in cells]
        listed = [(np.zeros((0, 2), dtype=np.int64), np.zeros((0, 3)))]
        first = 0
        for g, r, cell in zip(hypergraphs, positions, known, strict=True):
            if pairs:
                atoms, images = _pairs(g, r, cell)
                listed.append((atoms + first, images))
            first += len(g.numbers)

        def joined(parts: list[tuple[np.ndarray | None, np.ndarray]]) -> Tensor:
            rows = [np.zeros((len(atoms), 3)) if s is None else s for s, atoms in parts]
            return torch.as_tensor(np.concatenate(rows), dtype=torch.float64, device=device)

        return cls(
            vectors=torch.as_tensor(np.array(known, dtype=np.float64), device=device),
            periodic=tuple(cell is not None for cell in cells),
            bond=joined([(g.bond_shift, g.bond_atoms) for g in hypergraphs]),
            edge=joined([(g.edge_shift, g.edge_atom) for g in hypergraphs]),
            pair=torch.as_tensor(np.concatenate([atoms for atoms, _ in listed]), device=device),
            pair_image=joined([(images, atoms) for atoms, images in listed]),
        )


def _pairs(g: Hypergraph, positions: np.ndarray, cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from se3set_ase.hypergraph.lattice import Lattice  # late, because it loads ASE

    lattice = Lattice.of(cell, np.array(g.periodic))
    if lattice is None:
        pairs = np.stack(np.triu_indices(len(g.numbers), 1), axis=1)
        return pairs, np.zeros((len(pairs), 3))
    pairs, images = lattice.pairs(positions, OFF)
    return pairs, images.astype(np.float64)


class InCells:
    """A model for molecules in cells, in place of a :class:`SE3Set` for isolated ones.

    Parameters
    ----------
    model : the model. cells : of the molecules of each graph that it is called with.
    strained : the positions are followed by the strain of each cell, (3M, 3), which is zero and
        counts as further positions: one pass gives both derivatives.
    """

    def __init__(self, model: SE3Set, cells: Cells, *, strained: bool = False):
        self.model, self.cells, self.strained = model, cells, strained
        self._last: tuple[Tensor, Graph, tuple[Tensor, Graph, Tensor]] | None = None

    def __call__(self, positions: Tensor, graph: Graph) -> Tensor:
        return self.energies(positions, graph, self.weigh(positions, graph)).energy

    def weigh(self, positions: Tensor, graph: Graph) -> Weights:
        where, inside, _ = self._placed(positions, graph)
        return self.model.weigh(where, inside)

    def energies(self, positions: Tensor, graph: Graph, weights: Weights) -> OfAtoms:
        where, inside, vectors = self._placed(positions, graph)
        known = [v if p else None for v, p in zip(vectors, self.cells.periodic, strict=True)]
        return self.model.energies(where, inside, weights, known)

    def with_backend(self, backend: Backend) -> InCells:
        """The same with another backend of the model."""
        return InCells(self.model.with_backend(backend), self.cells, strained=self.strained)

    def _placed(self, positions: Tensor, graph: Graph) -> tuple[Tensor, Graph, Tensor]:
        """Positions, graph and cells (M, 3, 3) after the strain; once for weights and energies."""
        if self._last is not None and self._last[0] is positions and self._last[1] is graph:
            return self._last[2]
        given, vectors = positions, self.cells.vectors
        if self.strained:
            n_cells = len(vectors)
            strain = positions[-3 * n_cells :].view(n_cells, 3, 3)
            scale = strain + torch.eye(3, dtype=strain.dtype, device=strain.device)
            positions = _each(positions[: -3 * n_cells], scale[graph.molecule])
            vectors = vectors @ scale
        placed = positions, in_cells(graph, self.cells, vectors), vectors
        self._last = given, graph, placed
        return placed


def in_cells(graph: Graph, cells: Cells, vectors: Tensor) -> Graph:
    """The graph with the lattice vectors of its bonds, edges and pairs, float64.

    ``vectors`` : (M, 3, 3) Angstrom, in place of those of the cells.
    """
    return graph._replace(
        bond_shift=_each(cells.bond, vectors[graph.molecule[graph.bond_atoms[:, 0]]]),
        edge_shift=_each(cells.edge, vectors[graph.molecule[graph.edge_atom]]),
        pair=cells.pair,
        pair_shift=_each(cells.pair_image, vectors[graph.molecule[cells.pair[:, 0]]]),
        pair_weight=torch.ones_like(cells.pair_image[:, 0]),
    )


def outputs_in_cells(
    model: SE3Set, positions: Tensor, graph: Graph, cells: Cells
) -> tuple[Outputs, Tensor]:
    """:func:`se3set_ase.nn.model.outputs` in cells, and the derivative with respect to strain.

    Parameters
    ----------
    positions : (N, 3) Angstrom, float64.
    graph, cells : of the same molecules.

    Returns
    -------
    The outputs, and (M, 3, 3) eV, dE/dstrain of each molecule, symmetric: the stress times the
    volume.
    """
    n_atoms, n_cells = len(positions), len(cells.vectors)
    with_strain = torch.cat([positions, positions.new_zeros(3 * n_cells, 3)])
    found = outputs(InCells(model, cells, strained=True), with_strain, graph)
    virial = -found.forces[n_atoms:].view(n_cells, 3, 3)
    virial = 0.5 * (virial + virial.mT)
    return found._replace(forces=found.forces[:n_atoms]), virial


def _each(vectors: Tensor, matrices: Tensor) -> Tensor:
    """Row vectors (K, 3), each times a matrix (K, 3, 3)."""
    return (vectors[:, None, :] @ matrices).squeeze(1)
