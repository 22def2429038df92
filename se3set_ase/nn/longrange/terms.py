"""All energies of pairs of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from se3set_ase.nn.graph import Graph
from se3set_ase.nn.longrange.charges import ChargeHead
from se3set_ase.nn.longrange.config import LongRangeConfig
from se3set_ase.nn.longrange.dispersion import Dispersion
from se3set_ase.nn.longrange.electrostatics import coulomb, coulomb_in_cell
from se3set_ase.nn.scatter import Backend
from se3set_ase.nn.smooth import switch

#: Angstrom: dispersion is switched off between these distances, as it has to be in a cell.
ON, OFF = 12.0, 15.0


class Pairs(NamedTuple):
    """The pairs of all molecules of a graph, float64."""

    atoms: Tensor
    """(P, 2)"""
    distance: Tensor
    """(P,) Angstrom."""
    weight: Tensor
    """(P,) 0 for padding."""

    @classmethod
    def of(cls, positions: Tensor, graph: Graph) -> Pairs:
        """The pairs at positions (N, 3)."""
        i, j = graph.pair.unbind(1)
        vector = (positions[j] - positions[i]).double() + graph.pair_shift.double()
        return cls(graph.pair, (vector * vector).sum(1).sqrt(), graph.pair_weight.double())

    def within(self, cutoff: float) -> Pairs:
        """The pairs closer than ``cutoff``, Angstrom."""
        near = self.distance < cutoff
        return Pairs(*(rows[near] for rows in self))


class LongRange(nn.Module):
    """Dispersion and charges, as far as a model has them."""

    def __init__(
        self,
        config: LongRangeConfig,
        elements: Sequence[int],
        channels: int,
        radial_functions: int,
        *,
        backend: Backend = "native",
    ):
        super().__init__()
        self.config = config
        self.traced = backend != "by_hand"
        self.dispersion = Dispersion(elements) if config.dispersion else None
        self.charges = None
        if config.charges:
            self.charges = ChargeHead(config, channels, radial_functions, backend=backend)

    def energies(
        self,
        positions: Tensor,
        graph: Graph,
        charge: Tensor | None,
        cells: Sequence[Tensor | None] | None = None,
    ) -> Tensor:
        """Energy of each atom (N,) eV, float64, for its charge (N,) e.

        ``cells`` : (3, 3) Angstrom, of each molecule, periodic in all directions for charges; None
        for isolated ones.
        """
        pairs = Pairs.of(positions, graph)
        energy = pairs.distance.new_zeros(graph.species.shape[0])
        if self.dispersion is not None:
            # Traced code has arrays of fixed lengths, others leave out what is zero.
            near = pairs if self.traced else pairs.within(OFF)
            weight = near.weight * switch(near.distance, ON, OFF)
            energy = energy + self.dispersion(graph.species, near.atoms, near.distance, weight)
        if charge is not None:
            energy = energy + self._electrostatics(charge, positions, graph, pairs, cells or ())
        return energy

    def _electrostatics(
        self,
        charge: Tensor,
        positions: Tensor,
        graph: Graph,
        pairs: Pairs,
        cells: Sequence[Tensor | None],
    ) -> Tensor:
        """Sums over pairs of isolated molecules, and over all images in cells."""
        width = self.config.width
        if not any(cell is not None for cell in cells):
            return coulomb(charge, *pairs, width)
        periodic = torch.tensor([cell is not None for cell in cells], device=charge.device)
        isolated = ~periodic[graph.molecule[pairs.atoms[:, 0]]]
        energy = coulomb(charge, *Pairs(*(rows[isolated] for rows in pairs)), width)
        for m, cell in enumerate(cells):
            if cell is not None:
                own = torch.nonzero(graph.molecule == m).squeeze(1)
                found = coulomb_in_cell(charge[own], positions[own].double(), cell, width)
                energy = energy.index_add(0, own, found)
        return energy
