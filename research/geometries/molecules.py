"""Geometries of small neutral molecules of H, C, N, O, F, S, Cl: enumerated, and from `organic`.

python -m research.geometries.molecules --seed 0 --draws 4 --output runs/geometries/molecules.xyz
"""

from __future__ import annotations

import csv
import gzip
import io
from functools import lru_cache
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import iread

from research.geometries import enumeration
from research.geometries.bonding import canonical, perceived
from research.geometries.sampling import frames_of, generator
from research.geometries.store import Entry, command
from research.splits import PARTS, part_of

#: Molecules and geometries of the model `organic`.
ORGANIC = Path(__file__).parents[1] / "organic"
#: Number of enumerated molecules.
NUMBER = 800
#: Limits for geometries of `organic`: number of atoms, and number of geometries of a molecule.
LARGEST, PER_MOLECULE = 16, 4
OLD = "old"
#: How the kinds of geometries of `organic` were sampled.
SAMPLINGS = {
    "modes": "modes",
    "hot": "hot",
    "monomer": "hot",
    "3bpa": "hot",
    "torsion": "torsion",
    "turned": "torsion",
    "conformer": "relaxed",
    "stretched": "stretched",
    "proton": "stretched",
    "moved": "relaxed",
    "pair": "pulled",
    "bound": "pulled",
    "pulled": "pulled",
}
#: Kinds with two molecules, which are named after the first one.
PAIRS = ("pair", "bound", "pulled")


def entries(seed: int) -> list[Entry]:
    """Enumerate molecules with the seed, and add those of `organic`."""
    old = old_geometries()
    with (ORGANIC / "molecules.csv").open() as file:
        known = frozenset(canonical(row["smiles"]) for row in csv.DictReader(file))
    new = enumeration.molecules(NUMBER, generator("enumeration", seed), known | old.keys())
    return [
        *(Entry(smiles=smiles, kind="enumerated") for smiles in new),
        *(Entry(smiles=smiles, kind=OLD) for smiles in old),
    ]


def sample(entry: Entry, seed: int, draw: int) -> list[Atoms]:
    """Geometries of one molecule; one of `organic` has its old geometries, in the first draw."""
    if entry.kind != OLD:
        return frames_of(entry.smiles, entry.kind, "molecules", seed, draw)
    if draw > 0:
        return []
    frames = []
    for atoms in thinned(old_geometries()[entry.smiles], generator(entry.smiles, seed, OLD)):
        copy = atoms.copy()
        copy.info |= {"start": entry.smiles, "draw": draw}
        frames.append(copy)
    return frames


def thinned(frames: list[Atoms], rng: np.random.Generator) -> list[Atoms]:
    """Choose at most `PER_MOLECULE` frames, of as many kinds as possible."""
    left = [frames[k] for k in rng.permutation(len(frames))]
    found: list[Atoms] = []
    while left and len(found) < PER_MOLECULE:
        counts = [sum(a.info["kind"] == b.info["kind"] for b in found) for a in left]
        found.append(left.pop(int(np.argmin(counts))))
    return found


@lru_cache(maxsize=1)
def old_geometries() -> dict[str, list[Atoms]]:
    """Geometries of `organic` with at most `LARGEST` atoms, by canonical SMILES.

    Each keeps its part (training, validation, test) or goes to a stricter one.
    """
    found: dict[str, list[Atoms]] = {}
    for part in PARTS:
        with gzip.open(ORGANIC / "data" / f"{part}.xyz.gz", "rt") as file:
            text = io.StringIO(file.read())  # ASE seeks, for which gzip would decompress again
        for atoms in iread(text, format="extxyz"):
            kind = atoms.info["kind"]
            if len(atoms) > LARGEST:
                continue
            smiles: str | None = canonical(atoms.info["smiles"])
            if kind in PAIRS:
                smiles = perceived(atoms.numbers, atoms.positions)
            if smiles is None:
                continue
            frame = Atoms(atoms.numbers, atoms.positions)
            frame.info = {
                "family": "molecules",
                "kind": f"{OLD}-{kind}",
                "smiles": smiles,
                "sampling": SAMPLINGS[kind],
                "charge": 0,
                "part": min(part, part_of(smiles), key=PARTS.index),
            }
            found.setdefault(smiles, []).append(frame)
    return found


if __name__ == "__main__":
    command(entries, sample)
