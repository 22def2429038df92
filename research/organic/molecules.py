"""Collects the molecules of `organic`, and decides the part that each belongs to.

    python -m research.organic.molecules --monomers FOLDER/des-monomers/conformers.xyz.gz

There are three kinds: monomers of the SPICE dataset, known molecules (seeds.smi), and molecules
that RDKit assembles from fragments of both (BRICS rules), with at most 40 atoms, or with at most
18, which are cheap to label. The drugs of drugs.smi are for tests only. A hash of the molecule
decides the part, so the part does not change if molecules are added. A second round has more
molecules for training. Writes molecules.csv.
"""

from __future__ import annotations

import argparse
import gzip
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from rdkit import Chem, rdBase
from rdkit.Chem import BRICS, Descriptors

from research.paths import ORGANIC
from research.splits import part_by_hash
from research.tables import read_rows, write_rows

#: Columns: smiles, kind, part, atoms (hydrogens included), round.
TABLE = ORGANIC / "molecules.csv"
ELEMENTS = {"H", "C", "N", "O", "F", "S", "Cl"}
#: For each round: number of assembled molecules by their largest number of atoms.
ASSEMBLED: tuple[dict[int, int], ...] = ({40: 1500, 18: 800}, {28: 2400})
PARTS = ("train", "validation", "test")


def main() -> None:
    """Collect the molecules, assign parts, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--monomers", type=Path, required=True)
    arguments = parser.parse_args()
    rdBase.DisableLog("rdApp.*")
    drugs = {key(m): m for m in read_smiles(ORGANIC / "drugs.smi")}
    rows = {k: (m, "drug", "drugs", 1) for k, m in drugs.items()}
    with gzip.open(arguments.monomers, "rt") as file:
        monomers = dict.fromkeys(re.findall(r'\bname="?([^"\s]+)', file.read()))
    kinds = {
        "monomer": [Chem.MolFromSmiles(smiles) for smiles in monomers],
        "known": list(read_smiles(ORGANIC / "seeds.smi")),
    }
    parents = [*kinds["monomer"], *kinds["known"]]
    for round_, sizes in enumerate(ASSEMBLED, start=1):
        for largest, number in sizes.items():
            found = list(assembled(parents, largest, number, seed=round_ - 1))
            kinds[f"assembled, up to {largest} atoms"] = found
        for kind, molecules in kinds.items():
            for molecule in molecules:
                where = part_by_hash(key(molecule))
                if round_ == 1 or where == "train":
                    rows.setdefault(key(molecule), (molecule, kind, where, round_))
    write_molecules(
        [
            {
                "smiles": Chem.MolToSmiles(molecule),
                "kind": kind,
                "part": where,
                "atoms": n_atoms(molecule),
                "round": round_,
            }
            for molecule, kind, where, round_ in rows.values()
        ]
    )


def read_molecules() -> list[dict[str, str]]:
    """Read the table."""
    return read_rows(TABLE)


def write_molecules(rows: Sequence[Mapping[str, object]]) -> None:
    """Replace the table."""
    write_rows(TABLE, rows, line_end="\n")


def read_smiles(file: Path) -> Iterator[Chem.Mol]:
    """Read the molecules of a file with one SMILES and name per line."""
    for line in file.read_text().splitlines():
        yield Chem.MolFromSmiles(line.split()[0])


def read_names(file: Path) -> dict[str, str]:
    """Read SMILES by name from a file with one SMILES and name per line."""
    return {name: smiles for smiles, name in map(str.split, file.read_text().splitlines())}


def key(molecule: Chem.Mol) -> str:
    """First block of the InChIKey, which is the same for tautomers that InChI recognises."""
    return Chem.MolToInchiKey(molecule).split("-")[0]


def n_atoms(molecule: Chem.Mol) -> int:
    """Number of atoms, including hydrogens."""
    return Chem.AddHs(molecule).GetNumAtoms()


def suitable(molecule: Chem.Mol, largest: int) -> bool:
    """Whether a molecule is neutral, closed-shell, not too large and has only :data:`ELEMENTS`."""
    return (
        {atom.GetSymbol() for atom in Chem.AddHs(molecule).GetAtoms()} <= ELEMENTS
        and n_atoms(molecule) <= largest
        and not any(atom.GetFormalCharge() for atom in molecule.GetAtoms())
        and not Descriptors.NumRadicalElectrons(molecule)
    )


def assembled(parents: list[Chem.Mol], largest: int, number: int, seed: int) -> Iterator[Chem.Mol]:
    """Assemble new molecules, each from a few random fragments."""
    smiles = sorted({f for parent in parents for f in BRICS.BRICSDecompose(parent)})
    fragments = [Chem.MolFromSmiles(f) for f in smiles if "*" in f]
    fragments = [f for f in fragments if n_atoms(f) < largest]
    random.seed(seed)  # BRICSBuild uses the global generator
    found: set[str] = set()
    while len(found) < number:
        few = random.sample(fragments, 5)
        products = list(islice(BRICS.BRICSBuild(few, scrambleReagents=True, maxDepth=2), 25))
        random.shuffle(products)
        for molecule in products:
            Chem.SanitizeMol(molecule)
            if suitable(molecule, largest) and key(molecule) not in found:
                found.add(key(molecule))
                yield molecule
                break


if __name__ == "__main__":
    main()
