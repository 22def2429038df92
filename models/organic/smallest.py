"""Molecules of a few atoms, what one tries first: H2, N2, HCl, ozone, strained rings, sulfur's.

    pip install '.[label]'
    python models/organic/smallest.py --output runs/geometries

Force fields know few of them and each is a chemistry of its own, so they come by name
(smallest.smi), all of them to train on but those that another part has; their labels cost next to
nothing. Each is relaxed by GFN2-xTB; geometries are displacements along its normal modes at random
temperatures, and the molecule swollen or shrunk. Adds a fourth round to molecules.csv and writes
smallest-train.xyz, which ``se3set-ase label`` takes.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.io import write
from ase.optimize import BFGS
from molecules import HERE, key, n_atoms, read_smiles
from rdkit import Chem, RDLogger
from rdkit.Chem import AllChem
from structures import apart, displaced, generator
from tblite.ase import TBLite
from tqdm import tqdm

ROUND = 4
#: Geometries of each molecule along modes, at temperatures (K) between, and swollen, by between.
MODES, MODES_K = 6, (100.0, 3000.0)
SWOLLEN, SCALES = 4, (0.88, 1.5)
#: Bonds, in sums of covalent radii.
BONDED = 1.3


def main() -> None:
    """Add to the table, make, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("runs/geometries"))
    arguments = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    path = HERE / "molecules.csv"
    with path.open() as file:
        rows = [row for row in csv.DictReader(file) if int(row["round"]) != ROUND]
    part_of = {key(Chem.MolFromSmiles(row["smiles"])): row["part"] for row in rows}
    frames = []
    for molecule in tqdm(list(read_smiles(HERE / "smallest.smi")), "molecules", disable=None):
        found = list(geometries(molecule)) if part_of.get(key(molecule), "train") == "train" else []
        if found and key(molecule) not in part_of:
            columns = {"kind": "smallest", "part": "train", "atoms": n_atoms(molecule)}
            rows.append({"smiles": name_of(molecule), **columns, "round": ROUND})
        frames += found
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write(arguments.output / "smallest-train.xyz", frames, format="extxyz")
    print(f"{len(frames)} of {len({atoms.info['smiles'] for atoms in frames})} molecules")


def name_of(molecule: Chem.Mol) -> str:
    """Its SMILES; hydrogen fluoride's, F, is read from extended XYZ as the logical value."""
    smiles = Chem.MolToSmiles(molecule)
    return "[H]F" if smiles == "F" else smiles


def geometries(molecule: Chem.Mol) -> Iterator[Atoms]:
    """Of one molecule; none where it falls apart or into another."""
    smiles = name_of(molecule)
    rng = generator(f"{smiles} smallest")
    atoms = relaxed(molecule, int(rng.integers(2**31)))
    if atoms is None:
        return

    def gradient(flat: np.ndarray) -> np.ndarray:
        moved = Atoms(atoms.numbers, flat.reshape(-1, 3), calculator=atoms.calc)
        return -moved.get_forces().ravel()

    found = [("modes", moved) for moved in displaced(atoms, gradient, MODES_K, MODES, rng)]
    for scale in rng.uniform(*SCALES, SWOLLEN):
        moved = Atoms(atoms.numbers, scale * atoms.positions)
        moved.positions += 0.03 * rng.standard_normal(moved.positions.shape)
        found.append(("stretched", moved))
    for kind, moved in found:
        if apart(moved):
            moved.info = {"smiles": smiles, "kind": kind}
            yield moved


def relaxed(molecule: Chem.Mol, seed: int) -> Atoms | None:
    """At a minimum of GFN2-xTB with the bonds that it should have, or None."""
    whole = Chem.AddHs(molecule)
    if AllChem.EmbedMolecule(whole, randomSeed=seed) != 0:
        return None
    numbers = [atom.GetAtomicNum() for atom in whole.GetAtoms()]
    atoms = Atoms(numbers, whole.GetConformer().GetPositions())
    # So that no symmetry keeps it from its minimum.
    atoms.positions += 0.02 * np.random.default_rng(seed).standard_normal(atoms.positions.shape)
    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
    if not BFGS(atoms, logfile=None).run(fmax=0.005, steps=300):
        return None
    radii = covalent_radii[atoms.numbers]
    near = atoms.get_all_distances() < BONDED * (radii[:, None] + radii)
    bonds = Chem.GetAdjacencyMatrix(whole).astype(bool) | np.eye(len(atoms), dtype=bool)
    return atoms if (near == bonds).all() else None


if __name__ == "__main__":
    main()
