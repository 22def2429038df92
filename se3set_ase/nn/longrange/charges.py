"""Atomic charges that add up to the charge of the molecule.

    q_i = sum_j (t_ij - t_ji) + c_i + w_i (Q - sum_j c_j) / sum_j w_j

``t_ij`` is charge that an edge transfers: polar bonds and contacts, which conserve the charge of
each connected part exactly. ``c_i`` is the charge of ionic groups; it is exactly zero where the
network finds less than a small threshold, so that the charges of neutral molecules far apart do not
depend on each other. What is missing from the charge ``Q`` of the molecule is distributed with the
positive weights ``w_i``, as in AIMNet2 (Anstine, Zubatyuk, Isayev, Chem. Sci. 16, 10228 (2025)).

The energy of charging the atoms is ``sum_i chi_i q_i + eta_i q_i^2 / 2``, with ``chi_i`` and
``eta_i`` from the features of the atoms. All are smooth functions of the positions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import silu, softplus

from se3set_ase.nn.graph import Graph, Weights
from se3set_ase.nn.longrange.config import LongRangeConfig
from se3set_ase.nn.scatter import Backend, scatter_sum
from se3set_ase.nn.smooth import switch

#: e: ionic charges below the first are zero, above the second they are as predicted.
NONE, FULL = 0.1, 0.3
#: Least weight of an atom for the missing charge.
LEAST = 1e-3


class ChargeHead(nn.Module):
    """Charges of the atoms from the features of a network.

    Parameters
    ----------
    channels : number of scalars of each atom.
    radial_functions : number of radial functions of each edge.
    """

    def __init__(
        self,
        config: LongRangeConfig,
        channels: int,
        radial_functions: int,
        *,
        backend: Backend = "native",
    ):
        super().__init__()
        self.backend = backend
        hidden, flows = config.hidden, config.flows
        self.giver = nn.Linear(channels, flows)
        self.taker = nn.Linear(channels, flows)
        self.radial = nn.Linear(radial_functions, flows)
        self.hidden = nn.Linear(channels, hidden)
        self.readout = nn.Linear(hidden, 4)
        with torch.no_grad():
            self.radial.weight.mul_(0.1)
            self.radial.bias.zero_()

    def forward(
        self, scalar: Tensor, basis: Tensor, bonded: Tensor, graph: Graph, weights: Weights
    ) -> tuple[Tensor, Tensor]:
        """Charges, e, and charging energies, eV; (N,) float64 each.

        Parameters
        ----------
        scalar : (N, c) features. basis : (E, b) radial functions of the edges.
        bonded : (N,) 0 for an isolated atom, see :meth:`se3set_ase.nn.model.SE3Set.bonded`.
        """
        n_atoms, n_molecules = graph.species.shape[0], graph.n_atoms.shape[0]
        owner = graph.hyper_atom[graph.edge_hyper]  # e -> i
        given = silu(self.giver(scalar))[owner] * silu(self.taker(scalar))[graph.edge_atom]
        flow = (given * self.radial(basis)).sum(1) * weights.edge
        flow = (flow * weights.hyperedge[graph.edge_hyper]).double()
        ends, signed = torch.cat([owner, graph.edge_atom]), torch.cat([flow, -flow])
        polar = scatter_sum(signed, ends, n_atoms, self.backend)  # e -> i, j

        real = graph.atom_weight.double()
        ionic, share, chi, eta = self.readout(silu(self.hidden(scalar))).double().unbind(1)
        ionic = ionic * (1.0 - switch(ionic.abs(), NONE, FULL)) * bonded.double() * real
        share = (softplus(share) + LEAST) * real
        per_molecule = torch.stack([ionic, share], dim=1)
        total = scatter_sum(per_molecule, graph.molecule, n_molecules, self.backend)  # i -> m
        # A molecule of padding has no atoms.
        missing = (graph.charge.double() - total[:, 0]) / total[:, 1].clamp(min=LEAST * LEAST)
        charge = polar + ionic + share * missing[graph.molecule]
        return charge, charge * (chi + 0.5 * softplus(eta) * charge)
