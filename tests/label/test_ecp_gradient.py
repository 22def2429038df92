"""Gradients of effective core potentials against PySCF's analytic integrals."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from se3set_ase.label.density_functional import build_molecule
from se3set_ase.label.ecp_gradient import ecp_gradient

#: Hartree/Bohr. Boron's potential extends to 15 Bohr, with a strength of 0.003 Hartree.
TOLERANCE, TOLERANCE_OF_BORON = 1e-6, 1e-5


def methyl_bromide() -> Atoms:
    atoms = molecule("CH3Cl")
    atoms.symbols[1] = "Br"
    return atoms


@pytest.mark.parametrize("name", ["H2CO", "CH3Br", "BF3", "SiH4"])
def test_quadrature_agrees_with_analytic_integrals(name: str) -> None:
    atoms = methyl_bromide() if name == "CH3Br" else molecule(name)
    atoms.rattle(0.05, seed=1)
    mole = build_molecule("wB97X-3c", atoms, 0, 1)
    density = mole.RHF().density_fit().run().make_rdm1()
    expected = np.zeros((len(atoms), 3))
    for core in range(len(atoms)):
        if atoms.symbols[core] not in mole._ecp:
            continue
        with mole.with_rinv_at_nucleus(core):
            integrals = mole.intor("ECPscalar_iprinv", comp=3)
        for atom, (start, stop) in enumerate(mole.aoslice_by_atom()[:, 2:]):
            slope = 2.0 * np.einsum("xuv,uv->x", integrals[:, start:stop], density[start:stop])
            expected[atom] -= slope
            expected[core] += slope
    assert np.abs(expected).max() > 1000 * TOLERANCE
    tolerance = TOLERANCE_OF_BORON if "B" in atoms.get_chemical_symbols() else TOLERANCE
    np.testing.assert_allclose(ecp_gradient(mole, density), expected, atol=tolerance)


def test_gradient_is_zero_without_potentials() -> None:
    mole = build_molecule("wB97X-3c", molecule("H2"), 0, 1)
    assert not ecp_gradient(mole, np.eye(mole.nao)).any()
