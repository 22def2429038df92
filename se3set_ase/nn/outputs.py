"""Everything that a pass of a model gives: energies, forces, charges and smooth weights."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from se3set_ase.nn.graph import Graph, Weights
from se3set_ase.nn.model import OfAtoms, energy_and_forces


class Outputs(NamedTuple):
    """Energies, forces and smooth weights of M molecules with N atoms in total."""

    energy: Tensor
    """(M,) eV."""
    forces: Tensor
    """(N, 3) eV/Angstrom."""
    energies: Tensor
    """(N,) eV, energies of the atoms."""
    charges: Tensor
    """(N,) e, zero if the model has no charges."""
    bond: Tensor
    """(A,); this and the following as in :class:`se3set_ase.nn.graph.Weights`."""
    fragment: Tensor
    hyperedge: Tensor
    reach: Tensor


#: The items that have a row in each field of :class:`Outputs`, as in
#: :class:`se3set_ase.hypergraph.structure.Counts`.
ROWS = {
    "energy": "molecules",
    "forces": "atoms",
    "energies": "atoms",
    "charges": "atoms",
    "bond": "bonds",
    "fragment": "fragments",
    "hyperedge": "hyperedges",
    "reach": "hyperedges",
}


class Weighted(Protocol):
    """What :func:`outputs` needs of a :class:`SE3Set`."""

    def weigh(self, positions: Tensor, graph: Graph) -> Weights: ...

    def energies(self, positions: Tensor, graph: Graph, weights: Weights) -> OfAtoms: ...


def outputs(model: Weighted, positions: Tensor, graph: Graph) -> Outputs:
    """Energies, forces and smooth weights, in one pass."""
    seen: list[Tensor] = []

    def energies(positions: Tensor, graph: Graph) -> Tensor:
        w = model.weigh(positions, graph)
        seen.extend(t.detach() for t in (w.bond, w.fragment, w.hyperedge, w.reach))
        found = model.energies(positions, graph, w)
        charge = torch.zeros_like(found.energy) if found.charge is None else found.charge
        seen.insert(0, charge.detach())
        return found.energy

    return Outputs(*energy_and_forces(energies, positions, graph), *seen)
