"""Decides between training, validation and test by hashes of names.

Every molecule has two hashes: one of its connectivity (the first block of its InChIKey,
which most tautomers and charge states share), one of its molecular formula and charge. The stricter
counts: test before validation before training. All geometries on one potential energy surface have
one formula, so a reaction, its reactants and its products are in the same part as every other
reaction between the same atoms.

Molecules and reactions of one or two atoms other than hydrogen are always in training, because all
larger molecules are made of what they show.
"""

from __future__ import annotations

import hashlib
from functools import cache

from rdkit import Chem
from rdkit.Chem.rdMolDescriptors import CalcMolFormula

#: Parts, the strictest first.
PARTS = ("test", "validation", "train")
#: Percent of all molecules.
TEST, VALIDATION = 6, 4
#: Molecules with so many heavy atoms or fewer are in training.
SMALLEST = 2


def part_of(smiles: str) -> str:
    """Part that a system belongs to.

    Parameters
    ----------
    smiles : a molecule; a cluster, with dots between its molecules, which is in the strictest part
        of any of them; or a reaction, ``REACTANTS>>PRODUCTS``, whose part depends on the total
        formula only.

    Raises
    ------
    ValueError : invalid SMILES, or a reaction that does not conserve atoms and charge.
    """
    if ">>" in smiles:
        formulas = {_formula(side) for side in smiles.split(">>")}
        if len(formulas) != 1:
            raise ValueError(f"expected a balanced reaction, got {smiles}: {sorted(formulas)}")
        if heavy_atoms(smiles.split(">>")[0]) <= SMALLEST:
            return "train"
        return part_by_hash(formulas.pop())
    return min((part_of_molecule(one) for one in smiles.split(".")), key=PARTS.index)


@cache
def part_of_molecule(smiles: str) -> str:
    """The stricter of the parts by connectivity and by formula; the smallest are in training."""
    if heavy_atoms(smiles) <= SMALLEST:
        return "train"
    connectivity = Chem.MolToInchiKey(_molecule(smiles)).split("-")[0]
    return min(part_by_hash(connectivity), part_by_hash(_formula(smiles)), key=PARTS.index)


def part_by_hash(name: str) -> str:
    """Part by the hash of a name."""
    percent = int(hashlib.sha256(name.encode()).hexdigest(), 16) % 100
    if percent < TEST:
        return "test"
    return "validation" if percent < TEST + VALIDATION else "train"


def heavy_atoms(smiles: str) -> int:
    """Number of atoms other than hydrogen."""
    return int(_molecule(smiles).GetNumHeavyAtoms())


def _formula(smiles: str) -> str:
    """Molecular formula with hydrogens and the total charge: ``C2H3O2-``."""
    return CalcMolFormula(Chem.AddHs(_molecule(smiles)))


def _molecule(smiles: str) -> Chem.Mol:
    molecule = Chem.MolFromSmiles(smiles, sanitize=True)
    if molecule is None:
        raise ValueError(f"expected SMILES, got {smiles!r}")
    return molecule
