"""The default network: an inexpensive form of the attention of SE3Set.

Kept from the published network: fragments as node-wise hyperedges, equivariant attention
of a hyperedge over its members (V2E) and of an atom over its hyperedges (E2V), both under the
smooth weights. Changed: features up to l = 2 in Cartesian form, attention by gates
instead of a softmax (un-normalised, so that a member of weight zero changes nothing), and body
order from channel-wise products instead of wide feed-forward layers on every hyperedge.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from se3set_ase.nn.graph import Graph, Weights
from se3set_ase.nn.light.cartesian import (
    PRODUCT_PATHS,
    Direction,
    FeatureLinear,
    Features,
    saturate,
    square,
)
from se3set_ase.nn.light.config import LightConfig
from se3set_ase.nn.light.incidence import Incidence
from se3set_ase.nn.light.kernels import square_by_hand
from se3set_ase.nn.light.layers import PRODUCT_STD, HyperedgeToVertex, VertexToHyperedge
from se3set_ase.nn.light.options import block_options
from se3set_ase.nn.radial import BesselBasis
from se3set_ase.nn.scatter import Backend


class Block(nn.Module):
    """One block: V2E, E2V, products of messages, update, readout."""

    def __init__(self, config: LightConfig, n_species: int, first: bool, backend: Backend):
        super().__init__()
        channels = config.channels
        self.first = first
        self.by_hand = backend == "by_hand"
        self.saturation = config.saturation
        self.gather = VertexToHyperedge(config, first, backend)
        self.scatter = HyperedgeToVertex(config, backend)
        self.mix = FeatureLinear(channels)
        # Products have weights per element of the atom, as in MACE (arXiv:2206.07697).
        self.second = nn.Parameter(torch.randn(n_species, PRODUCT_PATHS, channels) * PRODUCT_STD)
        self.update = nn.ModuleList(FeatureLinear(channels, gain=0.5) for _ in range(2))
        self.options = nn.ModuleDict(block_options(config))
        self.dense = nn.Sequential(
            nn.Linear(channels, channels), nn.SiLU(), nn.Linear(channels, channels)
        )
        self.readout = nn.Sequential(
            nn.Linear(channels, config.readout_hidden),
            nn.SiLU(),
            nn.Linear(config.readout_hidden, 1, bias=False),  # it would cancel, see SE3Set
        )

    def forward(self, own: Features, incidence: Incidence) -> tuple[Features, Tensor]:
        """New features of the atoms and their part of the energy (n,)."""
        hyperedges = self.gather(own, incidence)
        gathered = self.scatter(own.scalar, hyperedges, incidence)
        message = saturate(self.mix(gathered), self.saturation)
        multiply = square_by_hand if self.by_hand else square
        squared = multiply(message, self.second[incidence.species])
        change = self.update[0](message).plus(self.update[1](squared))
        if "fusion" in self.options:
            change = change.plus(self.options["fusion"](message, squared))
        if "relaxed" in self.options:
            change = change.plus(self.options["relaxed"](message))
        if self.first:
            features = change._replace(scalar=own.scalar + change.scalar)
        else:
            features = own.plus(change)
        if "invariant_gradient" in self.options:
            features = features.plus(self.options["invariant_gradient"](features))
        scalar = features.scalar + self.dense(features.scalar)
        return features._replace(scalar=scalar), self.readout(scalar).squeeze(-1)


class LightNetwork(nn.Module):
    """Per-atom outputs of a weighted hypergraph.

    Parameters
    ----------
    config : shape of the network.
    n_species : number of elements.
    cutoff : Angstrom, where the weight of an edge becomes zero.
    backend : backend of sums, see :func:`se3set_ase.nn.scatter.scatter_sum`. ``"by_hand"`` uses the
        gradients of :mod:`se3set_ase.nn.light.kernels` and cannot be traced.
    """

    def __init__(
        self, config: LightConfig, n_species: int, cutoff: float, *, backend: Backend = "native"
    ):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(n_species, config.channels)
        self.cutoff = cutoff
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
        return self.described(species, graph, weights)[0]

    def zero_output(self) -> None:
        """Make all outputs zero, and keep the features."""
        for block in self.modules():
            if isinstance(block, Block):
                *_, last = block.readout.parameters()
                nn.init.zeros_(last)

    def described(
        self, species: Tensor, graph: Graph, weights: Weights
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs (N',), final scalars of the atoms (N', c), and functions of the edges (E, b)."""
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
            features, energy = block(features, incidence)
            output = output + energy
        return output, features.scalar, basis
