"""The molecules that `organic` is trained and tested on: which there are, and which part is which.

    python models/organic/molecules.py --monomers ../shared/data/des-monomers/conformers.xyz.gz

Three kinds: the monomers of the SPICE dataset, known molecules (seeds.smi), and molecules that
RDKit assembles from the fragments of both (BRICS rules): of at most 40 atoms, and small ones of at
most 18, which quantum chemistry is cheap for. The drugs of drugs.smi are for tests alone. The part
is decided by a hash of the molecule, so it stays when molecules are added: a second round added
more to train on. Writes molecules.csv.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import random
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from rdkit import Chem, RDLogger
from rdkit.Chem import BRICS, Descriptors

HERE = Path(__file__).parent
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
    RDLogger.DisableLog("rdApp.*")
    drugs = {key(m): m for m in read_smiles(HERE / "drugs.smi")}
    rows = {k: (m, "drug", "drugs", 1) for k, m in drugs.items()}
    with gzip.open(arguments.monomers, "rt") as file:
        monomers = dict.fromkeys(re.findall(r'\bname="?([^"\s]+)', file.read()))
    kinds = {
        "monomer": [Chem.MolFromSmiles(smiles) for smiles in monomers],
        "known": list(read_smiles(HERE / "seeds.smi")),
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
    with (HERE / "molecules.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["smiles", "kind", "part", "atoms", "round"])
        for molecule, *columns, round_ in rows.values():
            smiles = Chem.MolToSmiles(molecule)
            writer.writerow([smiles, *columns, n_atoms(molecule), round_])


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
