"""Geometries of clusters: at contact, relaxed by GFN2-xTB, pulled apart, pushed together, hot."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from ase import Atoms
from ase.data import vdw_radii
from rdkit import Chem
from scipy.spatial.transform import Rotation

from research.geometries import xtb
from research.geometries.bonding import canonical
from research.geometries.sampling import (
    HOT_K,
    MODES_K,
    accepted,
    as_atoms,
    embedded,
    generator,
    minimum,
)

#: Random displacements of the coordinates of a frame, in Angstrom, drawn between. A relaxation is
#: stopped on its way and shaken, so that no frame is at a minimum.
NOISE = (0.005, 0.04)
#: Steps of a relaxation.
STEPS = (8, 60)
#: Placements of a molecule, of which the one with the lowest energy is taken.
PLACEMENTS = 6
#: Closest contact of a placement, in sums of van der Waals radii,
CONTACT = (0.75, 1.0)
#: of a frame that is pushed together,
WALL = (0.55, 0.8)
#: and the longest shortest distance of one that is pulled apart, in Angstrom.
FURTHEST = 6.0
#: Changes of the shortest distance of a frame near a minimum, in Angstrom.
NEAR = (-0.3, 0.3)
#: Largest random rotation of a molecule that is pulled, in radians.
TURN = 0.5
#: Clusters of more atoms have no displacements along modes, which cost 3 calls an atom.
MODES_ATOMS = 18


@lru_cache(maxsize=512)
def _monomer(smiles: str, seed: int) -> tuple[Chem.Mol, Atoms] | None:
    """One molecule at its minimum, or without relaxation if it is an atom."""
    rng = generator(smiles, seed, "monomer")
    molecule = embedded(smiles, rng)
    if molecule is None:
        return None
    atoms = as_atoms(molecule)
    best = atoms if len(atoms) == 1 else minimum(molecule, rng)
    return None if best is None else (molecule, best)


def frames_of(
    smiles: str, kind: str, family: str, seed: int, number: int, *, at_minimum: bool = True
) -> list[Atoms]:
    """Geometries of a cluster, whose molecules are separated by dots.

    Parameters
    ----------
    smiles, kind, family, seed, number : as of `research.geometries.sampling.frames_of`.
    at_minimum : whether to keep frames near the minimum, too.
    """
    rng = generator(smiles, seed, number)
    parts = [_monomer(part, seed + number) for part in smiles.split(".")]
    found = [part for part in parts if part is not None]
    if len(found) < len(parts):
        return []
    molecule = found[0][0]
    for other, _ in found[1:]:
        molecule = Chem.CombineMols(molecule, other)
    Chem.SanitizeMol(molecule)
    charges = [Chem.GetFormalCharge(part) for part, _ in found]
    start = assembled([atoms for _, atoms in found], charges, rng)
    sizes = [len(atoms) for _, atoms in found]
    drawn = _drawn(start, sizes, sum(charges), number, rng, at_minimum)
    label = {"family": family, "kind": kind, "start": canonical(smiles), "draw": number}
    return list(accepted(molecule, drawn, label))


def assembled(parts: list[Atoms], charges: list[int], rng: np.random.Generator) -> Atoms:
    """Molecules placed one after another where, of a few places, the energy is lowest."""
    together, charge = xtb.plain(parts[0]), charges[0]
    for part, part_charge in zip(parts[1:], charges[1:], strict=True):
        charge += part_charge
        places = [placed(together, part, rng.uniform(*CONTACT), rng) for _ in range(PLACEMENTS)]
        energies = [xtb.energy(atoms, charge) for atoms in places]
        together = places[int(np.argmin(energies))]
    return together


def placed(one: Atoms, other: Atoms, contact: float, rng: np.random.Generator) -> Atoms:
    """The other at a random orientation, on a random side, in contact.

    Parameters
    ----------
    contact : ratio of the shortest distance between them to the sum of van der Waals radii.
    """
    positions = other.positions - other.positions.mean(axis=0)
    positions = Rotation.random(random_state=rng).apply(positions)
    direction = rng.standard_normal(3)
    direction /= np.linalg.norm(direction)
    positions += one.positions[rng.integers(len(one))]
    return in_contact(one, Atoms(other.numbers, positions), direction, contact)


def in_contact(one: Atoms, other: Atoms, direction: np.ndarray, contact: float) -> Atoms:
    """The other moved along a direction from where it is, until the two are in contact."""
    radii = vdw_radii[one.numbers][:, None] + vdw_radii[other.numbers]
    between = other.positions[None] - one.positions[:, None]
    along = between @ direction
    across = (between**2).sum(axis=-1) - along**2  # squared, as of atom i of one, j of the other
    room = (contact * radii) ** 2 - across
    shift = max(0.0, float((np.sqrt(np.maximum(room, 0.0)) - along)[room > 0].max(initial=0.0)))
    return Atoms(
        [*one.numbers, *other.numbers], [*one.positions, *(other.positions + shift * direction)]
    )


def _drawn(
    start: Atoms,
    sizes: list[int],
    charge: int,
    number: int,
    rng: np.random.Generator,
    at_minimum: bool,
) -> Iterator[tuple[str, Atoms]]:
    steps = int(rng.integers(*STEPS))
    best = xtb.relaxed(start, charge, steps=steps)
    if best is None:
        return
    if at_minimum:
        yield "relaxed", shaken(best, rng)
    for _ in range(2 if number == 0 else 3):
        yield "pulled", pulled(best, sizes, rng)
    if number == 0:
        return
    yield "pulled", pushed(best, sizes, rng)
    if at_minimum:
        yield "relaxed", pulled(best, sizes, rng, NEAR)
    if at_minimum and len(best) <= MODES_ATOMS:
        for atoms in xtb.along_modes(best, charge, MODES_K, 1, rng):
            yield "modes", atoms
    stops = sorted(int(stop) for stop in rng.choice(np.arange(20, 120), 2, replace=False))
    for atoms in xtb.hot(best, charge, 0.6 * rng.uniform(*HOT_K), stops, rng):
        yield "hot", atoms


def pulled(
    atoms: Atoms,
    sizes: list[int],
    rng: np.random.Generator,
    shifts: tuple[float, float] | None = None,
) -> Atoms:
    """One molecule moved away from its closest contact or towards it, and turned a little.

    Parameters
    ----------
    sizes : number of atoms of each molecule.
    shifts : range in Angstrom; by default a little closer, or up to `FURTHEST` apart.
    """
    chosen, rest = _one_and_rest(sizes, rng)
    one, other = atoms.positions[chosen], atoms.positions[rest]
    between = one[:, None] - other[None]
    lengths = np.linalg.norm(between, axis=-1)
    i, j = np.unravel_index(lengths.argmin(), lengths.shape)
    if shifts is None:
        near = rng.random() < 0.3
        room = max(FURTHEST - lengths.min(), 0.5)
        shifts = (-0.5, 0.0) if near else (0.1, room * rng.random() + 0.1)
    angles = rng.uniform(-TURN, TURN) * rng.standard_normal(3) / np.sqrt(3.0)
    centre = one.mean(axis=0)
    moved = Rotation.from_rotvec(angles).apply(one - centre) + centre
    moved += rng.uniform(*shifts) * between[i, j] / lengths[i, j]
    found = xtb.plain(atoms)
    found.positions[chosen] = moved
    return shaken(found, rng)


def shaken(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """Copy with random displacements."""
    noise = rng.uniform(*NOISE) * rng.standard_normal((len(atoms), 3))
    return Atoms(atoms.numbers, atoms.positions + noise)


def pushed(atoms: Atoms, sizes: list[int], rng: np.random.Generator) -> Atoms:
    """One molecule at a random orientation and on a random side, on the repulsive wall."""
    chosen, rest = _one_and_rest(sizes, rng)
    together = placed(atoms[rest], atoms[chosen], rng.uniform(*WALL), rng)
    found = xtb.plain(atoms)
    found.positions[rest] = together.positions[: len(rest)]
    found.positions[chosen] = together.positions[len(rest) :]
    return shaken(found, rng)


def _one_and_rest(sizes: list[int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the atoms of one molecule at random, and those of the others."""
    ends = np.cumsum(sizes)
    k = int(rng.integers(len(sizes)))
    everything = np.arange(ends[-1])
    chosen = everything[ends[k] - sizes[k] : ends[k]]
    return chosen, np.setdiff1d(everything, chosen)
