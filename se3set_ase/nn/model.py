"""The potential: atomic energies, a network and the nuclear repulsion.

    E = sum_i [ E0(z_i) + shift(z_i) c_i + scale (network_i - network of the isolated atom)
                + 1/2 sum_j repulsion_ij ] + energies of pairs at any distance

The last are dispersion and electrostatics, of models that have them.

``c_i`` is a smooth "has a neighbour", 1 for every bonded atom and 0 for an isolated one, so that
an isolated atom has exactly its atomic energy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

import torch
from torch import Tensor, nn

from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.hypergraph.radii import COVALENT_RADII
from se3set_ase.nn.architecture import (
    architecture_of,
    network_class,
    network_config,
    network_values,
)
from se3set_ase.nn.exact import AtomicTable
from se3set_ase.nn.graph import Graph, Weights, weigh
from se3set_ase.nn.light.config import LightConfig
from se3set_ase.nn.longrange.config import LongRangeConfig
from se3set_ase.nn.longrange.terms import LongRange
from se3set_ase.nn.radial import Repulsion
from se3set_ase.nn.scatter import Backend, check_backend, scatter_sum
from se3set_ase.nn.smooth import any_of, switch

if TYPE_CHECKING:
    from se3set_ase.nn.architecture import NetworkConfig


class SE3Set(nn.Module):
    """A potential for molecules of the given elements.

    Parameters
    ----------
    elements : atomic numbers, ascending.
    hypergraph : settings of the hypergraph.
    network : settings of the network.
    atomic_energies : eV, energy of each isolated element at the model's level of theory.
    shifts : eV, energy of every bonded atom of an element.
    scale : eV, unit of the network's output.
    long_range : energies of pairs at any distance; none by default.
    backend : backend of sums over members, see :func:`se3set_ase.nn.scatter.scatter_sum`. It is
        not part of the model: all backends give the same energies.

    Raises
    ------
    ValueError : inconsistent settings, or an unknown backend.
    ImportError : the backend is not installed.
    """

    def __init__(
        self,
        *,
        elements: Sequence[int],
        hypergraph: HypergraphConfig,
        network: NetworkConfig,
        atomic_energies: Sequence[float],
        shifts: Sequence[float] | None = None,
        scale: float = 1.0,
        long_range: LongRangeConfig | None = None,
        backend: Backend = "native",
    ):
        super().__init__()
        check_backend(backend)
        self.backend = backend
        self.elements = tuple(int(z) for z in elements)
        if list(self.elements) != sorted(set(self.elements)):
            raise ValueError(f"expected ascending distinct elements, got {self.elements}")
        self.hypergraph = hypergraph
        self.network_config = network
        self.atomic_energies = tuple(float(e) for e in atomic_energies)
        self.shifts = tuple(float(s) for s in (shifts or [0.0] * len(self.elements)))
        self.scale = float(scale)
        for name, values in (("atomic_energies", self.atomic_energies), ("shifts", self.shifts)):
            if len(values) != len(self.elements):
                raise ValueError(
                    f"expected one of {name} per element ({len(self.elements)}), got {len(values)}"
                )
        self.species_of = {z: index for index, z in enumerate(self.elements)}
        self.architecture = architecture_of(network)
        self.network = network_class(self.architecture)(
            network, len(self.elements), hypergraph.cutoff, backend=backend
        )
        # Every pair within reach is an edge; further pairs only if the fragment is in reach.
        radii = COVALENT_RADII[list(self.elements)].tolist()
        self.repulsion = Repulsion(self.elements, radii, cutoff=hypergraph.reach)
        self.reference = AtomicTable(
            torch.tensor([self.atomic_energies, self.shifts], dtype=torch.float64)
        )
        self.long_range = None
        if long_range is not None and long_range.needs_pairs:
            self.long_range = self._long_range(long_range, backend)
        self.float()  # for any default dtype of the process

    def _long_range(self, config: LongRangeConfig, backend: Backend) -> LongRange:
        network, shape = self.network_config, (0, 0)
        if isinstance(network, LightConfig):
            shape = network.channels, network.radial_functions
        elif config.charges:
            raise ValueError(f"expected the light network for charges, got {self.architecture!r}")
        return LongRange(config, self.elements, *shape, backend=backend)

    @property
    def has_charges(self) -> bool:
        """Whether the model predicts charges of the atoms."""
        return self.long_range is not None and self.long_range.charges is not None

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the network's weights."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Device of the network's weights."""
        return next(self.parameters()).device

    def set_shifts(self, shifts: Sequence[float]) -> None:
        """Replace the energy of every bonded atom of each element, eV."""
        self.shifts = tuple(float(s) for s in shifts)
        with torch.no_grad():
            self.reference.values[1] = torch.tensor(self.shifts, dtype=torch.float64)

    def to_config(self) -> dict[str, Any]:
        """Everything except the weights, as plain values for JSON."""
        return {
            "elements": list(self.elements),
            "hypergraph": self.hypergraph.to_dict(),
            "network": network_values(self.network_config),
            "atomic_energies": list(self.atomic_energies),
            "shifts": list(self.shifts),
            "scale": self.scale,
            **({"long_range": asdict(self.long_range.config)} if self.long_range else {}),
        }

    @classmethod
    def from_config(cls, values: Mapping[str, Any], *, backend: Backend = "native") -> SE3Set:
        """A model with random weights from :meth:`to_config`; ValueError names unknown keys."""
        options = dict(values)
        options["hypergraph"] = HypergraphConfig.from_dict(options["hypergraph"])
        options["network"] = network_config(options["network"])
        if options.get("long_range") is not None:
            options["long_range"] = LongRangeConfig.from_dict(options["long_range"])
        return cls(**options, backend=backend)

    def with_backend(self, backend: Backend) -> SE3Set:
        """The same model with another backend and shared weights."""
        with torch.random.fork_rng(devices=[]):  # the first, random weights are replaced
            model = type(self).from_config(self.to_config(), backend=backend)
        model.to(device=self.device, dtype=self.dtype).train(self.training)
        model.load_state_dict(self.state_dict(), assign=True)
        for new, own in zip(model.parameters(), self.parameters(), strict=True):
            new.requires_grad_(own.requires_grad)
        return model

    @overload
    def forward(self, positions: Tensor, graph: Graph) -> Tensor: ...
    @overload
    def forward(
        self, positions: Tensor, graph: Graph, *, with_charges: Literal[True]
    ) -> OfAtoms: ...
    def forward(
        self, positions: Tensor, graph: Graph, *, with_charges: bool = False
    ) -> Tensor | OfAtoms:
        """Energy of every atom, eV, on request with its charge.

        Parameters
        ----------
        positions : (N, 3) Angstrom, float64 or the dtype of the model.
        graph : hypergraphs in the dtype of the model.

        Returns
        -------
        (N,) float64, because sums of total energies need double precision.
        """
        found = self.energies(positions, graph, self.weigh(positions, graph))
        return found if with_charges else found.energy

    def weigh(self, positions: Tensor, graph: Graph) -> Weights:
        """:func:`se3set_ase.nn.graph.weigh` with the settings of this model."""
        return weigh(positions, graph, self.hypergraph, backend=self.backend)

    def energies(
        self,
        positions: Tensor,
        graph: Graph,
        weights: Weights,
        cells: Sequence[Tensor | None] | None = None,
    ) -> OfAtoms:
        """Energies and charges of the atoms for given weights.

        ``cells`` : (3, 3) Angstrom, of each molecule, None for isolated ones; see
        :class:`se3set_ase.nn.cells.InCells`.
        """
        n_atoms = graph.species.shape[0]
        n_molecules, n_pairs = graph.n_atoms.shape[0], graph.pair.shape[0]
        if self.long_range is not None and n_pairs == 0 and n_atoms > n_molecules:
            raise ValueError("expected a graph with pairs for a model with energies of pairs")
        inputs = with_isolated_atoms(graph, weights, len(self.elements))
        features: Sequence[Tensor] = ()
        if self.has_charges:
            output, *features = self.network.described(*inputs)
        else:
            output = self.network(*inputs)
        zero = output[n_atoms:][graph.species]  # the network for an isolated atom of each element

        owner = graph.hyper_atom[graph.edge_hyper]  # e -> i
        member = graph.edge_atom  # e -> j
        # The weights of the fragments of an atom add up to 1, hence those of the edges of a pair.
        pair = weights.fragment[graph.hyper_fragment[graph.edge_hyper]]
        repulsion = (
            0.5
            * pair
            * self.repulsion(weights.distance, graph.species[owner], graph.species[member])
        )
        repelled = scatter_sum(repulsion, owner, n_atoms, self.backend)  # e -> i
        learned = self.scale * (output[:n_atoms] - zero) + repelled
        atomic, shift = self.reference.values[:, graph.species]
        bonded = self.bonded(graph, weights)
        energy = atomic + shift * bonded.double() + learned.double()
        charge = None
        if self.long_range is not None:
            if self.long_range.charges is not None:
                scalar, basis = features
                charge, charging = self.long_range.charges(
                    scalar[:n_atoms], basis, bonded, graph, weights
                )
                energy = energy + charging
            energy = energy + self.long_range.energies(positions, graph, charge, cells)
        return OfAtoms(energy * graph.atom_weight.double(), charge)

    def bonded(self, graph: Graph, weights: Weights) -> Tensor:
        """c_i of every atom (N,): 1 with a neighbour, 0 without, C2 in between."""
        owner = graph.hyper_atom[graph.edge_hyper]  # e -> i
        reach = self.hypergraph.reach
        pair = weights.fragment[graph.hyper_fragment[graph.edge_hyper]]
        near = pair * switch(weights.distance, 0.5 * reach, reach)
        return any_of(scatter_sum(near, owner, graph.species.shape[0], self.backend))  # e -> i


class OfAtoms(NamedTuple):
    """Predictions for N atoms."""

    energy: Tensor
    """(N,) eV."""
    charge: Tensor | None
    """(N,) e; None if the model has no charges."""


def with_isolated_atoms(
    graph: Graph, weights: Weights, n_species: int
) -> tuple[Tensor, Graph, Weights]:
    """Add an isolated atom of every element, each in its own hyperedge.

    Returns
    -------
    species (N + n_species,), and graph and weights with the owners and weights of the new
    hyperedges at the end. Networks use only these and the edges of a hyperedge.
    """
    n_atoms = graph.species.shape[0]
    each = torch.arange(n_species, device=graph.species.device)
    one = weights.hyperedge.new_ones(n_species)
    graph = graph._replace(hyper_atom=torch.cat([graph.hyper_atom, n_atoms + each]))
    weights = weights._replace(hyperedge=torch.cat([weights.hyperedge, one]))
    return torch.cat([graph.species, each]), graph, weights


def energy_and_forces(
    model: Callable[[Tensor, Graph], Tensor],
    positions: Tensor,
    graph: Graph,
    *,
    create_graph: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Energies of the molecules and forces, in one pass.

    Parameters
    ----------
    model : a :class:`SE3Set`, or a function that calls one.
    positions : (N, 3) Angstrom.
    create_graph : keep the graph for derivatives of the forces.

    Returns
    -------
    energy (M,) eV, forces (N, 3) eV/Angstrom, energies of the atoms (N,) eV; float64.
    """
    positions = positions.detach().requires_grad_(True)
    energies = model(positions, graph)
    energy = scatter_sum(energies, graph.molecule, graph.n_atoms.shape[0])  # i -> m
    (gradient,) = torch.autograd.grad(
        energies.sum(), positions, create_graph=create_graph, materialize_grads=True
    )
    if not create_graph:
        energy, energies = energy.detach(), energies.detach()
    return energy, -gradient, energies
