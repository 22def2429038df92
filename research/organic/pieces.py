"""Small fragments of the training molecules with environments that only large ones have.

    python -m research.organic.pieces

Force errors depend on whether the environment of the atom was trained on, and a label costs the
size of the molecule to the power of 2.5. So a fragment is cut out around each heavy atom: all
within two bonds, whole rings, hydrogen in place of cut single bonds. Fragments are chosen one by
one: the next has most environments (two bonds) that no small molecule or chosen fragment has,
weighted by the number of molecules that have them, for its cost. Adds a third round to
molecules.csv; fragments that belong to another part are left out.
"""

from __future__ import annotations

import argparse
import heapq
from collections import Counter
from collections.abc import Iterator

import numpy as np
from ase import Atoms
from rdkit import Chem, rdBase
from tqdm import tqdm

from research.organic.choose import COST_EXPONENT, functions
from research.organic.molecules import key, n_atoms, part, read_molecules, suitable, write_molecules

ROUND = 3
#: Bonds from the middle of a piece, and of surroundings.
RADIUS = 2
#: Functions of the basis: of the small molecules, which have labels, and of the largest piece.
SMALL, LARGEST = 120, 200
#: How many.
NUMBER = 2000
#: Beside what a label costs, in what one of 100 functions does: that there is one at all.
OVERHEAD = 0.1


def main() -> None:
    """Cut, choose, add."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    rdBase.DisableLog("rdApp.*")
    every = read_molecules()
    before = [row for row in every if int(row["round"]) < ROUND]
    known = {key(Chem.MolFromSmiles(row["smiles"])) for row in before}
    molecules = [Chem.MolFromSmiles(row["smiles"]) for row in before if row["part"] == "train"]
    there = {m: names_in(m) for m in tqdm(molecules, "surroundings", disable=None)}
    often = Counter(name for names in there.values() for name in names)
    for molecule, names in there.items():
        if size(molecule) <= SMALL:
            for name in names:
                often.pop(name, None)
    found: dict[str, Chem.Mol] = {}
    for molecule in tqdm(molecules, "pieces", disable=None):
        for piece in pieces(molecule):
            found.setdefault(key(piece), piece)
    candidates = [
        piece for name, piece in found.items() if name not in known and part(name) == "train"
    ]
    chosen = list(greedy(candidates, often))
    rows: list[dict[str, object]] = [{**row} for row in before]
    for piece in chosen:
        columns = {"kind": "piece", "part": "train", "atoms": n_atoms(piece), "round": ROUND}
        rows.append({"smiles": Chem.MolToSmiles(piece), **columns})
    rows += [{**row} for row in every if int(row["round"]) > ROUND]
    write_molecules(rows)
    seen = set().union(*map(names_in, chosen)) & often.keys()
    print(
        f"{len(chosen)} of {len(candidates)} pieces, with {len(seen)} of the {len(often)} "
        f"surroundings that no small molecule has, {sum(often[name] for name in seen)} of "
        f"{often.total()} counted as often as they come"
    )


def size(molecule: Chem.Mol) -> int:
    """Functions of the basis."""
    return functions(Atoms([atom.GetAtomicNum() for atom in Chem.AddHs(molecule).GetAtoms()]))


def surroundings(molecule: Chem.Mol) -> dict[int, str]:
    """Of each heavy atom by its index, as SMILES that begins with it."""
    molecule = Chem.AddHs(molecule)
    found = {}
    for atom in molecule.GetAtoms():
        if atom.GetAtomicNum() > 1:
            index = atom.GetIdx()
            for radius in range(RADIUS, 0, -1):  # a small molecule may have nothing so far away
                bonds = Chem.FindAtomEnvironmentOfRadiusN(molecule, radius, index, useHs=True)
                if bonds:
                    break
            ends = {i for b in bonds for i in ends_of(molecule.GetBondWithIdx(b))}
            found[index] = Chem.MolFragmentToSmiles(
                molecule, list(ends), list(bonds), rootedAtAtom=index
            )
    return found


def names_in(molecule: Chem.Mol) -> set[str]:
    """Of all its surroundings."""
    return set(surroundings(molecule).values())


def ends_of(bond: Chem.Bond) -> tuple[int, int]:
    """Both atoms."""
    return bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()


def pieces(molecule: Chem.Mol) -> Iterator[Chem.Mol]:
    """One around each atom, unless it is the whole molecule, too large or unsuitable."""
    rings = [set(ring) for ring in Chem.GetSymmSSSR(molecule)]
    distances = Chem.GetDistanceMatrix(molecule)
    for near in distances <= RADIUS:
        inside = whole(molecule, set(np.flatnonzero(near).tolist()), rings)
        piece = capped(molecule, inside)
        if piece is not None and suitable(piece, 40) and size(piece) <= LARGEST:
            yield piece


def whole(molecule: Chem.Mol, inside: set[int], rings: list[set[int]]) -> set[int]:
    """With the rest of aromatic rings, of rings with a bond inside, and of multiple bonds."""
    before = 0
    while len(inside) > before:
        before = len(inside)
        for ring in rings:
            aromatic = molecule.GetAtomWithIdx(min(ring)).GetIsAromatic()
            if len(ring & inside) > (0 if aromatic else 1):
                inside |= ring
        for bond in molecule.GetBonds():
            ends = set(ends_of(bond))
            if ends & inside and bond.GetBondType() != Chem.BondType.SINGLE:
                inside |= ends
    return inside


def capped(molecule: Chem.Mol, inside: set[int]) -> Chem.Mol | None:
    """These atoms, with hydrogen where bonds are cut; None if that is no molecule."""
    cut = Chem.RWMol(molecule)
    for bond in molecule.GetBonds():
        ends = ends_of(bond)
        for one, other in (ends, ends[::-1]):
            if one in inside and other not in inside:
                atom = cut.GetAtomWithIdx(one)
                atom.SetNumExplicitHs(atom.GetTotalNumHs() + 1)
                atom.SetNoImplicit(True)
    for index in sorted(set(range(molecule.GetNumAtoms())) - inside, reverse=True):
        cut.RemoveAtom(index)
    try:
        Chem.SanitizeMol(cut)
        return Chem.MolFromSmiles(Chem.MolToSmiles(cut, isomericSmiles=False))
    except Chem.MolSanitizeException:
        return None


def greedy(candidates: list[Chem.Mol], often: Counter[str]) -> Iterator[Chem.Mol]:
    """Most that is new for its cost first, until nothing is new or there are enough."""
    has = [names_in(piece) & often.keys() for piece in candidates]
    cost = [OVERHEAD + (size(piece) / 100) ** COST_EXPONENT for piece in candidates]
    seen: set[str] = set()

    def worth(index: int) -> float:
        return sum(often[name] ** 0.5 for name in has[index] - seen) / cost[index]

    heap = [(-worth(index), index) for index in range(len(candidates))]
    heapq.heapify(heap)
    taken = 0
    while heap and taken < NUMBER:
        _, index = heapq.heappop(heap)
        now = worth(index)
        if heap and now < -heap[0][0]:  # others have shown what it has
            heapq.heappush(heap, (-now, index))
        elif now > 0.0:
            seen |= has[index]
            taken += 1
            yield candidates[index]


if __name__ == "__main__":
    main()
