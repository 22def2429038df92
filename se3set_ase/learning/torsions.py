"""Conformers by rotation about single bonds."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms

from se3set_ase.learning.geometry import n_fragments, overlapping

#: Single bonds, not in a ring and not next to a triple bond, of atoms with further neighbours;
#: methyl groups and hydroxyl groups included.
ROTATABLE = "[!$(*#*)&!D1]-&!@[!$(*#*)&!D1]"
#: Rotations that are tried until the atoms do not overlap.
TRIES = 20


def rotatable_bonds(atoms: Atoms, charge: int) -> list[tuple[int, int, int, int]]:
    """Four atoms of a dihedral angle about each rotatable bond; empty if RDKit finds no bonds."""
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        molecule = _molecule(atoms, charge)
    if molecule is None:
        return []
    found = []
    for j, k in molecule.GetSubstructMatches(Chem.MolFromSmarts(ROTATABLE)):
        i = next(a.GetIdx() for a in molecule.GetAtomWithIdx(j).GetNeighbors() if a.GetIdx() != k)
        m = next(a.GetIdx() for a in molecule.GetAtomWithIdx(k).GetNeighbors() if a.GetIdx() != j)
        if i != m:
            found.append((i, j, k, m))
    return found


def rotated(
    atoms: Atoms, bonds: list[tuple[int, int, int, int]], rng: np.random.Generator, charge: int
) -> Atoms:
    """A conformer with all dihedral angles drawn at random; the same one if all of them overlap."""
    from rdkit import rdBase
    from rdkit.Chem import rdMolTransforms

    with rdBase.BlockLogs():
        molecule = _molecule(atoms, charge)
    if molecule is None:  # a dissociated geometry
        return atoms.copy()
    parts = n_fragments(atoms)
    for _ in range(TRIES):
        conformer = molecule.GetConformer()
        for dihedral in bonds:
            try:
                rdMolTransforms.SetDihedralDeg(conformer, *dihedral, float(rng.uniform(0, 360)))
            except ValueError:  # no longer bonded
                continue
        new = atoms.copy()
        new.positions = np.array(conformer.GetPositions())
        if not overlapping(new) and n_fragments(new) == parts:
            return new
    return atoms.copy()


def _molecule(atoms: Atoms, charge: int) -> Any:
    from rdkit import Chem
    from rdkit.Chem import rdDetermineBonds
    from rdkit.Geometry import Point3D

    molecule = Chem.RWMol()
    conformer = Chem.Conformer(len(atoms))
    for index, (number, position) in enumerate(
        zip(atoms.numbers.tolist(), atoms.positions.tolist(), strict=True)
    ):
        atom = Chem.Atom(number)
        atom.SetNoImplicit(True)
        molecule.AddAtom(atom)
        conformer.SetAtomPosition(index, Point3D(*position))
    molecule.AddConformer(conformer)
    try:
        rdDetermineBonds.DetermineBonds(molecule, charge=charge, embedChiral=False)
    except ValueError:
        return None
    Chem.GetSymmSSSR(molecule)
    return molecule
