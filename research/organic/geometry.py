"""Geometries of molecules from SMILES, and a check for clashes."""

from __future__ import annotations

import hashlib

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

#: Geometries with atoms closer than this multiple of the sum of covalent radii are dropped.
TOO_NEAR = 0.65


def generator(name: str) -> np.random.Generator:
    """Random number generator that depends on the name only."""
    return np.random.default_rng(int(hashlib.sha256(name.encode()).hexdigest()[:16], 16))


def embedded(smiles: str, rng: np.random.Generator, conformers: int) -> Chem.Mol | None:
    """Generate conformers relaxed by MMFF94; None if that fails."""
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    seed = int(rng.integers(2**31))
    if not rdForceFieldHelpers.MMFFHasAllMoleculeParams(molecule) or molecule.GetNumAtoms() < 2:
        return None
    if not rdDistGeom.EmbedMultipleConfs(molecule, conformers, randomSeed=seed):
        return None
    rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(molecule, maxIters=2000)
    return molecule


def embedded_once(smiles: str) -> Chem.Mol:
    """Generate one conformer relaxed by MMFF94, always the same."""
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMolecule(molecule, randomSeed=7)
    rdForceFieldHelpers.MMFFOptimizeMolecule(molecule)
    return molecule


def as_atoms(molecule: Chem.Mol, conformer: int) -> Atoms:
    """One conformer as ASE atoms."""
    numbers = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    ids = [c.GetId() for c in molecule.GetConformers()]
    return Atoms(numbers, molecule.GetConformer(ids[conformer]).GetPositions())


def apart(atoms: Atoms) -> bool:
    """Whether no atoms overlap."""
    radii = covalent_radii[atoms.numbers]
    distances = atoms.get_all_distances() + np.diag(np.full(len(atoms), np.inf))
    return bool((distances > TOO_NEAR * (radii[:, None] + radii)).all())


def side(molecule: Chem.Mol, one: int, other: int) -> list[int]:
    """Atoms on the side of ``other`` of a bond."""
    found, todo = {one, other}, [other]
    while todo:
        for neighbour in molecule.GetAtomWithIdx(todo.pop()).GetNeighbors():
            if neighbour.GetIdx() not in found:
                found.add(neighbour.GetIdx())
                todo.append(neighbour.GetIdx())
    return sorted(found - {one})
