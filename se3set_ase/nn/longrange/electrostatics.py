"""Electrostatic energy of Gaussian charges, isolated or in a periodic cell."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from se3set_ase.nn.radial import COULOMB
from se3set_ase.nn.scatter import scatter_sum

#: Mesh of the particle-mesh Ewald sum, in units of the width of a charge, and nodes of its
#: interpolation: forces change by less than 2e-6 eV/Angstrom when all atoms move over the mesh,
#: energies by 5e-8 eV per atom, and third differences are as smooth as without a mesh.
MESH, NODES = 0.4, 7


def coulomb(charge: Tensor, pair: Tensor, distance: Tensor, weight: Tensor, width: float) -> Tensor:
    """Energy of each atom (N,), eV: half of ``q_i q_j erf(r / (2 width)) / r`` of its pairs.

    Gaussian charge densities of standard deviation ``width``, without their own energy.

    Parameters
    ----------
    charge : (N,) e.
    pair : (P, 2) atoms. distance : (P,) Angstrom. weight : (P,) 0 for padding.
    width : Angstrom.
    """
    i, j = pair.unbind(1)
    damped = torch.erf(distance / (2.0 * width)) / distance
    half = 0.5 * COULOMB * weight * charge[i] * charge[j] * damped
    return scatter_sum(torch.cat([half, half]), torch.cat([i, j]), charge.shape[0])  # p -> i, j


def coulomb_in_cell(charge: Tensor, positions: Tensor, cell: Tensor, width: float) -> Tensor:
    """:func:`coulomb` in a cell with periodic images in all directions.

    An interaction of Gaussian charges is the smooth part of an Ewald sum, so that there is no sum
    over pairs. It is evaluated by torch-pme (Loche et al., J. Chem. Phys. 162, 142501 (2025)). The
    total charge has to be zero.

    Parameters
    ----------
    charge : (N,) e. positions : (N, 3) Angstrom. cell : (3, 3) Angstrom, lattice vectors as rows.
    width : Angstrom.
    """
    from torchpme import PMECalculator
    from torchpme.potentials import CoulombPotential

    potential = CoulombPotential(smearing=math.sqrt(2.0) * width)
    mesh = PMECalculator(potential, mesh_spacing=MESH * width, interpolation_nodes=NODES)
    mesh = mesh.to(device=positions.device, dtype=positions.dtype)
    none = torch.zeros((0, 2), dtype=torch.int64, device=positions.device)
    found = mesh(charge[:, None], cell, positions, none, positions.new_zeros(0))[:, 0]
    return COULOMB * charge * found
