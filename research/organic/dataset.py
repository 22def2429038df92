"""Adds labels by density functional theory to those in research/organic/data.

    python -m research.organic.dataset --labels runs/geometries
    python -m research.organic.dataset --monomers FOLDER/des-monomers/wb97x.xyz.gz \\
        --bpa runs/data/3bpa_train.xyz    # published labels of the same level; done once

From runs/geometries it reads wb97x-PART*.xyz, conformers, torsions, dimers, drugs and dissociated
bonds (torn). Monomers have geometries of SPICE. A few geometries of 3-BPA, for training only, are
from the training data of models/3bpa (BOTNet). Errors are raised if the level or the settings of
labels differ from those of labels.json, if a molecule belongs to another part, and if an element is
missing in a part. Known geometries are not changed. Digits beyond the noise of the labels are
dropped.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections import Counter
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from rdkit import Chem

from research.organic.molecules import PARTS, read_molecules
from research.paths import ORGANIC
from se3set_ase.io.extended_xyz import frames_of_file
from se3set_ase.io.files import write_atomically

DATA = ORGANIC / "data"
LEVEL = "wB97X/6-31G(d)"
REFERENCES = ("conformers", "torsions", "dimers", "drugs", "torn")
#: Files with molecules of the test part only.
OF_TESTS = ("conformers", "torsions")
#: Entries of ``info`` that are kept.
KEPT = ("smiles", "kind", "angle", "shift")
#: Decimals of positions (Angstrom), forces (eV/Angstrom) and energies (eV).
POSITIONS, FORCES, ENERGY = 5, 4, 5
BPA = "Nc1ncccc1OCc1ccccc1"
#: Number of its geometries, a small part of the data.
BPA_FRAMES = 50


def main() -> None:
    """Read the labels, check them, write and count them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--monomers", type=Path)
    parser.add_argument("--bpa", type=Path)
    arguments = parser.parse_args()
    part_of = {row["smiles"]: row["part"] for row in read_molecules()}
    sets = {name: list(there(name)) for name in (*PARTS, *REFERENCES)}
    if arguments.labels:
        for name, found in sets.items():
            for path in sorted(arguments.labels.glob(f"wb97x-{name}*.xyz")):
                found += frames(path)
    for atoms in labelled(arguments.monomers):
        smiles = Chem.MolToSmiles(Chem.MolFromSmiles(atoms.info["name"]))
        if part_of.get(smiles) in PARTS:
            sets[part_of[smiles]].append(kept(atoms, smiles=smiles, kind="monomer"))
    bpa = [kept(a, smiles=BPA, kind="3bpa") for a in labelled(arguments.bpa)]
    sets["train"] += bpa[:: max(1, len(bpa) // BPA_FRAMES)][:BPA_FRAMES]
    parts = {name: sets[name] for name in PARTS}
    tests = {smiles for smiles, part in part_of.items() if part == "test"}
    elements = {part: {z for a in found for z in a.numbers} for part, found in parts.items()}
    if elements["train"] != elements["validation"] or elements["train"] != elements["test"]:
        raise ValueError(f"expected the same elements everywhere, got {elements}")
    for part, found in parts.items():
        elsewhere = {a.info["smiles"] for a in found if part_of.get(a.info["smiles"]) != part}
        if elsewhere - {BPA}:
            raise ValueError(f"expected molecules of {part}, got {sorted(elsewhere)[:3]}")
    for name in OF_TESTS:
        if elsewhere := {a.info["smiles"] for a in sets[name]} - tests:
            raise ValueError(f"{name}: expected molecules of test, got {sorted(elsewhere)[:3]}")
    for name, found in sets.items():
        if found:
            save(
                name, list({fingerprint(atoms): atoms for atoms in reversed(found)}.values())[::-1]
            )


def there(name: str) -> Iterator[Atoms]:
    """Read the frames collected before, unchanged."""
    if (path := DATA / f"{name}.xyz.gz").exists():
        yield from labelled(path)


def labelled(path: Path | None) -> Iterator[Atoms]:
    """Read the frames of a file, compressed or not; an empty list if it does not exist."""
    if path is not None:
        yield from frames_of_file(path)


def frames(path: Path) -> Iterator[Atoms]:
    """Read labels of ``se3set-ase label``; ValueError for another level or other settings."""
    settings = json.loads(Path(f"{path}.json").read_text())["settings"]
    if path.stem.startswith("wb97x-torn") or not settings.get("unrestricted"):
        settings.pop("unrestricted", None)  # only dissociated bonds are unrestricted
    if settings != (expected := json.loads((DATA / "labels.json").read_text())):
        raise ValueError(f"{path}: expected labels by {expected}, got {settings}")
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


def fingerprint(atoms: Atoms) -> tuple[str, bytes]:
    """Key that is equal for equal geometries only."""
    # Adding zero removes the sign of zero, which a file does not have.
    return atoms.info["smiles"], (atoms.positions.round(POSITIONS) + 0.0).tobytes()


def save(name: str, found: list[Atoms]) -> None:
    """Write a compressed file, with the same bytes for the same frames."""
    text = StringIO()
    write(text, found, format="extxyz")
    write_atomically(DATA / f"{name}.xyz.gz", gzip.compress(text.getvalue().encode(), mtime=0))
    kinds = Counter(atoms.info["kind"] for atoms in found)
    molecules = len({atoms.info["smiles"] for atoms in found})
    atoms_each = np.mean([len(atoms) for atoms in found])
    print(f"{name}: {len(found)} of {molecules} molecules, {atoms_each:.1f} atoms, {dict(kinds)}")


if __name__ == "__main__":
    main()
