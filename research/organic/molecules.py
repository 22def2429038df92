"""Molecules that `organic` is trained and tested on, and the part that each belongs to.

    python -m research.organic.molecules --monomers FOLDER/des-monomers/conformers.xyz.gz

Three kinds: the monomers of the SPICE dataset, known molecules (seeds.smi), and molecules that
RDKit assembles from fragments of both (BRICS rules): of at most 40 atoms, and small ones of at most
18, which are cheap for quantum chemistry. The drugs of drugs.smi are for tests only. A hash of the
molecule decides the part, so it stays the same when molecules are added; a second round added more
to train on. Writes molecules.csv.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from rdkit import Chem, rdBase
from rdkit.Chem import BRICS, Descriptors

from research.paths import ORGANIC
from research.tables import read_rows, write_rows

#: Columns: smiles, kind, part, atoms (hydrogens included), round.
TABLE = ORGANIC / "molecules.csv"
ELEMENTS = {"H", "C", "N", "O", "F", "S", "Cl"}
#: Of each round: most atoms of what is assembled, and how many of that.
ASSEMBLED: tuple[dict[int, int], ...] = ({40: 1500, 18: 800}, {28: 2400})
#: Percent of the molecules.
VALIDATION, TEST = 4, 6


def main() -> None:
    """Collect, part, write."""
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
                where = part(key(molecule))
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
    """Rows of the table."""
    return read_rows(TABLE)


def write_molecules(rows: Sequence[Mapping[str, object]]) -> None:
    """Replace the table."""
    write_rows(TABLE, rows, line_end="\n")


def read_smiles(file: Path) -> Iterator[Chem.Mol]:
    """One molecule a line, its name behind it."""
    for line in file.read_text().splitlines():
        yield Chem.MolFromSmiles(line.split()[0])


def key(molecule: Chem.Mol) -> str:
    """The same for each tautomer that InChI knows, and whatever the SMILES: the first block."""
    return Chem.MolToInchiKey(molecule).split("-")[0]


def part(name: str) -> str:
    """By a hash: train, validation or test."""
    percent = int(hashlib.sha256(name.encode()).hexdigest(), 16) % 100
    if percent < TEST:
        return "test"
    return "validation" if percent < TEST + VALIDATION else "train"


def n_atoms(molecule: Chem.Mol) -> int:
    """Hydrogens counted."""
    return Chem.AddHs(molecule).GetNumAtoms()


def suitable(molecule: Chem.Mol, largest: int) -> bool:
    """Neutral, closed shell, of our elements, not too large."""
    return (
        {atom.GetSymbol() for atom in Chem.AddHs(molecule).GetAtoms()} <= ELEMENTS
        and n_atoms(molecule) <= largest
        and not any(atom.GetFormalCharge() for atom in molecule.GetAtoms())
        and not Descriptors.NumRadicalElectrons(molecule)
    )


def assembled(parents: list[Chem.Mol], largest: int, number: int, seed: int) -> Iterator[Chem.Mol]:
    """New molecules: of a few random fragments each time, the first that they give."""
    smiles = sorted({f for parent in parents for f in BRICS.BRICSDecompose(parent)})
    fragments = [Chem.MolFromSmiles(f) for f in smiles if "*" in f]
    fragments = [f for f in fragments if n_atoms(f) < largest]
    random.seed(seed)  # BRICSBuild draws from the global generator
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
