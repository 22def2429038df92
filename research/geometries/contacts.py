"""Geometries of neutral dimers and clusters, from the repulsive wall to 6 Angstrom.

python -m research.geometries.contacts --seed 0 --draws 3 --output runs/geometries/contacts.xyz
"""

from __future__ import annotations

from functools import cache

import numpy as np
from ase import Atoms

from research.geometries import clusters, names
from research.geometries.bonding import canonical
from research.geometries.ions import size
from research.geometries.sampling import generator
from research.geometries.store import Entry, command

#: Limits to the number of atoms of most clusters and of large ones, and the share of the latter.
SMALL, LARGE, LARGE_SHARE = (10, 13, 16), 30, 0.12
#: Number of clusters of each kind.
PAIRS, TRIMERS, LARGER, HYDRATED, PURE = 320, 80, 40, 60, 45
#: Arrangements of each water cluster in a draw, and the difference of their seeds.
ARRANGEMENTS, SEED_STEP = 4, 1000
#: Kind of a contact, and the kinds of its two molecules.
BINDING = (
    ("hydrogen bond", "hydrogen bond donor", "hydrogen bond donor"),
    ("hydrogen bond", "hydrogen bond donor", "acceptor"),
    ("dispersion", "hydrocarbon", "hydrocarbon"),
    ("halogen contact", "halogenated", "acceptor"),
    ("halogen contact", "halogenated", "hydrogen bond donor"),
    ("mixed dimer", "hydrocarbon", "hydrogen bond donor"),
    ("mixed dimer", "acceptor", "hydrocarbon"),
    ("mixed dimer", "halogenated", "hydrocarbon"),
    ("dipole contact", "acceptor", "acceptor"),
    ("halogen contact", "halogenated", "halogenated"),
)


def entries(seed: int) -> list[Entry]:
    """Draw the clusters; they include every water cluster from two to eight molecules."""
    rng = generator("contacts", seed)
    groups = names.by_kind("monomers")
    everything = [smiles for group in groups.values() for smiles in group]
    found: dict[str, str] = {}
    for kind, one, other in BINDING:
        number = PAIRS // 5 if kind == "dispersion" else PAIRS // 8
        draw(found, kind, [groups[one], groups[other]], number, rng)
    draw(found, "dimer of one molecule", [everything], PURE, rng, copies=2)
    draw(found, "trimer", [everything] * 3, TRIMERS, rng)
    draw(found, "trimer of one molecule", [everything], PURE // 3, rng, copies=3)
    for number in (4, 5, 6, 8):
        draw(found, "cluster", [everything] * number, LARGER // 4, rng, largest=LARGE)
    for number in (1, 2, 3, 4, 6):
        pools = [everything, *[["O"]] * number]
        draw(found, "solute in water", pools, HYDRATED // 5, rng, largest=LARGE)
    for number in range(2, 9):
        found[".".join(["O"] * number)] = "water cluster"
    return [Entry(smiles=canonical(smiles), kind=kind) for smiles, kind in found.items()]


def draw(
    found: dict[str, str],
    kind: str,
    pools: list[list[str]],
    number: int,
    rng: np.random.Generator,
    *,
    copies: int = 1,
    largest: int | None = None,
) -> None:
    """Add ``number`` new clusters to ``found``, with one molecule from each pool.

    Parameters
    ----------
    copies : copies of each molecule in the cluster.
    largest : largest number of atoms; by default mostly one of `SMALL`, sometimes `LARGE`.
    """
    wanted = len(found) + number
    for _ in range(200 * number):
        if len(found) >= wanted:
            return
        chosen = sorted(str(rng.choice(pool)) for pool in pools) * copies
        name = ".".join(chosen)
        limit = largest or (LARGE if rng.random() < LARGE_SHARE else rng.choice(SMALL))
        if name not in found and size(name) <= limit:
            found[name] = kind


def sample(entry: Entry, seed: int, draw_number: int) -> list[Atoms]:
    """Geometries of one cluster; water clusters have several arrangements.

    Dimers of two benchmark molecules have no geometry near their minimum.
    """
    parts = [canonical(part) for part in entry.smiles.split(".")]
    benchmark = len(parts) == 2 and standard().issuperset(parts)
    repeats = ARRANGEMENTS if entry.kind == "water cluster" else 1
    frames: list[Atoms] = []
    for repeat in range(repeats):
        frames += clusters.frames_of(
            entry.smiles,
            entry.kind,
            "contacts",
            seed + SEED_STEP * repeat,
            draw_number,
            at_minimum=not benchmark,
        )
    return frames


@cache
def standard() -> frozenset[str]:
    """Canonical SMILES of the molecules of benchmark dimers."""
    return frozenset(entry.smiles for entry in names.read("standard"))


if __name__ == "__main__":
    command(entries, sample)
