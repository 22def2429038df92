"""Small fragments of the training molecules with environments that only large ones have.

    python -m research.organic.fragments

Force errors depend on whether the training data contain the environment of an atom, and the cost
of a label grows with the size of the molecule to the power of 2.5. So a fragment is cut out around
each heavy atom: all atoms within two bonds, whole rings, and hydrogen at cut single bonds.
Fragments are chosen one by one for the environments (two bonds) that no small molecule or chosen
fragment has, weighted by the number of molecules with them, relative to the cost. The fragments are
added to molecules.csv as a third round; those that belong to another part are left out.
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
from research.organic.molecules import key, n_atoms, read_molecules, suitable, write_molecules
from research.splits import part_by_hash

ROUND = 3
#: Radius of a fragment and of an environment, in bonds.
RADIUS = 2
#: Numbers of basis functions: of small molecules, which have labels, and of the largest fragment.
SMALL, LARGEST = 120, 200
#: Largest number of fragments.
NUMBER = 2000
#: Fixed cost of a label, in units of the cost of one with 100 functions.
OVERHEAD = 0.1


def main() -> None:
    """Cut fragments, choose some, add them to the table."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    rdBase.DisableLog("rdApp.*")
    every = read_molecules()
    before = [row for row in every if int(row["round"]) < ROUND]
    known = {key(Chem.MolFromSmiles(row["smiles"])) for row in before}
    molecules = [Chem.MolFromSmiles(row["smiles"]) for row in before if row["part"] == "train"]
    found_in = {m: names_in(m) for m in tqdm(molecules, "environments", disable=None)}
    often = Counter(name for names in found_in.values() for name in names)
    for molecule, names in found_in.items():
        if size(molecule) <= SMALL:
            for name in names:
                often.pop(name, None)
    found: dict[str, Chem.Mol] = {}
    for molecule in tqdm(molecules, "fragments", disable=None):
        for fragment in fragments_of(molecule):
            found.setdefault(key(fragment), fragment)
    candidates = [
        fragment
        for name, fragment in found.items()
        if name not in known and part_by_hash(name) == "train"
    ]
    chosen = list(greedy(candidates, often))
    rows: list[dict[str, object]] = [{**row} for row in before]
    for fragment in chosen:
        columns = {"kind": "piece", "part": "train", "atoms": n_atoms(fragment), "round": ROUND}
        rows.append({"smiles": Chem.MolToSmiles(fragment), **columns})
    rows += [{**row} for row in every if int(row["round"]) > ROUND]
    write_molecules(rows)
    seen = set().union(*map(names_in, chosen)) & often.keys()
    print(
        f"{len(chosen)} of {len(candidates)} fragments, with {len(seen)} of the {len(often)} "
        f"environments that no small molecule has; {sum(often[name] for name in seen)} of "
        f"{often.total()} if each is counted as often as it occurs"
    )


def size(molecule: Chem.Mol) -> int:
    """Number of basis functions."""
    return functions(Atoms([atom.GetAtomicNum() for atom in Chem.AddHs(molecule).GetAtoms()]))


def environments(molecule: Chem.Mol) -> dict[int, str]:
    """Environments of heavy atoms by index, as SMILES that begin with the atom."""
    molecule = Chem.AddHs(molecule)
    found = {}
    for atom in molecule.GetAtoms():
        if atom.GetAtomicNum() > 1:
            index = atom.GetIdx()
            for radius in range(RADIUS, 0, -1):  # small molecules have smaller environments only
                bonds = Chem.FindAtomEnvironmentOfRadiusN(molecule, radius, index, useHs=True)
                if bonds:
                    break
            ends = {i for b in bonds for i in ends_of(molecule.GetBondWithIdx(b))}
            found[index] = Chem.MolFragmentToSmiles(
                molecule, list(ends), list(bonds), rootedAtAtom=index
            )
    return found


def names_in(molecule: Chem.Mol) -> set[str]:
    """All environments in a molecule."""
    return set(environments(molecule).values())


def ends_of(bond: Chem.Bond) -> tuple[int, int]:
    """Indices of the two atoms of a bond."""
    return bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()


def fragments_of(molecule: Chem.Mol) -> Iterator[Chem.Mol]:
    """Yield a fragment around each atom, unless it is too large or unsuitable."""
    rings = [set(ring) for ring in Chem.GetSymmSSSR(molecule)]
    distances = Chem.GetDistanceMatrix(molecule)
    for near in distances <= RADIUS:
        inside = whole(molecule, set(np.flatnonzero(near).tolist()), rings)
        fragment = capped(molecule, inside)
        if fragment is not None and suitable(fragment, 40) and size(fragment) <= LARGEST:
            yield fragment


def whole(molecule: Chem.Mol, inside: set[int], rings: list[set[int]]) -> set[int]:
    """Complete aromatic rings, rings with a bond among the atoms, and multiple bonds."""
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
    """Cut out these atoms, with hydrogen at cut bonds; None if the molecule is invalid."""
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
    """Choose fragments by new environments per cost, until none are new or there are enough."""
    has = [names_in(fragment) & often.keys() for fragment in candidates]
    cost = [OVERHEAD + (size(fragment) / 100) ** COST_EXPONENT for fragment in candidates]
    seen: set[str] = set()

    def worth(index: int) -> float:
        return sum(often[name] ** 0.5 for name in has[index] - seen) / cost[index]

    heap = [(-worth(index), index) for index in range(len(candidates))]
    heapq.heapify(heap)
    taken = 0
    while heap and taken < NUMBER:
        _, index = heapq.heappop(heap)
        now = worth(index)
        if heap and now < -heap[0][0]:  # chosen fragments have some of its environments
            heapq.heappush(heap, (-now, index))
        elif now > 0.0:
            seen |= has[index]
            taken += 1
            yield candidates[index]


if __name__ == "__main__":
    main()
