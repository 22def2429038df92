"""Molecules of four to nine heavy atoms, one class of compounds after another, displaced at 300 K.

python -m research.geometries.larger --seed 0 --output runs/geometries/larger.xyz

The energy of a chain or a branched alkane is a sum of many equal contributions, and the errors of
a network that has labels of small molecules only add up.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms

from research.geometries import names, xtb
from research.geometries.sampling import from_minima, generator
from research.geometries.store import Entry, command

#: Temperatures of the displacements along modes, K; none is at a minimum.
TEMPERATURES_K = (200.0, 600.0)


def entries(seed: int) -> list[Entry]:
    """All molecules of the list; the seed changes their conformers only."""
    del seed
    return names.read("larger")


def sample(entry: Entry, seed: int, draw: int) -> list[Atoms]:
    """Two geometries of one conformer."""
    rng = generator("larger", entry.smiles, seed, draw)
    label = {"family": "molecules", "kind": entry.kind, "start": entry.smiles, "draw": draw}
    return from_minima(label, rng, lambda _, parts: drawn(parts[0], rng))


def drawn(best: Atoms, rng: np.random.Generator) -> Iterator[tuple[str, Atoms]]:
    """Yield how each geometry was made, and the geometry."""
    for atoms in xtb.along_modes(best, 0, TEMPERATURES_K, 2, rng):
        yield "modes", atoms


if __name__ == "__main__":
    command(entries, sample)
