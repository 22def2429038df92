"""Named reactions, and the data of the correction to GFN2-xTB."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.units import _amu, _c, _e

from research.correction.named_reactions import REACTIONS, read
from research.correction.saddles import NOISE, bonds, distance, imaginary
from research.geometries.reaction_edits import is_sensible

PRODUCTS = {
    "Diels-Alder": "C1=CCCCC1",
    "Claisen": "C=CCCC=O",
    "Cope": "C=CCCC=C",
    "retro-ene": "C=CC.C=O",
    "1,5-H shift": "C=CC=CC",
    "electrocyclic opening": "C=CC=C",
    "keto-enol with water": "C=CO.O",
    "1,3-dipolar": "C1=NOCC1",
    "SN2": "CCl.[Br-]",
    "acyl transfer": "CC(=O)S.[Cl-]",
}


@pytest.mark.parametrize("name", list(REACTIONS))
def test_reactions_give_their_products(name: str) -> None:
    reactant, product = REACTIONS[name].graphs()
    assert product.smiles == PRODUCTS[name]
    assert is_sensible(product, reactant)
    assert reactant.charge == product.charge
    assert (reactant.bonded != product.bonded).any()


@pytest.mark.parametrize("name", list(REACTIONS))
def test_starting_geometries_have_the_bonds(name: str) -> None:
    for atoms, graph in zip(read()[name], REACTIONS[name].graphs(), strict=True):
        assert (atoms.numbers == graph.numbers).all()
        assert atoms.info["charge"] == graph.charge
        assert distance(bonds(atoms, atoms.positions), graph.bonded) == 0


@pytest.mark.parametrize("curvature", [-5.0, 5.0])
def test_imaginary_modes(curvature: float) -> None:
    """A diatomic molecule: the square root of curvature over reduced mass."""
    atoms = Atoms("N2", [[0.0, 0.0, 0.0], [0.0, 0.0, 1.1]])
    hessian = np.zeros((6, 6))
    hessian[2, 2] = hessian[5, 5] = curvature  # eV/Angstrom^2
    hessian[2, 5] = hessian[5, 2] = -curvature
    found = imaginary(atoms, atoms.positions, hessian)
    if curvature > 0.0:
        assert len(found) == 0
        return
    reduced = atoms.get_masses()[0] / 2.0 * _amu  # kg
    frequency = np.sqrt(-curvature * _e * 1e20 / reduced) / (2.0 * np.pi)  # 1/s
    assert found == pytest.approx([frequency / _c / 100.0], rel=1e-4)
    assert found[0] > NOISE
