"""Attention, feed-forward layers and embeddings of the published network, in smooth form.

Sources: SE3Set (arXiv:2405.16511); AllSet (arXiv:2106.13264) for the two directions of the
attention; Equiformer (arXiv:2206.11990) for its layers. Every softmax and every sum carries the
smooth weights of its members; the number of members never enters.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn

from se3set_ase.nn.exact import ExactConstants
from se3set_ase.nn.published.config import PublishedConfig
from se3set_ase.nn.published.equivariant import (
    EquivariantLayerNorm,
    EquivariantLinear,
    FeatureProduct,
    Gate,
    SphericalProduct,
    join,
    split,
    uniform,
)
from se3set_ase.nn.published.softmax import smooth_softmax
from se3set_ase.nn.scatter import Backend, scatter_sum

LEAKY_SLOPE = 0.2


class Incidence(NamedTuple):
    """The weighted hypergraph as input of each block."""

    edge_hyper: Tensor
    """(E,) hyperedge h of each edge."""
    edge_atom: Tensor
    """(E,) member j of each edge."""
    hyper_atom: Tensor
    """(H,) owner i of each hyperedge."""
    edge_weight: Tensor
    """(E,) weight omega of each edge."""
    hyper_weight: Tensor
    """(H,) weight u of each hyperedge."""
    sphere: Tensor
    """(E, irreps of the spherical harmonics) of the edge's direction."""
    basis: Tensor
    """(E, radial functions) of the edge's length, envelope included."""


class ExpNormalBasis(ExactConstants):
    """``exp(-beta (exp(-alpha d) - mu_k)^2)`` with alpha = 5 / cutoff and fixed, evenly spaced mu.

    Unke and Meuwly, PhysNet, J. Chem. Theory Comput. 15, 3678 (2019).
    """

    centre: Tensor

    def __init__(self, n_functions: int, cutoff: float) -> None:
        super().__init__()
        self.alpha = 5.0 / cutoff
        # The smallest centre is e^-5, the value of exp(-alpha d) at the cutoff.
        first = math.exp(-5.0)
        self.beta = (2.0 / n_functions * (1.0 - first)) ** -2
        centre = torch.linspace(first, 1.0, n_functions, dtype=torch.float64)
        self.register_constant("centre", centre)

    def forward(self, distance: Tensor) -> Tensor:
        """(E,) Angstrom -> (E, n_functions)."""
        decay = (-self.alpha * distance).exp()
        return (-self.beta * (decay[:, None] - self.centre).square()).exp()


class RadialNetwork(nn.Module):
    """Weights of a tensor product from the length of the edge.

    The envelope multiplies the result, because a layer norm would undo an envelope on the input.
    """

    def __init__(self, config: PublishedConfig, n_out: int) -> None:
        super().__init__()
        hidden = config.radial_hidden
        self.layers = nn.Sequential(
            nn.Linear(config.radial_functions, hidden),
            nn.LayerNorm(hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.LayerNorm(hidden),
            nn.SiLU(),
            nn.Linear(hidden, n_out, bias=False),
        )
        self.offset = uniform(n_out, fan_in=1)

    def forward(self, incidence: Incidence) -> Tensor:
        """(E, n_out), zero for edges of weight zero."""
        result: Tensor = self.layers(incidence.basis) + self.offset
        return result * incidence.edge_weight[:, None]


class ElementEmbedding(nn.Module):
    """Scalars of each element (a linear layer on the one-hot element); zero for l > 0."""

    def __init__(self, n_species: int, irreps: Irreps) -> None:
        super().__init__()
        self.n_scalars, self.n_rest = irreps.count("0e"), irreps.dim - irreps.count("0e")
        self.weight = nn.Parameter(torch.randn(n_species, self.n_scalars))
        self.bias = nn.Parameter(torch.zeros(self.n_scalars))

    def forward(self, species: Tensor) -> Tensor:
        """(n,) -> (n, irreps)."""
        scalars = self.weight[species] + self.bias
        return torch.cat([scalars, scalars.new_zeros(species.shape[0], self.n_rest)], dim=-1)


class HyperedgeDegree(nn.Module):
    """Shape of a hyperedge: the weighted sum of spherical harmonics of its members."""

    def __init__(self, config: PublishedConfig, irreps_sphere: Irreps, backend: Backend) -> None:
        super().__init__()
        irreps = Irreps(config.irreps_node)
        self.backend = backend
        self.expand = EquivariantLinear(Irreps("0e"), irreps, bias=True)
        self.product = SphericalProduct(irreps, irreps_sphere, internal_weight=False)
        self.radial = RadialNetwork(config, self.product.n_weights)
        self.project = EquivariantLinear(self.product.irreps_out, irreps, bias=True)
        self.norm = config.mean_members**-0.5

    def forward(self, incidence: Incidence) -> Tensor:
        """(H, irreps)."""
        ones = incidence.edge_weight.new_ones(incidence.edge_atom.shape[0], 1)
        x = self.product(self.expand(ones), incidence.sphere, self.radial(incidence))
        x = self.project(x) * (self.norm * incidence.edge_weight)[:, None]
        size = incidence.hyper_atom.shape[0]
        return scatter_sum(x, incidence.edge_hyper, size, self.backend)  # e -> h


class AtomDegree(nn.Module):
    """The weighted sum of the features of the hyperedges of an atom."""

    def __init__(self, config: PublishedConfig, backend: Backend) -> None:
        super().__init__()
        irreps = Irreps(config.irreps_node)
        self.backend = backend
        self.expand = EquivariantLinear(Irreps("0e"), irreps, bias=True)
        self.product = FeatureProduct(irreps, irreps)
        self.project = EquivariantLinear(self.product.irreps_out, irreps, bias=True)
        self.norm = config.mean_hyperedges**-0.5

    def forward(self, hyper: Tensor, incidence: Incidence, n_atoms: int) -> Tensor:
        """Normalised hyperedges (H, irreps) -> atoms (n_atoms, irreps)."""
        ones = hyper.new_ones(hyper.shape[0], 1)
        x = self.project(self.product(self.expand(ones), hyper))
        x = x * (self.norm * incidence.hyper_weight)[:, None]
        return scatter_sum(x, incidence.hyper_atom, n_atoms, self.backend)  # h -> i


class Attention(nn.Module):
    """Smooth-softmax average of messages, shared by both directions.

    Logits come from scalars of the message, and values from a gate and a second tensor product,
    which the caller supplies.
    """

    def __init__(self, config: PublishedConfig, irreps_message: Irreps, backend: Backend) -> None:
        super().__init__()
        self.irreps = Irreps(config.irreps_node)
        self.heads, self.backend = config.heads, backend
        n_scalars = self.heads * config.attention_channels
        self.to_scalars = EquivariantLinear(irreps_message, Irreps([(n_scalars, "0e")]), bias=True)
        self.direction = uniform(
            self.heads, config.attention_channels, fan_in=config.attention_channels
        )
        self.sink = nn.Parameter(torch.zeros(self.heads))
        self.gate = Gate(self.irreps)
        self.to_gate = EquivariantLinear(irreps_message, self.gate.irreps_in, bias=True)
        self.to_value = EquivariantLinear(irreps_message, self.irreps, bias=True)
        self.project = EquivariantLinear(self.irreps, self.irreps, bias=True)

    def forward(
        self,
        message: Tensor,
        second_product: Callable[[Tensor], Tensor],
        weight: Tensor,
        index: Tensor,
        size: int,
    ) -> Tensor:
        """Messages (K, irreps_message), weights (K,), groups (K,) -> (size, irreps)."""
        scalars = self.to_scalars(message).unflatten(1, self.direction.shape)
        logits = (smooth_leaky_relu(scalars) * self.direction).sum(-1)  # k, head
        attention = smooth_softmax(logits, weight, index, size, self.sink, self.backend)
        value = self.to_value(second_product(self.gate(self.to_gate(message))))
        parts = [
            # k, head, channel of the head, component
            part.unflatten(1, (self.heads, -1)) * attention[:, :, None, None]
            for part in split(value, self.irreps)
        ]
        return self.project(scatter_sum(join(parts), index, size, self.backend))


class VertexToHyperedge(nn.Module):
    """V2E: each hyperedge attends to its members."""

    def __init__(self, config: PublishedConfig, irreps_sphere: Irreps, backend: Backend) -> None:
        super().__init__()
        irreps = Irreps(config.irreps_node)
        self.from_hyper = EquivariantLinear(irreps, irreps, bias=False)
        self.from_atom = EquivariantLinear(irreps, irreps, bias=False)
        self.product = SphericalProduct(irreps, irreps_sphere, internal_weight=False)
        self.radial = RadialNetwork(config, self.product.n_weights)
        self.second_product = SphericalProduct(irreps, irreps_sphere, internal_weight=True)
        self.attention = Attention(config, self.product.irreps_out, backend)

    def forward(self, hyper: Tensor, atoms: Tensor, incidence: Incidence) -> Tensor:
        """Normalised hyperedges (H, irreps) and atoms (N, irreps) -> change of the hyperedges."""
        h, j = incidence.edge_hyper, incidence.edge_atom
        message = self.from_hyper(hyper)[h] + self.from_atom(atoms)[j]
        message = self.product(message, incidence.sphere, self.radial(incidence))
        return self.attention(
            message,
            lambda x: self.second_product(x, incidence.sphere),
            incidence.edge_weight,
            h,
            hyper.shape[0],
        )


class HyperedgeToVertex(nn.Module):
    """E2V: each atom attends to its hyperedges; distances enter only through their weights."""

    def __init__(self, config: PublishedConfig, backend: Backend) -> None:
        super().__init__()
        irreps = Irreps(config.irreps_node)
        self.from_atom = EquivariantLinear(irreps, irreps, bias=False)
        self.product = FeatureProduct(irreps, irreps)
        self.second_product = FeatureProduct(irreps, irreps)
        self.attention = Attention(config, self.product.irreps_out, backend)

    def forward(self, atoms: Tensor, hyper: Tensor, incidence: Incidence) -> Tensor:
        """Normalised atoms (N, irreps) and hyperedges (H, irreps) -> change of the atoms."""
        i = incidence.hyper_atom
        return self.attention(
            self.product(self.from_atom(atoms)[i], hyper),
            lambda x: self.second_product(x, hyper),
            incidence.hyper_weight,
            i,
            atoms.shape[0],
        )


class FeedForward(nn.Module):
    """Linear, gate, linear."""

    def __init__(self, config: PublishedConfig, irreps_out: Irreps) -> None:
        super().__init__()
        self.gate = Gate(Irreps(config.irreps_feedforward))
        self.first = EquivariantLinear(Irreps(config.irreps_node), self.gate.irreps_in, bias=True)
        self.second = EquivariantLinear(self.gate.irreps_out, irreps_out, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """(n, irreps_node) -> (n, irreps_out)."""
        result: Tensor = self.second(self.gate(self.first(x)))
        return result


class State(NamedTuple):
    """Features of atoms (N, irreps) and hyperedges (H, irreps), before and after a layer norm."""

    atoms: Tensor
    hyper: Tensor
    normed_atoms: Tensor
    normed_hyper: Tensor


class Block(nn.Module):
    """V2E, feed-forward of the hyperedges, E2V, feed-forward of the atoms; pre-norm.

    Residual connections use features before the norm. In the last block the atoms become scalars,
    with a linear shortcut.
    """

    def __init__(
        self, config: PublishedConfig, irreps_sphere: Irreps, last: bool, backend: Backend
    ) -> None:
        super().__init__()
        irreps = Irreps(config.irreps_node)
        irreps_out = Irreps(config.irreps_last) if last else irreps
        epsilon = config.norm_epsilon
        self.to_hyper = VertexToHyperedge(config, irreps_sphere, backend)
        self.norm_hyper = EquivariantLayerNorm(irreps, epsilon=epsilon)
        self.feed_hyper = FeedForward(config, irreps)
        self.norm_hyper_out = EquivariantLayerNorm(irreps, epsilon=epsilon)
        # Same input as the last norm of the previous block, but separate weights: the parameter
        # count of the paper has five norms in each block.
        self.norm_atoms_in = EquivariantLayerNorm(irreps, epsilon=epsilon)
        self.to_atoms = HyperedgeToVertex(config, backend)
        self.norm_atoms = EquivariantLayerNorm(irreps, epsilon=epsilon)
        self.feed_atoms = FeedForward(config, irreps_out)
        self.shortcut = EquivariantLinear(irreps, irreps_out, bias=True) if last else None
        self.norm_atoms_out = EquivariantLayerNorm(irreps_out, epsilon=epsilon)

    def forward(self, state: State, incidence: Incidence) -> State:
        """The state after the block."""
        atoms, hyper = state.atoms, state.hyper
        hyper = hyper + self.to_hyper(state.normed_hyper, state.normed_atoms, incidence)
        hyper = hyper + self.feed_hyper(self.norm_hyper(hyper))
        normed_hyper = self.norm_hyper_out(hyper)
        atoms = atoms + self.to_atoms(self.norm_atoms_in(atoms), normed_hyper, incidence)
        change = self.feed_atoms(self.norm_atoms(atoms))
        atoms = (atoms if self.shortcut is None else self.shortcut(atoms)) + change
        return State(atoms, hyper, self.norm_atoms_out(atoms), normed_hyper)


def smooth_leaky_relu(x: Tensor) -> Tensor:
    """Smooth leaky ReLU of slope 0.2, as in Equiformer."""
    even, odd = 0.5 * (1.0 - LEAKY_SLOPE), 0.5 * (1.0 + LEAKY_SLOPE)
    return odd * x + even * x * torch.tanh(0.5 * x)
