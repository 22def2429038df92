"""Molecules of a few atoms that users try first: H2, N2, HCl, ozone, strained rings, sulfides.

    pip install '.[label]'
    python -m research.organic.smallest --output runs/geometries

Force fields cover few of them, and their chemistry is diverse, so they are listed in smallest.smi.
All belong to the training data, except those of another part; their labels are cheap. Each is
relaxed by GFN2-xTB; geometries are displacements along normal modes at random temperatures, and
uniform expansions and compressions. Single bonds are dissociated too, for unrestricted labels
(``--option unrestricted=true``). Adds a fourth round to molecules.csv and writes smallest-train.xyz
and torn-train.xyz for ``se3set-ase label``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.io import write
from ase.optimize import BFGS
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom
from tblite.ase import TBLite
from tqdm import tqdm

from research.organic.geometry import apart, as_atoms, generator, side
from research.organic.molecules import key, n_atoms, read_molecules, read_smiles, write_molecules
from research.organic.motion import displaced
from research.paths import ORGANIC

ROUND = 4
#: Numbers of displaced and of scaled geometries, and ranges of temperatures (K) and of scales.
MODES, MODES_K = 6, (100.0, 3000.0)
SWOLLEN, SCALES = 4, (0.88, 1.5)
#: Longest bond, in units of the sum of covalent radii.
BONDED = 1.3
#: Stretched bonds: largest number of atoms of a molecule, number of lengths for each single bond,
#: shortest length (relative to the minimum) and longest length (Angstrom).
STRETCHED_ATOMS, STRETCHES, SHORTEST, LONGEST = 8, 3, 1.2, 4.2
#: Single bonds, and the triple bond of N2. Other multiple bonds dissociate into special states.
BREAKABLE = [Chem.MolFromSmarts(smarts) for smarts in ("*-!@*", "[ND1]#[ND1]")]


def main() -> None:
    """Add molecules to the table and write their geometries."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("runs/geometries"))
    arguments = parser.parse_args()
    rdBase.DisableLog("rdApp.*")
    before = [row for row in read_molecules() if int(row["round"]) != ROUND]
    part_of = {key(Chem.MolFromSmiles(row["smiles"])): row["part"] for row in before}
    rows: list[dict[str, object]] = [{**row} for row in before]
    frames, pulled = [], []
    for molecule in tqdm(list(read_smiles(ORGANIC / "smallest.smi")), "molecules", disable=None):
        found = list(geometries(molecule)) if part_of.get(key(molecule), "train") == "train" else []
        if found and key(molecule) not in part_of:
            columns = {"kind": "smallest", "part": "train", "atoms": n_atoms(molecule)}
            rows.append({"smiles": name_of(molecule), **columns, "round": ROUND})
        frames += found
        pulled += list(dissociated(molecule)) if found else []
    write_molecules(rows)
    for name, those in (("smallest", frames), ("torn", pulled)):
        write(arguments.output / f"{name}-train.xyz", those, format="extxyz")
        print(f"{name}: {len(those)} of {len({a.info['smiles'] for a in those})} molecules")


def name_of(molecule: Chem.Mol) -> str:
    """SMILES without stereochemistry; not F for HF, which extended XYZ would read as false."""
    smiles = Chem.MolToSmiles(molecule)
    return "[H]F" if smiles == "F" else smiles


def geometries(molecule: Chem.Mol) -> Iterator[Atoms]:
    """Geometries of one molecule; none if it dissociates or rearranges."""
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


def dissociated(molecule: Chem.Mol) -> Iterator[Atoms]:
    """Geometries with one single bond outside rings stretched, slightly rattled."""
    smiles = name_of(molecule)
    rng = generator(f"{smiles} torn")
    atoms = relaxed(molecule, int(rng.integers(2**31)))
    whole = Chem.AddHs(molecule)
    if atoms is None or len(atoms) > STRETCHED_ATOMS:
        return
    equal = list(Chem.CanonicalRankAtoms(whole, breakTies=False))
    bonds = [bond for pattern in BREAKABLE for bond in whole.GetSubstructMatches(pattern)]
    different = {tuple(sorted((equal[i], equal[j]))): (i, j) for i, j in bonds}
    for one, other in different.values():
        moved_along = side(whole, one, other)
        length = atoms.get_distance(one, other)
        for wanted in rng.uniform(SHORTEST * length, LONGEST, STRETCHES):
            moved = Atoms(atoms.numbers, atoms.positions, info={"smiles": smiles, "kind": "torn"})
            along = atoms.get_distance(one, other, vector=True) / length
            moved.positions[moved_along] += (wanted - length) * along
            moved.positions += 0.03 * rng.standard_normal(moved.positions.shape)
            if apart(moved):
                yield moved


def relaxed(molecule: Chem.Mol, seed: int) -> Atoms | None:
    """Minimum of GFN2-xTB with the bonds of the molecule, or None."""
    whole = Chem.AddHs(molecule)
    if rdDistGeom.EmbedMolecule(whole, randomSeed=seed) != 0:
        return None
    atoms = as_atoms(whole, 0)
    # Breaks the symmetry, which could keep the molecule from its minimum.
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
