"""The default network: SE3Set's vertex -> hyperedge -> vertex attention, made cheap.

What it keeps of the published network: fragments as node-wise hyperedges, equivariant attention
of a hyperedge over its members (V2E) and of an atom over its hyperedges (E2V), both under the
smooth weights. What it changes: features up to l = 2 in Cartesian form, attention by gates
instead of a softmax (un-normalised, so that a member of weight zero changes nothing), and body
order from channel-wise products instead of wide feed-forward layers on every hyperedge.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from se3set_ase.nn.graph import Graph, Weights
from se3set_ase.nn.light.cartesian import (
    ALL_EDGE_PATHS,
    EDGE_PATHS,
    FIRST_EDGE_PATHS,
    PRODUCT_PATHS,
    Direction,
    FeatureLinear,
    Features,
    edge_product,
    first_edge_product,
    saturate,
    square,
    weighed,
)
from se3set_ase.nn.light.gather_kernel import GAIN, MEMBER_GAIN, Gather
from se3set_ase.nn.light.kernels import Deliver, square_by_hand
from se3set_ase.nn.radial import BesselBasis
from se3set_ase.nn.scatter import Backend, scatter_sum

#: Brings activations to order one with fresh weights, so that products of sums (the many-body
#: terms) are alive from the first step.
PRODUCT_STD = 0.2


@dataclass(frozen=True, kw_only=True)
class LightConfig:
    """Shape of :class:`LightNetwork`.

    Attributes
    ----------
    channels : scalars, vectors and tensors of each atom and hyperedge.
    blocks : V2E-E2V rounds.
    heads : groups of channels that share an attention gate.
    radial_functions : Bessel functions of each edge length. From random weights, few are best: more
        fit the training data alone (docs/front.csv). Begun from another model, more may be.
    radial_hidden : width of the network that turns them into weights.
    readout_hidden : width of each block's readout.
    edge_paths : couplings of a member's features with the edge, 9 or 14, see
        :func:`se3set_ase.nn.light.cartesian.edge_product`.
    saturation : size that what an atom gathers does not exceed before it is multiplied; without
        it the energy is a polynomial of high degree and runs away outside the training data.
    mean_members, mean_hyperedges : constants that bring the sums to order one. Never the counts
        of the molecule at hand: those jump.
    """

    channels: int = 64
    blocks: int = 2
    heads: int = 8
    radial_functions: int = 3
    radial_hidden: int = 64
    readout_hidden: int = 32
    edge_paths: int = EDGE_PATHS
    saturation: float = 3.0
    mean_members: float = 4.0
    mean_hyperedges: float = 4.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value, whole = getattr(self, field.name), isinstance(field.default, int)
            kind = "a whole number" if whole else "a number"
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                raise ValueError(f"expected {field.name} to be {kind}, got {value!r}")
            if not 0 < value < float("inf"):
                raise ValueError(f"expected {field.name} above 0, got {value!r}")
        if self.edge_paths not in (EDGE_PATHS, ALL_EDGE_PATHS):
            raise ValueError(
                f"expected edge_paths {EDGE_PATHS} or {ALL_EDGE_PATHS}, got {self.edge_paths}"
            )
        if self.channels % self.heads:
            raise ValueError(
                f"expected channels to be a multiple of heads, got {self.channels}, {self.heads}"
            )


class ScaledSiLU(nn.SiLU):
    """SiLU that keeps the variance of a normal input."""

    def forward(self, input: Tensor) -> Tensor:
        """Element by element."""
        return GAIN * super().forward(input)


class Incidence(NamedTuple):
    """What the network sees of a hypergraph: n atoms, h hyperedges, e edges."""

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
    """Of each edge."""
    basis: Tensor
    """(e, k) radial basis at its length."""


class VertexToHyperedge(nn.Module):
    """Each hyperedge gathers its members, seen from its owner."""

    def __init__(self, config: LightConfig, first: bool, backend: Backend):
        super().__init__()
        channels, hidden = config.channels, config.radial_hidden
        self.channels = channels
        self.backend = backend
        self.first = first
        self.paths = FIRST_EDGE_PATHS if first else config.edge_paths
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

    def forward(self, atoms: Features, incidence: Incidence, by_hand: bool) -> Features:
        """Atoms (n, ...) -> hyperedges (h, ...)."""
        members = (self.members(atoms.scalar),) if self.first else self.members(atoms)
        inputs = (
            self.owner(atoms.scalar), self.member(atoms.scalar),
            incidence.basis, incidence.edge, *incidence.direction, *members,
        )  # fmt: skip
        # By hand, weights get no gradient.
        learns = self.distance.weight.requires_grad
        by_hand = by_hand and self.paths != ALL_EDGE_PATHS and not learns
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
    """Each atom gathers its hyperedges, under their smooth weights.

    What is linear in the members is passed on as it is: as the fragments of an atom add up to
    one, that part of the message hardly depends on how the molecule is cut, and the attended
    products of a fragment's members are a correction. Without it every bond graph, the rare ones
    between reactant and product too, would have to be learnt on its own.
    """

    def __init__(self, config: LightConfig, backend: Backend):
        super().__init__()
        channels = config.channels
        self.backend = backend
        self.heads = config.heads
        self.mix = FeatureLinear(channels)
        self.square = nn.Parameter(torch.randn(1, PRODUCT_PATHS, channels) * PRODUCT_STD)
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels, bias=False)
        self.logit = nn.Parameter(torch.randn(channels) * (config.heads / channels) ** 0.5)
        self.norm = config.mean_hyperedges**-0.5

    def forward(
        self, own: Tensor, hyperedges: Features, incidence: Incidence, by_hand: bool
    ) -> Features:
        """Scalars of the atoms (n, c), and hyperedges (h, ...) -> atoms (n, ...)."""
        members = self.mix(hyperedges)
        together = (square_by_hand if by_hand else square)(members, self.square)
        n_atoms, n_channels = own.shape
        hidden = silu(self.query(own)[incidence.hyper_atom] + self.key(members.scalar))
        logit = (hidden * self.logit).view(-1, self.heads, n_channels // self.heads).sum(-1)
        attention = torch.sigmoid(logit).repeat_interleave(n_channels // self.heads, dim=1)  # h, c
        weight = self.norm * incidence.hyperedge  # h
        inputs = (attention, weight, *members, *together)
        if by_hand:
            return Features(*Deliver.apply(self, incidence, n_atoms, *inputs))
        return self.plain(incidence, n_atoms, *inputs)

    def plain(
        self, incidence: Incidence, n_atoms: int, attention: Tensor, weight: Tensor, *parts: Tensor
    ) -> Features:
        """Sums over hyperedges; what is linear and what is a product in one list."""
        members, together = Features(*parts[:3]), Features(*parts[3:])
        message = members.plus(together.scaled(attention)).scaled(weight[:, None])
        # h -> i
        return Features(
            *(scatter_sum(m, incidence.hyper_atom, n_atoms, self.backend) for m in message)
        )


class Block(nn.Module):
    """V2E, E2V, products of what each atom gathered, update, readout."""

    def __init__(self, config: LightConfig, n_species: int, first: bool, backend: Backend):
        super().__init__()
        channels = config.channels
        self.first = first
        self.saturation = config.saturation
        self.gather = VertexToHyperedge(config, first, backend)
        self.scatter = HyperedgeToVertex(config, backend)
        self.mix = FeatureLinear(channels)
        # Products carry weights per element of the atom, as in MACE (arXiv:2206.07697).
        self.second = nn.Parameter(torch.randn(n_species, PRODUCT_PATHS, channels) * PRODUCT_STD)
        self.update = nn.ModuleList(FeatureLinear(channels, gain=0.5) for _ in range(2))
        self.dense = nn.Sequential(
            nn.Linear(channels, channels), nn.SiLU(), nn.Linear(channels, channels)
        )
        self.readout = nn.Sequential(
            nn.Linear(channels, config.readout_hidden),
            nn.SiLU(),
            nn.Linear(config.readout_hidden, 1, bias=False),  # it would cancel, see SE3Set
        )

    def forward(
        self, own: Features, incidence: Incidence, by_hand: bool
    ) -> tuple[Features, Tensor]:
        """New features of the atoms and their part of the energy (n,)."""
        hyperedges = self.gather(own, incidence, by_hand)
        gathered = self.scatter(own.scalar, hyperedges, incidence, by_hand)
        message = saturate(self.mix(gathered), self.saturation)
        squared = (square_by_hand if by_hand else square)(message, self.second[incidence.species])
        change = self.update[0](message).plus(self.update[1](squared))
        if self.first:
            features = change._replace(scalar=own.scalar + change.scalar)
        else:
            features = own.plus(change)
        scalar = features.scalar + self.dense(features.scalar)
        return features._replace(scalar=scalar), self.readout(scalar).squeeze(-1)


class LightNetwork(nn.Module):
    """Per-atom outputs of a weighted hypergraph.

    Parameters
    ----------
    config : its shape. n_species : number of elements. cutoff : Angstrom, of the edges.
    backend : of the sums, see :func:`se3set_ase.nn.scatter.scatter_sum`.

    Attributes
    ----------
    by_hand : take gradients as in :mod:`se3set_ase.nn.light.kernels`: the same numbers, faster and in
        less memory. Not where gradients of the weights or a trace are wanted.
    """

    def __init__(
        self, config: LightConfig, n_species: int, cutoff: float, *, backend: Backend = "native"
    ):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(n_species, config.channels)
        self.cutoff = cutoff
        self.by_hand = False
        self.basis = BesselBasis(config.radial_functions, cutoff)
        self.blocks = nn.ModuleList(
            Block(config, n_species, first=index == 0, backend=backend)
            for index in range(config.blocks)
        )
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, species: Tensor, graph: Graph, weights: Weights) -> Tensor:
        """(N',) species, of which the first N are the graph's atoms -> (N',) outputs."""
        basis = self.cutoff * self.basis(weights.distance)  # of order one
        incidence = Incidence(
            species=species,
            hyper_atom=graph.hyper_atom,
            edge_hyper=graph.edge_hyper,
            owner=graph.hyper_atom[graph.edge_hyper],  # e -> i
            edge_atom=graph.edge_atom,
            hyperedge=weights.hyperedge,
            edge=weights.edge,
            direction=Direction.of(weights.vector / weights.distance[:, None]),
            basis=basis,
        )
        scalar = self.embedding(species)
        n, c = scalar.shape
        features = Features(scalar, scalar.new_zeros(n, 3, c), scalar.new_zeros(n, 5, c))
        output = scalar.new_zeros(n)
        for block in self.blocks:
            features, energy = block(features, incidence, self.by_hand)
            output = output + energy
        return output
