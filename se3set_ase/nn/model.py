"""The potential: atomic energies, a network and the nuclear repulsion.

    E = sum_i [ E0(z_i) + shift(z_i) c_i + scale (network_i - network of the isolated atom)
                + 1/2 sum_j repulsion_ij ]

``c_i`` is a smooth "has a neighbour", 1 for every bonded atom and 0 for an isolated one, so that
an isolated atom has exactly its atomic energy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.hypergraph.radii import COVALENT_RADII
from se3set_ase.nn.graph import Graph, Weights, any_of, switch, weigh
from se3set_ase.nn.light.config import LightConfig
from se3set_ase.nn.light.network import LightNetwork
from se3set_ase.nn.radial import Repulsion
from se3set_ase.nn.scatter import Backend, check_backend, scatter_sum

if TYPE_CHECKING:
    from se3set_ase.nn.published.config import PublishedConfig

    NetworkConfig = LightConfig | PublishedConfig

#: Networks by name; a preset is a network with default settings.
ARCHITECTURES = ("light", "published")


def _classes(architecture: str) -> tuple[type, type]:
    """Classes of the configuration and of the network."""
    if architecture == "published":  # imports e3nn, which takes seconds
        from se3set_ase.nn.published.network import PublishedConfig, PublishedNetwork

        return PublishedConfig, PublishedNetwork
    return LightConfig, LightNetwork


def network_config(values: Mapping[str, Any]) -> NetworkConfig:
    """A network's configuration from plain values, ``architecture`` among them.

    Raises
    ------
    ValueError : unknown architecture or keys.
    """
    options = dict(values)
    architecture = options.pop("architecture", "light")
    if architecture not in ARCHITECTURES:
        raise ValueError(
            f"expected architecture to be one of {sorted(ARCHITECTURES)}, got {architecture!r}"
        )
    config_class = _classes(architecture)[0]
    unknown = set(options) - {f.name for f in fields(config_class)}
    if unknown:
        raise ValueError(
            f"expected settings of the {architecture} network, got unknown keys {sorted(unknown)}"
        )
    return config_class(**options)


def preset_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve ``preset`` (default: ``light``) into the values that :func:`network_config` takes.

    Raises
    ------
    ValueError : unknown preset.
    """
    changes = dict(values)
    name = changes.pop("preset", "light")
    if name not in ARCHITECTURES:
        raise ValueError(f"expected preset to be one of {sorted(ARCHITECTURES)}, got {name!r}")
    return {"architecture": name, **asdict(_classes(name)[0]()), **changes}


def architecture_of(config: NetworkConfig) -> str:
    """Name of the architecture that a configuration belongs to."""
    return "light" if isinstance(config, LightConfig) else "published"


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
        network_class = _classes(self.architecture)[1]
        self.network = network_class(
            network, len(self.elements), hypergraph.cutoff, backend=backend
        )
        # Every pair within reach is an edge; further pairs only if the fragment is in reach.
        radii = COVALENT_RADII[list(self.elements)].tolist()
        self.repulsion = Repulsion(self.elements, radii, cutoff=hypergraph.reach)
        self.reference = AtomicTable(
            torch.tensor([self.atomic_energies, self.shifts], dtype=torch.float64)
        )
        self.float()  # for any default dtype of the process

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
            "network": {"architecture": self.architecture, **asdict(self.network_config)},
            "atomic_energies": list(self.atomic_energies),
            "shifts": list(self.shifts),
            "scale": self.scale,
        }

    @classmethod
    def from_config(cls, values: Mapping[str, Any], *, backend: Backend = "native") -> SE3Set:
        """A model with random weights from :meth:`to_config`; ValueError names unknown keys."""
        options = dict(values)
        options["hypergraph"] = HypergraphConfig.from_dict(options["hypergraph"])
        options["network"] = network_config(options["network"])
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

    def forward(self, positions: Tensor, graph: Graph) -> Tensor:
        """Energy of every atom, eV.

        Parameters
        ----------
        positions : (N, 3) Angstrom, float64 or the dtype of the model.
        graph : hypergraphs in the dtype of the model.

        Returns
        -------
        (N,) float64, because sums of total energies need double precision.
        """
        return self.energies(graph, self.weigh(positions, graph))

    def weigh(self, positions: Tensor, graph: Graph) -> Weights:
        """:func:`se3set_ase.nn.graph.weigh` with the settings of this model."""
        return weigh(positions, graph, self.hypergraph, backend=self.backend)

    def energies(self, graph: Graph, weights: Weights) -> Tensor:
        """:meth:`forward` for given weights."""
        n_atoms = graph.species.shape[0]
        output = self.network(*with_isolated_atoms(graph, weights, len(self.elements)))
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
        energy = atomic + shift * self.bonded(graph, weights).double() + learned.double()
        return energy * graph.atom_weight.double()

    def bonded(self, graph: Graph, weights: Weights) -> Tensor:
        """c_i of every atom (N,): 1 with a neighbour, 0 without, C2 in between."""
        owner = graph.hyper_atom[graph.edge_hyper]  # e -> i
        reach = self.hypergraph.reach
        pair = weights.fragment[graph.hyper_fragment[graph.edge_hyper]]
        near = pair * switch(weights.distance, 0.5 * reach, reach)
        return any_of(scatter_sum(near, owner, graph.species.shape[0], self.backend))  # e -> i


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


class AtomicTable(nn.Module):
    """Constants per element that stay float64 for any dtype of the model."""

    values: Tensor

    def __init__(self, values: Tensor):
        super().__init__()
        self.register_buffer("values", values.double(), persistent=False)

    def _apply(self, fn, recurse=True):  # type: ignore[no-untyped-def]
        exact = self.values
        super()._apply(fn, recurse)
        self.values = exact.to(self.values.device)
        return self


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


class Outputs(NamedTuple):
    """Energies, forces and smooth weights of M molecules with N atoms in total."""

    energy: Tensor
    """(M,) eV."""
    forces: Tensor
    """(N, 3) eV/Angstrom."""
    energies: Tensor
    """(N,) eV, energies of the atoms."""
    bond: Tensor
    """(A,); this and the following as in :class:`se3set_ase.nn.graph.Weights`."""
    fragment: Tensor
    hyperedge: Tensor
    reach: Tensor


#: The items that have a row in each field of :class:`Outputs`, as in
#: :data:`se3set_ase.nn.graph.COUNTS`.
ROWS = {
    "energy": "molecules",
    "forces": "atoms",
    "energies": "atoms",
    "bond": "bonds",
    "fragment": "fragments",
    "hyperedge": "hyperedges",
    "reach": "hyperedges",
}


class Weighted(Protocol):
    """What :func:`outputs` needs of a :class:`SE3Set`."""

    def weigh(self, positions: Tensor, graph: Graph) -> Weights: ...

    def energies(self, graph: Graph, weights: Weights) -> Tensor: ...


def outputs(model: Weighted, positions: Tensor, graph: Graph) -> Outputs:
    """Energies, forces and smooth weights, in one pass."""
    seen: list[Tensor] = []

    def energies(positions: Tensor, graph: Graph) -> Tensor:
        w = model.weigh(positions, graph)
        seen.extend(t.detach() for t in (w.bond, w.fragment, w.hyperedge, w.reach))
        return model.energies(graph, w)

    return Outputs(*energy_and_forces(energies, positions, graph), *seen)
