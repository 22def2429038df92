"""Collects the labels by density functional theory into models/organic/data.

    python models/organic/dataset.py --labels runs/organic \\
        --monomers ../shared/data/des-monomers/wb97x.xyz.gz --bpa runs/data/3bpa_train.xyz

Of runs/organic it takes wb97x-PART*.xyz, the conformers, torsions, dimers and drugs. What others
have at the same level goes with it: monomers (SPICE's geometries), and for training alone a few of
3-BPA (of BOTNet's geometries those that models/3bpa is trained on). Refuses labels of another level
or other settings, a frame of a molecule that is of another part, and a part that lacks an element.
Digits beyond the noise of the labels are dropped; the settings are written to labels.json.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
from collections import Counter
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import iread, write
from rdkit import Chem

from se3set_ase.files import unpacked, write_atomically

HERE = Path(__file__).parent
LEVEL = "wB97X/6-31G(d)"
PARTS = ("train", "validation", "test")
REFERENCES = ("conformers", "torsions", "dimers", "drugs")
#: What a frame tells of itself.
KEPT = ("smiles", "kind", "angle", "shift")
#: Decimals of Angstrom, of eV/Angstrom and of eV.
POSITIONS, FORCES, ENERGY = 5, 4, 5
BPA = "Nc1ncccc1OCc1ccccc1"
#: Geometries of it: more would be most of the data.
BPA_FRAMES = 50


def main() -> None:
    """Read, check, write, count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--monomers", type=Path, required=True)
    parser.add_argument("--bpa", type=Path, required=True)
    arguments = parser.parse_args()
    with (HERE / "molecules.csv").open() as file:
        part_of = {row["smiles"]: row["part"] for row in csv.DictReader(file)}
    labels = [path for name in (*PARTS, *REFERENCES) for path in found_at(arguments.labels, name)]
    settings = {json.dumps(json.loads(Path(f"{p}.json").read_text())["settings"]) for p in labels}
    if len(settings) != 1:
        raise ValueError(f"expected labels of one kind, got {sorted(settings)}")
    parts: dict[str, list[Atoms]] = {part: [] for part in PARTS}
    for part in PARTS:
        for path in found_at(arguments.labels, part):
            parts[part] += frames(path)
    for atoms in labelled(arguments.monomers):
        smiles = Chem.MolToSmiles(Chem.MolFromSmiles(atoms.info["name"]))
        if part_of.get(smiles) in PARTS:
            parts[part_of[smiles]].append(kept(atoms, smiles=smiles, kind="monomer"))
    bpa = [kept(a, smiles=BPA, kind="3bpa") for a in labelled(arguments.bpa)]
    parts["train"] += bpa[:: len(bpa) // BPA_FRAMES][:BPA_FRAMES]
    elements = {part: {z for a in found for z in a.numbers} for part, found in parts.items()}
    if elements["train"] != elements["validation"] or elements["train"] != elements["test"]:
        raise ValueError(f"expected the same elements everywhere, got {elements}")
    for part, found in parts.items():
        elsewhere = {a.info["smiles"] for a in found if part_of.get(a.info["smiles"]) != part}
        if elsewhere - {BPA}:
            raise ValueError(f"expected molecules of {part}, got {sorted(elsewhere)[:3]}")
        save(part, found)
    for name in REFERENCES:
        if found := [a for path in found_at(arguments.labels, name) for a in frames(path)]:
            save(name, found)
    told = json.dumps(json.loads(settings.pop()), indent=1) + "\n"
    write_atomically(HERE / "data" / "labels.json", told.encode())


def found_at(folder: Path, name: str) -> list[Path]:
    """Files of labels of a part or a set of references."""
    return sorted(folder.glob(f"wb97x-{name}*.xyz"))


def labelled(path: Path) -> Iterator[Atoms]:
    """Frames of a file, packed or not."""
    yield from iread(unpacked(path), ":", format="extxyz")


def frames(path: Path) -> Iterator[Atoms]:
    """Of ``se3set-ase label``; ValueError for another level."""
    for atoms in labelled(path):
        if (level := atoms.info["level_of_theory"]) != LEVEL:
            raise ValueError(f"{path}: expected labels of {LEVEL}, got {level}")
        yield kept(atoms, **{key: atoms.info[key] for key in KEPT if key in atoms.info})


def kept(atoms: Atoms, **info: object) -> Atoms:
    """Geometry and labels, rounded."""
    new = Atoms(atoms.numbers, atoms.positions.round(POSITIONS), info=info)
    energy = round(float(atoms.get_potential_energy()), ENERGY)
    new.calc = SinglePointCalculator(new, energy=energy, forces=atoms.get_forces().round(FORCES))
    return new


def save(name: str, found: list[Atoms]) -> None:
    """Packed, the same bytes for the same frames."""
    text = StringIO()
    write(text, found, format="extxyz")
    path = HERE / "data" / f"{name}.xyz.gz"
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, gzip.compress(text.getvalue().encode(), mtime=0))
    kinds = Counter(atoms.info["kind"] for atoms in found)
    molecules = len({atoms.info["smiles"] for atoms in found})
    atoms_each = np.mean([len(atoms) for atoms in found])
    print(f"{name}: {len(found)} of {molecules} molecules, {atoms_each:.1f} atoms, {dict(kinds)}")


if __name__ == "__main__":
    main()
