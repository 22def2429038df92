"""Electrostatic energy of Gaussian charges, isolated or in a periodic cell."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from se3set_ase.nn.radial import COULOMB
from se3set_ase.nn.scatter import scatter_sum

#: Up to this number of atoms in a cell, waves are summed one by one, which is exact; for more
#: atoms a mesh is faster.
FEW = 200
#: Longest wave vector, in units of 1 / width: shorter waves contribute less than rounding.
LONGEST = 6.0
#: Mesh, in units of the width of a charge, and nodes of its interpolation. Forces change by less
#: than 2e-6 eV/Angstrom when all atoms move over the mesh, energies by 5e-8 eV per atom; third
#: differences are as smooth as without a mesh.
MESH, NODES = 0.5, 7


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
    over pairs. The total charge has to be zero.

    Parameters
    ----------
    charge : (N,) e. positions : (N, 3) Angstrom. cell : (3, 3) Angstrom, lattice vectors as rows.
    width : Angstrom.
    """
    by = by_waves if charge.shape[0] <= FEW else by_mesh
    return by(charge, positions, cell, width)


def by_waves(charge: Tensor, positions: Tensor, cell: Tensor, width: float) -> Tensor:
    """Energy of each atom (N,), eV; parameters as of :func:`coulomb_in_cell`.

    E = 1/(2 V) sum_k 4 pi/k^2 exp(-k^2 width^2) |sum_i q_i exp(i k r_i)|^2 - sum_i q_i^2 / (2 width
    sqrt(pi)), D. Frenkel, B. Smit, Understanding Molecular Simulation (2002), section 12.1.
    """
    reciprocal = 2.0 * math.pi * torch.linalg.inv(cell)  # columns are vectors
    with torch.no_grad():
        most = (LONGEST / width * cell.norm(dim=1) / (2.0 * math.pi)).floor().long().tolist()
        ranges = [torch.arange(-m, m + 1, dtype=cell.dtype, device=cell.device) for m in most]
        n = torch.cartesian_prod(*ranges)  # w, xyz
        n = n[n.shape[0] // 2 + 1 :]  # one of k and -k, without zero
        n = n[(n @ reciprocal.T).norm(dim=1) < LONGEST / width]
    k = n @ reciprocal.T  # w, x
    square = (k * k).sum(1)
    phase = positions @ k.T  # i, w
    cosine, sine = phase.cos(), phase.sin()
    factor = 4.0 * math.pi / torch.linalg.det(cell).abs() * torch.exp(-square * width**2) / square
    total = (factor * (charge @ cosine), factor * (charge @ sine))  # i, iw -> w
    potential = cosine @ total[0] + sine @ total[1] - charge / (2.0 * width * math.sqrt(math.pi))
    return COULOMB * charge * potential


def by_mesh(charge: Tensor, positions: Tensor, cell: Tensor, width: float) -> Tensor:
    """:func:`by_waves` on a mesh by torch-pme (Loche et al., J. Chem. Phys. 162, 142501 (2025))."""
    from torchpme import PMECalculator
    from torchpme.potentials import CoulombPotential

    potential = CoulombPotential(smearing=math.sqrt(2.0) * width)
    mesh = PMECalculator(potential, mesh_spacing=MESH * width, interpolation_nodes=NODES)
    mesh = mesh.to(device=positions.device, dtype=positions.dtype)
    none = torch.zeros((0, 2), dtype=torch.int64, device=positions.device)
    found = mesh(charge[:, None], cell, positions, none, positions.new_zeros(0))[:, 0]
    return COULOMB * charge * found
