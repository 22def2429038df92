"""Hirshfeld charges of a converged PySCF calculation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

#: Electrons/Bohr^3. Grid points where the free atoms have a smaller density are left out.
NO_DENSITY = 1e-15
#: Grid points that are processed at a time.
BLOCK = 16384


def hirshfeld_charges(
    method: Any, density: np.ndarray, free_atoms: Sequence[np.ndarray]
) -> np.ndarray:
    """Compute Hirshfeld charges.

    q_A = Z_A - integral rho_A / (sum_B rho_B) rho, with the densities rho_A of free atoms (F. L.
    Hirshfeld, Theor. Chim. Acta 44, 129 (1977)). Z_A excludes the electrons of an effective core
    potential.

    Parameters
    ----------
    method : a PySCF mean-field method with its integration grid.
    density : (n, n), summed over spins.
    free_atoms : density matrix of each free atom, spherically averaged, in the same basis.

    Returns
    -------
    (N,), e. They add up to the total charge: the integration error in the number of electrons is
    distributed evenly over the atoms.
    """
    molecule, grid = method.mol, method.grids
    slices = molecule.aoslice_by_atom()[:, 2:]
    electrons = np.zeros(molecule.natm)
    for start in range(0, len(grid.weights), BLOCK):
        part = slice(start, start + BLOCK)
        functions = molecule.eval_gto("GTOval_sph", grid.coords[part])  # (g, n)
        rho = np.einsum("gu,gu->g", functions @ density, functions)
        shares = np.stack(
            [
                np.einsum("gu,gu->g", functions[:, i:j] @ free, functions[:, i:j])
                for free, (i, j) in zip(free_atoms, slices, strict=True)
            ]
        )  # (N, g)
        total = shares.sum(axis=0)
        weights = np.where(total > NO_DENSITY, rho * grid.weights[part], 0.0)
        electrons += shares @ (weights / np.maximum(total, NO_DENSITY))
    charges = molecule.atom_charges() - electrons
    return charges + (molecule.charge - charges.sum()) / len(charges)
