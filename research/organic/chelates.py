"""Molecules with an internal hydrogen bond whose proton can move: enols, enaminones, others.

    pip install '.[label]'
    python -m research.organic.chelates --processes 2 --output runs/geometries

Few of them are in the rounds of research.organic.molecules. Each has a donor and an acceptor at the
ends of three conjugated carbons, in a chain or with two of them in an aromatic ring, and random
substituents. A molecule is left out if either tautomer belongs to another part. Geometries are the
closed ring before and after the proton transfer, both relaxed by GFN2-xTB; points between, with
random displacements; and open conformers, relaxed, some at random angles of a rotatable bond. Adds
a fifth round to molecules.csv and writes chelates-train.xyz for ``se3set-ase label``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice

import numpy as np
from ase import Atoms
from ase.build import minimize_rotation_and_translation
from ase.io import write
from rdkit import Chem, rdBase
from tqdm import tqdm

from research.organic.geometry import apart, embedded, generator
from research.organic.molecules import key, read_molecules, write_molecules
from research.organic.torsions import at_angles, conformers_of, options, relaxed
from research.splits import part_by_hash

ROUND = 5
#: Template of a chain (donor, three substituents, acceptor), and number of chains.
CHAIN, CHAINS = "{0}/C({1})=C({2})\\C({3})={4}", 28
DONORS, ACCEPTORS = ("O", "N", "CN"), ("O", "O", "N")
ENDS, MIDDLE = ("[H]", "[H]", "C", "C", "CC", "N", "OC", "C(F)(F)F"), ("[H]", "C", "F", "Cl", "C#N")
#: Template of a ring (donor, two ring atoms, substituent, acceptor), and number of rings.
RING, RINGS = "{0}c1{1}c{2}cc1C({3})={4}", 10
RING_ATOMS = ("c", "c", "n")
#: Donor, carbon of the donor, middle carbon, carbon of the acceptor, acceptor.
BRIDGE = Chem.MolFromSmarts("[O,N;!H0]-[#6]=,:[#6]-[#6]=[O,N]")
#: Numbers of embeddings, of open conformers, of angles, and of points of the proton transfer; range
#: of these points (0 to 1), and their displacements (Angstrom).
EMBEDDINGS, OPEN, ANGLES, MOVING = 8, 1, 2, 3
ON_ITS_WAY, DISPLACED = (0.2, 0.8), 0.04
#: Angstrom, bond length of a transferred proton.
BOUND = 1.02


def main() -> None:
    """Choose molecules, add them to the table, write their geometries."""
    arguments = options(__doc__)
    rdBase.DisableLog("rdApp.*")
    rows: list[dict[str, object]] = [
        {**row} for row in read_molecules() if int(row["round"]) != ROUND
    ]
    known = {key(Chem.MolFromSmiles(row["smiles"])) for row in rows}
    names = [*chosen(CHAIN, CHAINS, known), *chosen(RING, RINGS, known)]
    with ProcessPoolExecutor(arguments.processes) as pool:
        jobs = pool.map(geometries, names)
        found = list(tqdm(jobs, total=len(names), disable=None))
    for name, frames in zip(names, found, strict=True):
        if frames:
            columns = {"kind": "chelate", "part": "train", "round": ROUND}
            rows.append({"smiles": flat(name), "atoms": len(frames[0]), **columns})
    write_molecules(rows)
    frames = list(itertools.chain.from_iterable(found))
    shuffled = [frames[k] for k in generator("order").permutation(len(frames))]
    write(arguments.output / "chelates-train.xyz", shuffled, format="extxyz")


def chosen(form: str, number: int, known: set[str]) -> list[str]:
    """Draw molecules at random that are new and belong to the training part."""
    rng = generator(form)
    places = (ENDS, MIDDLE, ENDS) if form == CHAIN else (RING_ATOMS, RING_ATOMS, ENDS)
    every = list(itertools.product(DONORS, *places, ACCEPTORS))
    names: dict[str, str] = {}
    for k in rng.permutation(len(every)):
        molecule = Chem.MolFromSmiles(form.format(*every[k]))
        keys = {key(molecule), key(moved(molecule))}
        if not keys & (known | names.keys()) and {part_by_hash(name) for name in keys} == {"train"}:
            names[key(molecule)] = Chem.MolToSmiles(molecule)
        if len(names) == number:
            break
    return list(names.values())


def moved(molecule: Chem.Mol) -> Chem.Mol:
    """Move the proton of a chain to the other end; a ring, which would break, is unchanged."""
    donor, one, middle, other, acceptor = molecule.GetSubstructMatch(BRIDGE)
    new = Chem.RWMol(molecule)
    if new.GetBondBetweenAtoms(one, middle).GetIsAromatic():
        return molecule
    orders = {(donor, one): 2, (one, middle): 1, (middle, other): 2, (other, acceptor): 1}
    for (i, j), order in orders.items():
        new.GetBondBetweenAtoms(i, j).SetBondType(Chem.BondType.values[order])
    for i, change in ((donor, -1), (acceptor, 1)):
        atom = new.GetAtomWithIdx(i)
        n_hydrogens = molecule.GetAtomWithIdx(i).GetTotalNumHs() + change
        atom.SetNoImplicit(True)
        atom.SetNumExplicitHs(n_hydrogens)
    Chem.SanitizeMol(new)
    return new.GetMol()


def flat(smiles: str) -> str:
    """SMILES without stereochemistry, because extended XYZ would lose its backslashes."""
    return Chem.MolToSmiles(Chem.MolFromSmiles(smiles), isomericSmiles=False)


def geometries(smiles: str) -> list[Atoms]:
    """Geometries of one molecule, in the atom order of its flat SMILES; none if embedding fails."""
    rdBase.DisableLog("rdApp.*")
    rng = generator(f"{smiles} chelate")
    molecule = embedded(smiles, rng, EMBEDDINGS)
    if molecule is None:
        return []
    order = molecule.GetSubstructMatch(Chem.AddHs(Chem.MolFromSmiles(flat(smiles))))
    molecule = Chem.RenumberAtoms(molecule, [int(i) for i in order])
    donor, _, _, _, acceptor = (int(i) for i in molecule.GetSubstructMatch(BRIDGE))
    atoms_around = molecule.GetAtomWithIdx(donor).GetNeighbors()
    hydrogens = [a.GetIdx() for a in atoms_around if a.GetAtomicNum() == 1]
    conformers = conformers_of(molecule)
    closed, proton = min(
        itertools.product(conformers, hydrogens),
        key=lambda found: found[0].get_distance(found[1], acceptor),
    )
    furthest = sorted(conformers, key=lambda atoms: -atoms.get_distance(proton, acceptor))
    starts = [("conformer", closed.copy()), ("moved", over(closed, proton, donor, acceptor))]
    rings = list(relaxed(starts))
    starts = [("conformer", atoms) for atoms in furthest[:OPEN]]
    starts += [("torsion", atoms) for atoms in islice(at_angles(molecule, closed, rng), ANGLES)]
    frames = [*rings, *relaxed(starts)]
    if len(rings) == 2:
        one, other = rings
        frames += [frame for frame in on_its_way(one, other, rng) if apart(frame)]
    for frame in frames:
        frame.info["smiles"] = flat(smiles)
    return frames


def over(closed: Atoms, proton: int, donor: int, acceptor: int) -> Atoms:
    """Geometry with the proton bound to the acceptor."""
    atoms = closed.copy()
    towards = atoms.positions[donor] - atoms.positions[acceptor]
    atoms.positions[proton] = atoms.positions[acceptor] + BOUND * towards / np.linalg.norm(towards)
    return atoms


def on_its_way(one: Atoms, other: Atoms, rng: np.random.Generator) -> Iterator[Atoms]:
    """Points on a straight line between two geometries, displaced at random."""
    other = other.copy()
    minimize_rotation_and_translation(one, other)
    for share in rng.uniform(*ON_ITS_WAY, MOVING):
        atoms = Atoms(one.numbers, (1 - share) * one.positions + share * other.positions)
        atoms.positions += rng.normal(scale=DISPLACED, size=atoms.positions.shape)
        atoms.info["kind"] = "proton"
        yield atoms


if __name__ == "__main__":
    main()
