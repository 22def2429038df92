"""The commonest small molecules, and pairs of them at distances around their minimum.

python -m research.geometries.everyday --seed 0 --draws 2 --output runs/geometries/everyday.xyz

What the functional groups of large molecules do to one another is learnt from these, because the
molecules themselves are known so well that little but the interaction is left.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from ase import Atoms

from research.geometries import names, xtb
from research.geometries.bonding import canonical
from research.geometries.clusters import STEPS, assembled, pulled, pushed, shaken
from research.geometries.contacts import standard
from research.geometries.ions import size
from research.geometries.sampling import frames_of, from_minima, generator
from research.geometries.store import Entry, command

#: Most atoms of a pair.
LARGEST = 15
#: Changes of the separation, Angstrom: compressed, slightly stretched, further apart.
SHIFTS = ((-0.5, -0.05), (0.05, 0.6), (0.6, 2.0))
#: Temperature of the short run, K, and its steps.
HOT_K, HOT_STEPS = (200.0, 600.0), (20, 80)


def entries(seed: int) -> list[Entry]:
    """The list and all pairs, a molecule with itself too; the seed changes geometries only."""
    del seed
    common = [entry.smiles for entry in names.read("everyday")]
    pairs = itertools.combinations_with_replacement(common, 2)
    smiles = [canonical(f"{one}.{other}") for one, other in pairs]
    return [
        *(Entry(smiles=s, kind="everyday molecule") for s in common),
        *(Entry(smiles=s, kind="everyday pair") for s in smiles if size(s) <= LARGEST),
    ]


def sample(entry: Entry, seed: int, draw: int) -> list[Atoms]:
    """Geometries of a molecule or pair; no pair of benchmark molecules is near its minimum."""
    if entry.kind == "everyday molecule":
        return frames_of(entry.smiles, entry.kind, "molecules", seed, draw + 1)  # 0 has few
    rng = generator("everyday", entry.smiles, seed, draw)
    benchmark = standard().issuperset(entry.smiles.split("."))
    label = {"family": "contacts", "kind": entry.kind, "start": entry.smiles, "draw": draw}
    return from_minima(label, rng, lambda _, parts: drawn(parts, benchmark, rng))


def drawn(
    parts: list[Atoms], benchmark: bool, rng: np.random.Generator
) -> Iterator[tuple[str, Atoms]]:
    """Yield how each geometry was made, and the geometry."""
    sizes = [len(atoms) for atoms in parts]
    start = assembled(parts, [0] * len(parts), rng)
    best = xtb.relaxed(start, 0, steps=int(rng.integers(*STEPS)))
    if best is None:
        return
    if not benchmark:
        yield "relaxed", shaken(best, rng)
    for shifts in SHIFTS:
        yield "pulled", pulled(best, sizes, rng, shifts)
    yield "pulled", pushed(best, sizes, rng)
    for atoms in xtb.hot(best, 0, rng.uniform(*HOT_K), [int(rng.integers(*HOT_STEPS))], rng):
        yield "hot", atoms


if __name__ == "__main__":
    command(entries, sample)
