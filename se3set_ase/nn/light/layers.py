"""From atoms to hyperedges and back: the two halves of a block of the default network."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from se3set_ase.nn.light.cartesian import (
    EDGE_PATHS,
    FIRST_EDGE_PATHS,
    PRODUCT_PATHS,
    Direction,
    FeatureLinear,
    Features,
    edge_product,
    first_edge_product,
    square,
    weighed,
)
from se3set_ase.nn.light.config import LightConfig
from se3set_ase.nn.light.gather_kernel import GAIN, MEMBER_GAIN, Gather
from se3set_ase.nn.light.incidence import Incidence
from se3set_ase.nn.light.kernels import Deliver, square_by_hand
from se3set_ase.nn.scatter import Backend, scatter_sum

#: Factor that brings activations to order one with initial weights, so that products of sums (the
#: many-body terms) contribute from the first step.
PRODUCT_STD = 0.2


class ScaledSiLU(nn.SiLU):
    """SiLU that keeps the variance of a normal input."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the activation to each element."""
        return GAIN * super().forward(input)


class VertexToHyperedge(nn.Module):
    """Sums over the members of each hyperedge, as seen from its owner."""

    def __init__(self, config: LightConfig, first: bool, backend: Backend):
        super().__init__()
        channels, hidden = config.channels, config.radial_hidden
        self.channels = channels
        self.backend = backend
        self.by_hand = backend == "by_hand"
        self.first = first
        self.paths = FIRST_EDGE_PATHS if first else EDGE_PATHS
        self.members = nn.Linear(channels, channels) if first else FeatureLinear(channels)
        self.radial = nn.Sequential(
            nn.Linear(config.radial_functions, hidden),
            ScaledSiLU(),
            nn.Linear(hidden, hidden),
            ScaledSiLU(),
            nn.Linear(hidden, self.paths * channels, bias=False),
        )
        self.distance = nn.Linear(config.radial_functions, hidden)
        self.owner = nn.Linear(channels, hidden, bias=False)
        self.member = nn.Linear(channels, hidden, bias=False)
        self.gate = nn.Sequential(ScaledSiLU(), nn.Linear(hidden, config.heads))
        self.norm = config.mean_members**-0.5

    def forward(self, atoms: Features, incidence: Incidence) -> Features:
        """Atoms (n, ...) -> hyperedges (h, ...)."""
        members = (self.members(atoms.scalar),) if self.first else self.members(atoms)
        inputs = (
            self.owner(atoms.scalar), self.member(atoms.scalar),
            incidence.basis, incidence.edge, *incidence.direction, *members,
        )  # fmt: skip
        # By hand, weights get no gradient.
        by_hand = self.by_hand and not self.distance.weight.requires_grad
        sums = Gather.apply(self, incidence, *inputs) if by_hand else self.plain(incidence, *inputs)
        return Features(*sums)

    def plain(
        self,
        incidence: Incidence,
        owner: Tensor,
        member: Tensor,
        basis: Tensor,
        edge: Tensor,
        unit: Tensor,
        slope: Tensor,
        *members: Tensor,
    ) -> Features:
        """Sums over edges; owner and member are the atoms' parts of the gates (n, hidden)."""
        there, direction = incidence.edge_atom, Direction(unit, slope)
        hidden = self.distance(basis) + owner[incidence.owner] + member[there]
        attention = torch.sigmoid(self.gate(hidden)) * (self.norm * edge)[:, None]  # e, head
        radial = self.radial(basis).view(-1, self.paths, self.channels)
        weight = weighed(radial, attention)  # e, p, c
        if self.first:
            message = first_edge_product(members[0].index_select(0, there), direction, weight)
        else:
            message = edge_product(Features(*members).at(there), direction, weight)
        n_hyper = incidence.hyper_atom.shape[0]
        return Features(
            *(
                gain * scatter_sum(m, incidence.edge_hyper, n_hyper, self.backend)  # e -> h
                for gain, m in zip(MEMBER_GAIN, message, strict=True)
            )
        )


class HyperedgeToVertex(nn.Module):
    """Sums over the hyperedges of each atom, with their smooth weights.

    The part that is linear in the members has no gate. Because the weights of an atom's fragments
    add up to one, this part hardly depends on how the molecule is cut, and the gated products of
    a fragment's members are a correction. Without it, each bond graph would have to be learned
    separately, including rare ones between reactant and product.
    """

    def __init__(self, config: LightConfig, backend: Backend):
        super().__init__()
        channels = config.channels
        self.backend = backend
        self.by_hand = backend == "by_hand"
        self.heads = config.heads
        self.mix = FeatureLinear(channels)
        self.square = nn.Parameter(torch.randn(1, PRODUCT_PATHS, channels) * PRODUCT_STD)
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels, bias=False)
        self.logit = nn.Parameter(torch.randn(channels) * (config.heads / channels) ** 0.5)
        self.norm = config.mean_hyperedges**-0.5

    def forward(self, own: Tensor, hyperedges: Features, incidence: Incidence) -> Features:
        """Scalars of the atoms (n, c), and hyperedges (h, ...) -> atoms (n, ...)."""
        members = self.mix(hyperedges)
        together = (square_by_hand if self.by_hand else square)(members, self.square)
        n_atoms, n_channels = own.shape
        hidden = silu(self.query(own)[incidence.hyper_atom] + self.key(members.scalar))
        logit = (hidden * self.logit).view(-1, self.heads, n_channels // self.heads).sum(-1)
        attention = torch.sigmoid(logit).repeat_interleave(n_channels // self.heads, dim=1)  # h, c
        weight = self.norm * incidence.hyperedge  # h
        inputs = (attention, weight, *members, *together)
        if self.by_hand:
            return Features(*Deliver.apply(self, incidence, n_atoms, *inputs))
        return self.plain(incidence, n_atoms, *inputs)

    def plain(
        self, incidence: Incidence, n_atoms: int, attention: Tensor, weight: Tensor, *parts: Tensor
    ) -> Features:
        """Sums over hyperedges, of linear parts and products together."""
        members, together = Features(*parts[:3]), Features(*parts[3:])
        message = members.plus(together.scaled(attention)).scaled(weight[:, None])
        # h -> i
        return Features(
            *(scatter_sum(m, incidence.hyper_atom, n_atoms, self.backend) for m in message)
        )
