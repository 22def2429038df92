"""Derivatives of the dipole of a molecule with respect to the positions."""

from __future__ import annotations

import torch
from torch import Tensor

from se3set_ase.nn.graph import Graph
from se3set_ase.nn.model import SE3Set
from se3set_ase.nn.threads import threads_for


def dipole_derivatives(model: SE3Set, positions: Tensor, graph: Graph) -> Tensor:
    """Derivatives of the dipole of one molecule.

    Parameters
    ----------
    model : with charges. positions : (N, 3) Angstrom.
    graph : of this molecule alone.

    Returns
    -------
    (3N, 3) e, float64: rows as in :func:`se3set_ase.nn.hessian.hessian`, columns x y z of the
    dipole.
    """
    model = model.with_backend("native")
    with threads_for(len(graph.edge_atom)):
        positions = positions.detach().requires_grad_(True)
        charge = model(positions, graph, with_charges=True).charge
        assert charge is not None
        dipole = (charge[:, None] * positions).sum(0)  # i, x -> x
        rows = [
            torch.autograd.grad(component, positions, retain_graph=True)[0].flatten()
            for component in dipole
        ]
    return torch.stack(rows, dim=1)
