"""Enumerates small neutral molecules with all functional groups by growing random graphs."""

from __future__ import annotations

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator

from research.geometries.bonding import canonical

#: Atoms that may be attached, with their probabilities.
ATOMS = {"C": 0.5, "N": 0.18, "O": 0.18, "S": 0.07, "F": 0.04, "Cl": 0.03}
#: Groups that may be attached by their first atom, all with the same probability.
GROUPS = (
    "[N+](=O)[O-]",
    "C#N",
    "N=[N+]=[N-]",
    "N=C=O",
    "N=C=S",
    "S(=O)(=O)C",
    "S(=O)C",
    "C=O",
    "C(=O)O",
    "C(N)=O",
    "[N+]#[C-]",
    "N=O",
    "OO",
    "C#C",
    "C=C",
    "C=C=C",
    "SC#N",
    "OC=O",
    "NC=O",
    "C(F)F",
    "C(=N)N",
    "ON",
    "C=NO",
    "S(=O)(=O)N",
    "OC#N",
    "C=[N+]=[N-]",
    "N=N",
    "NN",
    "C(=S)N",
    "SS",
    "C=C=O",
    "S(=O)(=O)F",
    "C(F)(F)F",
    "C(=O)Cl",
    "C(=O)S",
)
#: Molecules that are unknown or unstable, and impossible bonds in bridgeheads and small rings.
UNWANTED = tuple(
    Chem.MolFromSmarts(smarts)
    for smarts in (
        "[O,S;X2][O,S;X2][O,S;X2]",
        "[N;X3][N;X3][N;X3]",
        "[O;X2][N;X3][O;X2]",
        "[F,Cl][O,S;X2]",
        "[F,Cl][N;X3]",
        "[NX3,OX2]-[NX3]-[NX3,OX2]",
        "[r3,r4,r5,r6,r7]#*",
        "[r3,r4,r5,r6,r7;D2](=*)=*",
        "[R2]=[R2]",
        "[x3]=[*]",
        "[NX3,OX2,SX2]-[OX2]-[NX3,OX2,SX2]",
        "[CX4]([OX2H,NX3H2])[OX2H,NX3H2]",
        "C=C=C=C",
        "O=O",
        "[O,N]=[N;X2]-[O,S;X2]",
        "[a;r3]",
        "[N,O,S;R2]",
    )
)
FEWEST_HEAVY, MOST_HEAVY = 3, 7
#: Limits to the number of bonds added to the tree, and to the number of rings.
MOST_BONDS, MOST_RINGS = 3, 2
HIGHER = {
    Chem.BondType.SINGLE: Chem.BondType.DOUBLE,
    Chem.BondType.DOUBLE: Chem.BondType.TRIPLE,
}
#: Largest number of attempts for each molecule.
TRIES = 100
#: Probability of attaching a group instead of an atom.
GROUP_SHARE = 0.25


def molecules(number: int, rng: np.random.Generator, known: frozenset[str]) -> list[str]:
    """Canonical SMILES of molecules of three to seven heavy atoms.

    Molecules with a new atom environment (Morgan, radius 1) are preferred: if possible, they are
    at least half of the result.

    Parameters
    ----------
    known : canonical SMILES of molecules to leave out.
    """
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=1)
    environments: set[int] = set()
    novel: list[str] = []
    others: list[str] = []
    seen = set(known)
    for _ in range(TRIES * number):
        if len(novel) >= number:
            break
        molecule = grown(int(rng.integers(FEWEST_HEAVY, MOST_HEAVY + 1)), rng)
        if molecule is None:
            continue
        smiles = canonical(Chem.MolToSmiles(molecule))
        if smiles in seen:
            continue
        seen.add(smiles)
        bits = set(generator.GetSparseCountFingerprint(molecule).GetNonzeroElements())
        if bits - environments:
            novel.append(smiles)
            environments |= bits
        else:
            others.append(smiles)
    some = novel[: max(number // 2, number - len(others))]
    return [*some, *others[: number - len(some)]]


def grown(heavy: int, rng: np.random.Generator) -> Chem.Mol | None:
    """Grow a random molecule with this number of heavy atoms; None if it is an unwanted one."""
    molecule = Chem.RWMol(Chem.MolFromSmiles("C"))
    while molecule.GetNumAtoms() < heavy:
        if rng.random() < GROUP_SHARE:
            piece = GROUPS[rng.integers(len(GROUPS))]
        else:
            piece = str(rng.choice(list(ATOMS), p=list(ATOMS.values())))
        free = _free(molecule)
        if not free:
            return None
        first = molecule.GetNumAtoms()
        molecule.InsertMol(Chem.MolFromSmiles(piece, sanitize=False))
        molecule.AddBond(int(rng.choice(free)), first, Chem.BondType.SINGLE)
    if molecule.GetNumAtoms() > heavy:
        return None
    for _ in range(int(rng.integers(MOST_BONDS + 1))):
        _bond(molecule, rng)
    try:
        Chem.SanitizeMol(molecule)
    except Chem.MolSanitizeException:
        return None
    plain = Chem.MolFromSmiles(Chem.MolToSmiles(molecule))
    if plain is None or plain.GetRingInfo().NumRings() > MOST_RINGS:
        return None
    return None if any(plain.HasSubstructMatch(pattern) for pattern in UNWANTED) else plain


def _free(molecule: Chem.Mol) -> list[int]:
    """Atoms with a hydrogen that can be replaced."""
    molecule.UpdatePropertyCache(strict=False)
    return [atom.GetIdx() for atom in molecule.GetAtoms() if atom.GetTotalNumHs() > 0]


def _bond(molecule: Chem.RWMol, rng: np.random.Generator) -> None:
    """Replace two hydrogens by a ring closure or a higher bond order."""
    free = _free(molecule)
    if len(free) < 2:
        return
    one, other = (int(i) for i in rng.choice(free, 2, replace=False))
    neighbours = {atom.GetIdx() for atom in molecule.GetAtomWithIdx(one).GetNeighbors()}
    if other not in neighbours:
        molecule.AddBond(one, other, Chem.BondType.SINGLE)
        return
    bond = molecule.GetBondBetweenAtoms(one, other)
    bond.SetBondType(HIGHER.get(bond.GetBondType(), bond.GetBondType()))
