"""Gradient of the energy of effective core potentials (ECPs), by quadrature.

With a basis such as vDZP, PySCF spends most of the time for forces on analytic derivatives of ECP
integrals, although the potentials extend to only about 2 Bohr. Quadrature on a small grid around
each core takes almost no time. With r and the real spherical harmonics Y_lm centred on a core, its
potential is

    U = U_local(r) + sum_l U_l(r) sum_m |Y_lm> <Y_lm|,

so with basis functions x_u and their projections c_lmu(r) = integral dOmega Y_lm x_u

    <u|U|v> = integral dr r^2 [U_local(r) integral dOmega x_u x_v + sum_lm U_l(r) c_lmu c_lmv].

The derivative with respect to the function x_u is taken under the integral; that with respect to
the core follows from translational invariance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import roots_legendre

#: Gauss-Legendre points along r and Lebedev points on each sphere, for potentials within a range in
#: Bohr. The gradient agrees with analytic integrals to 1e-6 Hartree/Bohr; for boron, which has the
#: only long-range potential in vDZP, to 1e-5 (tests/label/test_ecp_gradient.py).
GRIDS = {4.0: (40, 302), np.inf: (100, 974)}
#: The grid ends where the most diffuse Gaussian of the potential has decayed to this value.
NEGLIGIBLE = 1e-11
#: Hartree. Smaller coefficients are placeholders in basis set files.
NO_STRENGTH = 1e-12

Potential = Sequence[Any]
"""``[l, terms]`` in the format of PySCF: ``terms[n]`` lists the (exponent, coefficient) pairs of
r^(n-2), and l is -1 for the local part."""


def ecp_gradient(molecule: Any, density: np.ndarray) -> np.ndarray:
    """Compute the derivative of sum_uv D_uv <u|U|v> with respect to the nuclei.

    Parameters
    ----------
    molecule : ``pyscf.gto.Mole``.
    density : (n, n), summed over spins, in the basis of the molecule; symmetric.

    Returns
    -------
    (N, 3), Hartree/Bohr; zero if no atom has an ECP.
    """
    gradient = np.zeros((molecule.natm, 3))
    functions_of = molecule.aoslice_by_atom()[:, 2:]
    for core in range(molecule.natm):
        if molecule.atom_symbol(core) not in molecule._ecp:
            continue
        _, potentials = molecule._ecp[molecule.atom_symbol(core)]
        by_function = _by_function(molecule, core, potentials, density)
        for atom, (start, stop) in enumerate(functions_of):
            slope = 2.0 * by_function[:, start:stop].sum(axis=1)
            gradient[atom] -= slope  # a function moves with its atom: d/dR = -d/dr
            gradient[core] += slope
    return gradient


def _by_function(
    molecule: Any, core: int, potentials: Sequence[Potential], density: np.ndarray
) -> np.ndarray:
    """<grad u|U D|u> (3, n) of each basis function u."""
    from pyscf.dft.gen_grid import MakeAngularGrid
    from pyscf.symm.sph import real_sph_vec

    # Diffuse Gaussians with negligible coefficients would extend the grid.
    potentials = [
        (degree, [[(a, c) for a, c in term if abs(c) > NO_STRENGTH] for term in terms])
        for degree, terms in potentials
    ]
    potentials = [(degree, terms) for degree, terms in potentials if any(terms)]
    slowest = min(exponent for _, terms in potentials for term in terms for exponent, _ in term)
    reach = np.sqrt(-np.log(NEGLIGIBLE) / slowest)
    n_radii, n_directions = next(grid for limit, grid in GRIDS.items() if reach < limit)
    nodes, weights = roots_legendre(n_radii)
    radii = 0.5 * reach * (nodes + 1.0)
    radial_weights = 0.5 * reach * weights * radii**2
    sphere = MakeAngularGrid(n_directions)
    directions, angular_weights = sphere[:, :3], 4.0 * np.pi * sphere[:, 3]

    points = molecule.atom_coord(core) + (radii[:, None, None] * directions).reshape(-1, 3)
    values = molecule.eval_gto("GTOval_sph_deriv1", points)
    # k: radii, a: directions, u, v: functions, x: value and its three derivatives.
    values = values.reshape(4, n_radii, n_directions, -1)
    harmonics = real_sph_vec(directions, max(0, *(degree for degree, _ in potentials)))
    result = np.zeros((3, values.shape[-1]))
    for degree, terms in potentials:
        strength = _radial(terms, radii) * radial_weights
        if degree < 0:
            weighted = (values[0] @ density) * np.multiply.outer(strength, angular_weights)[
                ..., None
            ]
            result += np.einsum("xkau,kau->xu", values[1:], weighted)
        else:
            y = harmonics[degree].reshape(2 * degree + 1, -1) * angular_weights
            projected = np.einsum("ma,xkau->xkmu", y, values, optimize=True)
            weighted = (projected[0] @ density) * strength[:, None, None]
            result += np.einsum("xkmu,kmu->xu", projected[1:], weighted)
    return result


def _radial(terms: Sequence[Any], radii: np.ndarray) -> np.ndarray:
    """A radial potential (k,) at these radii."""
    potential = np.zeros_like(radii)
    for n, term in enumerate(terms):
        for exponent, coefficient in term:
            potential += coefficient * radii ** (n - 2) * np.exp(-exponent * radii**2)
    return potential
