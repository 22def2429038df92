"""Rings of two to four small molecules that exchange protons at once.

python -m research.geometries.exchanges --seed 0 --output runs/geometries/exchanges.xyz

Reactants and products are the same, so the reactions of research.geometries.reactions lack them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from ase.constraints import FixAtoms
from ase.data import covalent_radii
from ase.optimize import BFGS
from scipy.spatial.transform import Rotation

from research.geometries import xtb
from research.geometries.bonding import canonical
from research.geometries.clusters import shaken
from research.geometries.sampling import from_minima, generator
from research.geometries.store import Entry, command

#: Molecules with one donor atom each; the first six are in rings of three and four too.
DONORS = ("O", "N", "F", "Cl", "CO", "CN", "S", "Br", "CS")
#: Number of rings of four, drawn from all; there are all rings of two and three.
OF_FOUR = 30
#: Geometries of each ring in a draw.
GEOMETRIES = 2
#: Distance of donor and acceptor, in units of the sum of their bonds to hydrogen.
EDGE = (1.08, 1.4)
#: Part of the way from the donor to the middle of the exchange, and how much each proton differs.
WAY, SPREAD = (0.0, 1.1), 0.05
#: Distance of the protons of two molecules from the line between the donors, Angstrom.
ASIDE = 0.6
#: Random turns of each molecule about its bond, and steps of the relaxation of its other atoms.
TURNS, STEPS = 6, 12


def entries(seed: int) -> list[Entry]:
    """All rings of two and three, and those of four that are drawn with the seed."""
    rng = generator("exchanges", seed)
    two, three, four = (
        [canonical(".".join(ring)) for ring in itertools.combinations_with_replacement(*chosen)]
        for chosen in ((DONORS, 2), (DONORS[:6], 3), (DONORS[:6], 4))
    )
    drawn_four = [str(ring) for ring in rng.choice(four, OF_FOUR, replace=False)]
    return [Entry(smiles=s, kind="proton exchange") for s in (*two, *three, *drawn_four)]


def sample(entry: Entry, seed: int, draw: int) -> list[Atoms]:
    """Geometries of one ring."""
    rng = generator("exchanges", entry.smiles, seed, draw)
    label = {"family": "contacts", "kind": entry.kind, "start": entry.smiles, "draw": draw}
    return from_minima(label, rng, lambda _, parts: drawn(parts, rng))


def drawn(parts: list[Atoms], rng: np.random.Generator) -> Iterator[tuple[str, Atoms]]:
    """Yield how each geometry was made, and the geometry."""
    for _ in range(GEOMETRIES):
        rings = [ring(parts, rng) for _ in range(TURNS)]
        start = rings[int(np.argmin([xtb.energy(atoms, 0) for atoms in rings]))]
        moving = xtb.with_gfn2(start, 0)
        moving.set_constraint(FixAtoms(ring_atoms(parts)))
        try:
            BFGS(moving, logfile=None).run(fmax=0.1, steps=STEPS)
        except CalculationFailed:
            continue
        yield "exchange", shaken(xtb.plain(moving), rng)


def ring_atoms(parts: list[Atoms]) -> list[int]:
    """Indices of the donor and the proton of each molecule in the ring."""
    starts = np.cumsum([0, *(len(atoms) for atoms in parts)])
    return [
        int(start) + k for start, atoms in zip(starts, parts, strict=False) for k in bond(atoms)
    ]


def bond(atoms: Atoms) -> tuple[int, int]:
    """Indices of the donor and of its closest hydrogen."""
    donor = next(k for k, number in enumerate(atoms.numbers) if number not in (1, 6))
    distances = np.where(atoms.numbers == 1, atoms.get_distances(donor, range(len(atoms))), np.inf)
    return donor, int(distances.argmin())


def ring(parts: list[Atoms], rng: np.random.Generator) -> Atoms:
    """Donors at the corners of a polygon in random order, protons on its sides."""
    corners, protons = places(parts, rng)
    placed = [
        outside(atoms, corner, proton, corners.mean(axis=0), rng)
        for atoms, corner, proton in zip(parts, corners, protons, strict=True)
    ]
    return Atoms(
        np.concatenate([atoms.numbers for atoms in placed]),
        np.concatenate([atoms.positions for atoms in placed]),
    )


def places(parts: list[Atoms], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Positions (n, 3) of the donors and of their protons, Angstrom."""
    n = len(parts)
    lengths = np.array([covalent_radii[atoms.numbers[bond(atoms)[0]]] for atoms in parts])
    lengths += covalent_radii[1]
    order = rng.permutation(n)
    next_one = np.empty(n, dtype=int)
    next_one[order] = np.roll(order, -1)
    side = rng.uniform(*EDGE) * 2.0 * lengths.mean()
    angles = np.empty(n)
    angles[order] = 2.0 * np.pi * np.arange(n) / n
    corners = (
        side
        / (2.0 * np.sin(np.pi / n))
        * np.stack([np.cos(angles), np.sin(angles), np.zeros(n)], axis=1)
    )
    bonded = lengths / side
    middle = lengths / (lengths + lengths[next_one])
    way = rng.uniform(*WAY) + SPREAD * rng.standard_normal(n)
    along = bonded + way * (middle - bonded)
    sides = corners[next_one] - corners
    protons = corners + along[:, None] * sides
    if n == 2:  # both protons would be on one line
        protons[:, 1] += ASIDE * np.array([1.0, -1.0])
    return corners, protons


def outside(
    atoms: Atoms,
    corner: np.ndarray,
    proton: np.ndarray,
    centre: np.ndarray,
    rng: np.random.Generator,
) -> Atoms:
    """Move a molecule to its corner, its proton to its place, and turn the rest outwards."""
    donor, hydrogen = bond(atoms)
    found = xtb.plain(atoms)
    found.positions -= atoms.positions[donor]
    rest = np.delete(found.positions, [donor, hydrogen], axis=0)
    rotation = Rotation.align_vectors([proton - corner], [found.positions[hydrogen]])[0]
    if len(rest):
        # The bond exactly, then the other atoms as far outwards as they go, with a random turn.
        rotation = Rotation.align_vectors(
            [proton - corner, corner - centre],
            [found.positions[hydrogen], rest.mean(axis=0)],
            weights=[np.inf, 1.0],
        )[0]
        axis = (proton - corner) / np.linalg.norm(proton - corner)
        rotation = Rotation.from_rotvec(rng.uniform(-1.0, 1.0) * axis) * rotation
    found.positions = rotation.apply(found.positions) + corner
    found.positions[hydrogen] = proton
    return found


if __name__ == "__main__":
    command(entries, sample)
