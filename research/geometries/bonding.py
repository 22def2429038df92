"""Compares the bonds of a geometry with those of the molecule that it was made from."""

from __future__ import annotations

import numpy as np
from ase.data import covalent_radii
from rdkit import Chem
from rdkit.Chem import rdDetermineBonds

# Distances in units of the sum of covalent radii.
#: Atoms closer than this overlap.
TOO_CLOSE = 0.65
#: Heavy atoms closer than this are bonded, unless both are bonded to the same atom.
SHORTEST_CONTACT = 1.15
#: The same for heavy atoms that are bonded to the same atom.
SHORTEST_ANGLE = 1.0
#: Longest bond of a relaxed geometry.
LONGEST_BOND = 1.35
#: Longest bond if the bonds are perceived from the geometry.
LONGEST_PERCEIVED = 1.25
#: Longest bond of a hot or stretched geometry.
LONGEST_STRETCHED = 1.8
#: SMILES that extended XYZ would read as a logical value, and what is written instead.
WRITTEN = {"F": "[H]F"}
#: Sulfoxides and sulfites as RDKit perceives them; here they have a double bond.
SULFOXIDE = Chem.MolFromSmarts("[S+]-[O-]")
#: A halogen with a bond that is also close to a proton, without being bonded to it.
HALONIUM = Chem.MolFromSmarts("[F,Cl,Br,I]([#1])~*")


def canonical(smiles: str) -> str:
    """Canonical SMILES without stereochemistry, safe in the comment line of extended XYZ.

    Raises
    ------
    ValueError : no valid SMILES.
    """
    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None:
        raise ValueError(f"expected SMILES, got {smiles!r}")
    name = Chem.MolToSmiles(molecule, isomericSmiles=False)
    return WRITTEN.get(name, name)


def ratios(numbers: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Distances (N, N) in units of the sum of covalent radii; infinite on the diagonal."""
    radii = covalent_radii[numbers]
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    distances[np.diag_indices(len(distances))] = np.inf
    return distances / (radii[:, None] + radii)


def clash(numbers: np.ndarray, positions: np.ndarray) -> bool:
    """Whether two atoms overlap."""
    return bool((ratios(numbers, positions) < TOO_CLOSE).any())


def identify(
    molecule: Chem.Mol, positions: np.ndarray, longest: float = LONGEST_BOND
) -> str | None:
    """SMILES of a geometry with the heavy-atom bonds of a molecule.

    Each hydrogen belongs to the closest atom, relative to the covalent radii. If protons have
    moved, their charges move with them.

    Parameters
    ----------
    molecule : a molecule with explicit hydrogens, or all molecules of a cluster. Not changed.
    positions : (N, 3), Angstrom.
    longest : longest bond, in units of the sum of covalent radii.

    Returns
    -------
    SMILES, or None if a bond between heavy atoms was broken or formed, a hydrogen is unbound or
    bonded to another hydrogen, or no closed-shell structure fits.
    """
    numbers = np.array([atom.GetAtomicNum() for atom in molecule.GetAtoms()])
    relative = ratios(numbers, positions)
    bonded = Chem.GetAdjacencyMatrix(molecule).astype(bool)
    both_heavy = (numbers[:, None] > 1) & (numbers > 1) & ~np.eye(len(numbers), dtype=bool)
    two_bonds_apart = (bonded.astype(int) @ bonded > 0) & ~bonded
    shortest = np.where(two_bonds_apart, SHORTEST_ANGLE, SHORTEST_CONTACT)
    broken = (relative > longest) & bonded & both_heavy
    made = (relative < shortest) & ~bonded & both_heavy
    if broken.any() or made.any():
        return None
    moves = []
    for hydrogen in map(int, np.flatnonzero(numbers == 1)):
        now = int(relative[hydrogen].argmin())
        new = not bonded[hydrogen, now]
        if relative[hydrogen, now] > longest or (new and numbers[now] == 1):
            return None  # unbound, or a molecule of hydrogen
        if new:
            moves.append((hydrogen, int(bonded[hydrogen].argmax()), now))
    if not moves:
        return canonical(Chem.MolToSmiles(molecule))
    return _with_moved_protons(molecule, moves)


def perceived(numbers: np.ndarray, positions: np.ndarray) -> str | None:
    """SMILES of neutral molecules from their geometry, or None if no SMILES fits.

    Parameters
    ----------
    numbers : (N,) atomic numbers.
    positions : (N, 3), Angstrom.
    """
    relative = ratios(numbers, positions)
    molecule = Chem.RWMol()
    for number in numbers:
        molecule.AddAtom(Chem.Atom(int(number)))
    for one, other in np.argwhere(np.triu(relative < LONGEST_PERCEIVED)):
        hydrogens = [int(end) for end in (one, other) if numbers[end] == 1]
        if all(relative[h].min() == relative[one, other] for h in hydrogens):
            molecule.AddBond(int(one), int(other), Chem.BondType.SINGLE)
    names = [_from_connectivity(molecule, indices) for indices in Chem.GetMolFrags(molecule)]
    found = [name for name in names if name is not None]
    return canonical(".".join(found)) if len(found) == len(names) else None


def _with_moved_protons(molecule: Chem.Mol, moves: list[tuple[int, int, int]]) -> str | None:
    """SMILES after proton moves (hydrogen, from, to); None if it is not closed-shell.

    Molecules that gained or lost a proton get new bond orders from connectivity and charge.
    """
    new = Chem.RWMol(molecule)
    touched = set()
    for hydrogen, before, now in moves:
        new.RemoveBond(hydrogen, before)
        new.AddBond(hydrogen, now, Chem.BondType.SINGLE)
        touched |= {before, now}
        for index, change in ((before, -1), (now, 1)):
            atom = new.GetAtomWithIdx(index)
            atom.SetFormalCharge(atom.GetFormalCharge() + change)
    found = []
    for indices in Chem.GetMolFrags(new):
        if touched.isdisjoint(indices):
            found.append(Chem.MolFragmentToSmiles(molecule, indices))
            continue
        name = _from_connectivity(new, indices)
        if name is None:
            return None
        found.append(name)
    return canonical(".".join(found))


def _from_connectivity(molecule: Chem.Mol, indices: tuple[int, ...]) -> str | None:
    """SMILES of one fragment from its bonds and total charge, or None if no SMILES fits."""
    new = Chem.RWMol()
    place = {}
    for index in indices:
        atom = Chem.Atom(molecule.GetAtomWithIdx(index).GetAtomicNum())
        atom.SetNoImplicit(True)
        place[index] = new.AddAtom(atom)
    for bond in molecule.GetBonds():
        if bond.GetBeginAtomIdx() in place:
            ends = place[bond.GetBeginAtomIdx()], place[bond.GetEndAtomIdx()]
            new.AddBond(*ends, Chem.BondType.SINGLE)
    charge = sum(molecule.GetAtomWithIdx(index).GetFormalCharge() for index in indices)
    if len(indices) == 1:
        new.GetAtomWithIdx(0).SetFormalCharge(charge)
    else:
        new.AddConformer(Chem.Conformer(len(indices)))  # which the next call expects
        try:
            rdDetermineBonds.DetermineBondOrders(
                new, charge=charge, embedChiral=False, maxIterations=1000
            )
            Chem.SanitizeMol(new)
        except (ValueError, RuntimeError, Chem.MolSanitizeException):
            return None
    radical = any(atom.GetNumRadicalElectrons() for atom in new.GetAtoms())
    if radical or new.HasSubstructMatch(HALONIUM):
        return None
    for one, other in new.GetSubstructMatches(SULFOXIDE):
        new.GetBondBetweenAtoms(one, other).SetBondType(Chem.BondType.DOUBLE)
        for index in (one, other):
            new.GetAtomWithIdx(index).SetFormalCharge(0)
    Chem.SanitizeMol(new)
    return Chem.MolToSmiles(new)
