"""Geometries of molecules with functional groups that are difficult for a potential.

python -m research.geometries.limits --seed 0 --draws 4 --output runs/geometries/limits.xyz
"""

from __future__ import annotations

from ase import Atoms

from research.geometries import names
from research.geometries.sampling import frames_of
from research.geometries.store import Entry, command


def entries(seed: int) -> list[Entry]:
    """All molecules of the list; the seed changes their geometries only."""
    del seed
    return names.read("limits")


def sample(entry: Entry, seed: int, draw: int) -> list[Atoms]:
    """Geometries of one molecule."""
    return frames_of(entry.smiles, entry.kind, "limits", seed, draw)


if __name__ == "__main__":
    command(entries, sample)
