"""Two flat molecules, stacked or perpendicular.

python -m research.geometries.stacks --seed 0 --output runs/geometries/stacks.xyz

Random contacts rarely stack, and stacks of aromatic rings touch with all their atoms at once.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms
from scipy.spatial.transform import Rotation

from research.geometries import names, xtb
from research.geometries.bonding import canonical
from research.geometries.clusters import in_contact
from research.geometries.contacts import standard
from research.geometries.sampling import from_minima, generator
from research.geometries.store import Entry, command

#: Number of pairs, and how many of them contain two rings.
PAIRS, OF_RINGS = 240, 160
#: Angstrom: distance of the planes, and largest shift along them.
HEIGHT, SHIFT = (2.9, 4.6), 2.2
#: Shortest distance of a perpendicular pair, in units of the sum of van der Waals radii.
CONTACT = (0.75, 1.0)
#: Steps of a relaxation, which ends before the minimum; displacements afterwards, Angstrom.
STEPS, NOISE = (4, 25), 0.02


def entries(seed: int) -> list[Entry]:
    """Pairs that are drawn with the seed; of two benchmark molecules there is none."""
    rng = generator("stacks", seed)
    flat = names.by_kind("flat")
    found: dict[str, None] = {}
    while len(found) < PAIRS:
        one = str(rng.choice(flat["ring"]))
        other = str(rng.choice(flat["ring" if len(found) < OF_RINGS else "chain"]))
        if not standard().issuperset((one, other)):
            found[canonical(f"{one}.{other}")] = None
    return [Entry(smiles=smiles, kind="stack") for smiles in found]


def sample(entry: Entry, seed: int, draw: int) -> list[Atoms]:
    """A relaxed stack, an unrelaxed one and a perpendicular pair."""
    rng = generator("stack", entry.smiles, seed, draw)
    label = {"family": "contacts", "kind": entry.kind, "start": entry.smiles, "draw": draw}
    return from_minima(label, rng, lambda _, parts: drawn(parts, rng))


def drawn(parts: list[Atoms], rng: np.random.Generator) -> Iterator[tuple[str, Atoms]]:
    """Yield how each geometry was made, and the geometry."""
    one, other = map(in_plane, parts)
    close = xtb.relaxed(stacked(one, other, rng), 0, steps=int(rng.integers(*STEPS)))
    if close is not None:
        close.positions += NOISE * rng.standard_normal(close.positions.shape)
        yield "relaxed", close
    yield "pulled", stacked(one, other, rng)
    across = turned(other, Rotation.from_euler("zx", [rng.uniform(0, 360), 90], degrees=True))
    yield "pulled", in_contact(one, across, np.array([0.0, 0.0, 1.0]), rng.uniform(*CONTACT))


def stacked(one: Atoms, other: Atoms, rng: np.random.Generator) -> Atoms:
    """The other molecule above the first one, turned about the normal and shifted."""
    spin = Rotation.from_euler("z", rng.uniform(0, 360), degrees=True)
    flip = Rotation.from_euler("x", 180 * int(rng.integers(2)), degrees=True)
    above = turned(other, spin * flip)
    above.positions += [*rng.uniform(-SHIFT, SHIFT, size=2), rng.uniform(*HEIGHT)]
    return one + above


def turned(atoms: Atoms, rotation: Rotation) -> Atoms:
    """A rotated copy."""
    return Atoms(atoms.numbers, rotation.apply(atoms.positions))


def in_plane(atoms: Atoms) -> Atoms:
    """A copy whose plane is that of x and y, with the mean position at the origin."""
    centred = atoms.positions - atoms.positions.mean(axis=0)
    axes = np.linalg.svd(centred)[2]
    return Atoms(atoms.numbers, centred @ axes.T)


if __name__ == "__main__":
    command(entries, sample)
