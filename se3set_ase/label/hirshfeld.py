"""Hirshfeld charges of a converged PySCF calculation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

#: Where all atoms together have less, no electron is shared out; electrons/Bohr^3.
NO_DENSITY = 1e-15
#: Points of the grid at a time.
BLOCK = 16384


def hirshfeld_charges(
    method: Any, density: np.ndarray, free_atoms: Sequence[np.ndarray]
) -> np.ndarray:
    """Partial charges by the share that each free atom has of all free atoms' density.

    q_A = Z_A - integral rho_A / (sum_B rho_B) rho (F. L. Hirshfeld, Theor. Chim. Acta 44, 129
    (1977)); Z_A without the electrons of an effective core potential.

    Parameters
    ----------
    method : a PySCF mean-field method with its integration grid.
    density : (n, n), of both spins.
    free_atoms : density matrix of each free atom, spherical, in the same basis.

    Returns
    -------
    (N,), e. Their sum misses the total charge by what the grid misses of the electrons; that is
    spread evenly over the atoms, so that they add up.
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
