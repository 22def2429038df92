"""The network of the SE3Set paper, on the smooth hypergraph.

The published reference among the networks: wide features, and equivariant attention in both
directions between atoms and node-wise hyperedges. Differences from the paper serve
smoothness: every softmax has a sink and, like every sum, carries the smooth weights; the radial
networks end with the envelope; mean counts are constants. Parameters are those of the paper
and the sinks.
"""

from __future__ import annotations

from e3nn.o3 import Irreps, SphericalHarmonics
from torch import Tensor, nn

from se3set_ase.nn.graph import Graph, Weights
from se3set_ase.nn.published.blocks import (
    AtomDegree,
    Block,
    ElementEmbedding,
    ExpNormalBasis,
    HyperedgeDegree,
    Incidence,
    State,
)
from se3set_ase.nn.published.config import PublishedConfig
from se3set_ase.nn.published.equivariant import EquivariantLayerNorm
from se3set_ase.nn.scatter import Backend

__all__ = ["PublishedConfig", "PublishedNetwork"]


class PublishedNetwork(nn.Module):
    """Per-atom outputs of a weighted hypergraph.

    Parameters
    ----------
    config : shape of the network.
    n_species : number of elements.
    cutoff : Angstrom, where the weight of an edge becomes zero.
    backend : backend of sums, see :func:`se3set_ase.nn.scatter.scatter_sum`. It is not part of the
        configuration, because results are equal.
    """

    def __init__(
        self, config: PublishedConfig, n_species: int, cutoff: float, *, backend: Backend = "native"
    ) -> None:
        super().__init__()
        self.config = config
        irreps = Irreps(config.irreps_node)
        irreps_sphere = Irreps.spherical_harmonics(config.lmax)
        self.sphere = SphericalHarmonics(irreps_sphere, normalize=False, normalization="component")
        self.basis = ExpNormalBasis(config.radial_functions, cutoff)
        self.embed_atoms = ElementEmbedding(n_species, irreps)
        self.embed_hyper = ElementEmbedding(n_species, irreps)
        self.degree_hyper = HyperedgeDegree(config, irreps_sphere, backend)
        self.degree_atoms = AtomDegree(config, backend)
        self.norm_hyper = EquivariantLayerNorm(irreps, epsilon=config.norm_epsilon)
        self.norm_atoms = EquivariantLayerNorm(irreps, epsilon=config.norm_epsilon)
        self.blocks = nn.ModuleList(
            Block(config, irreps_sphere, last=number == config.blocks - 1, backend=backend)
            for number in range(config.blocks)
        )
        width = Irreps(config.irreps_last).dim
        self.readout = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))

    def zero_output(self) -> None:
        """Make all outputs zero, and keep the features."""
        *_, weight, bias = self.readout.parameters()
        nn.init.zeros_(weight)
        nn.init.zeros_(bias)

    def forward(self, species: Tensor, graph: Graph, weights: Weights) -> Tensor:
        """Dimensionless output of every atom.

        Parameters
        ----------
        species : (N',) element of each atom. The first N are those of the graph, the others
            isolated atoms.
        graph : the hypergraph; only its owners and edges are used.
        weights : in the dtype of the network.

        Returns
        -------
        (N',) with the constant 1 / sqrt(mean_atoms), so that the sum over a molecule is of order 1.
        """
        # unit[e, xyz] = vector[e, xyz] / distance[e]
        unit = weights.vector / weights.distance[:, None]
        incidence = Incidence(
            edge_hyper=graph.edge_hyper,
            edge_atom=graph.edge_atom,
            hyper_atom=graph.hyper_atom,
            edge_weight=weights.edge,
            hyper_weight=weights.hyperedge,
            sphere=self.sphere(unit),
            basis=self.basis(weights.distance) * weights.edge[:, None],
        )
        # The initial features of a hyperedge are the element of its owner.
        hyper = self.embed_hyper(species[graph.hyper_atom]) + self.degree_hyper(incidence)
        normed_hyper = self.norm_hyper(hyper)
        atoms = self.embed_atoms(species)
        atoms = atoms + self.degree_atoms(normed_hyper, incidence, species.shape[0])
        state = State(atoms, hyper, self.norm_atoms(atoms), normed_hyper)
        for block in self.blocks:
            state = block(state, incidence)
        output: Tensor = self.readout(state.normed_atoms).squeeze(-1)
        return output * self.config.mean_atoms**-0.5
