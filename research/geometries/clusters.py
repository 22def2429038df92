"""Geometries of clusters: relaxed by GFN2-xTB, separated, compressed, hot."""

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
    combined,
    embedded,
    generator,
    minimum,
)

#: Range of the random displacements of coordinates, Angstrom. Relaxations are stopped early and
#: displaced, so that no frame is at a minimum.
NOISE = (0.005, 0.04)
#: Range of the number of steps of a relaxation.
STEPS = (8, 60)
#: Number of random placements of a molecule; the one with the lowest energy is taken.
PLACEMENTS = 6
#: Closest contact in a placement, in units of the sum of van der Waals radii.
CONTACT = (0.75, 1.0)
#: The same in a compressed frame.
WALL = (0.55, 0.8)
#: Largest separation (shortest distance between molecules), Angstrom.
FURTHEST = 6.0
#: Change of the separation near a minimum, Angstrom.
NEAR = (-0.3, 0.3)
#: Largest random rotation of a molecule that is moved, radians.
TURN = 0.5
#: Larger clusters get no displacements along modes, which need three calls for each atom.
MODES_ATOMS = 18


@lru_cache(maxsize=512)
def _monomer(smiles: str, seed: int) -> tuple[Chem.Mol, Atoms] | None:
    """Make a molecule, relaxed unless it is an atom; None if that fails."""
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
    smiles, kind, family, seed, number : as in `research.geometries.sampling.frames_of`.
    at_minimum : whether to include frames near the minimum.
    """
    rng = generator(smiles, seed, number)
    parts = [_monomer(part, seed + number) for part in smiles.split(".")]
    found = [part for part in parts if part is not None]
    if len(found) < len(parts):
        return []
    molecule = combined([one for one, _ in found])
    charges = [Chem.GetFormalCharge(part) for part, _ in found]
    start = assembled([atoms for _, atoms in found], charges, rng)
    sizes = [len(atoms) for _, atoms in found]
    drawn = _drawn(start, sizes, sum(charges), number, rng, at_minimum)
    label = {"family": family, "kind": kind, "start": canonical(smiles), "draw": number}
    return list(accepted(molecule, drawn, label))


def assembled(parts: list[Atoms], charges: list[int], rng: np.random.Generator) -> Atoms:
    """Place molecules one after another, each at the best of a few random places."""
    together, charge = xtb.plain(parts[0]), charges[0]
    for part, part_charge in zip(parts[1:], charges[1:], strict=True):
        charge += part_charge
        places = [placed(together, part, rng.uniform(*CONTACT), rng) for _ in range(PLACEMENTS)]
        energies = [xtb.energy(atoms, charge) for atoms in places]
        together = places[int(np.argmin(energies))]
    return together


def placed(one: Atoms, other: Atoms, contact: float, rng: np.random.Generator) -> Atoms:
    """Place another molecule in contact, with random orientation and direction.

    Parameters
    ----------
    contact : shortest distance between them, in units of the sum of van der Waals radii.
    """
    positions = other.positions - other.positions.mean(axis=0)
    positions = Rotation.random(random_state=rng).apply(positions)
    direction = rng.standard_normal(3)
    direction /= np.linalg.norm(direction)
    positions += one.positions[rng.integers(len(one))]
    return in_contact(one, Atoms(other.numbers, positions), direction, contact)


def in_contact(one: Atoms, other: Atoms, direction: np.ndarray, contact: float) -> Atoms:
    """Move the other molecule along a direction until the two are in contact."""
    radii = vdw_radii[one.numbers][:, None] + vdw_radii[other.numbers]
    between = other.positions[None] - one.positions[:, None]
    along = between @ direction
    across = (between**2).sum(axis=-1) - along**2  # squared; atoms i of one, j of the other
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
    """Move one molecule away from its closest contact or towards it, and rotate it slightly.

    Parameters
    ----------
    sizes : number of atoms of each molecule.
    shifts : range of the shift, Angstrom; by default slightly closer, or up to `FURTHEST` apart.
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
    """Displace the atoms randomly."""
    noise = rng.uniform(*NOISE) * rng.standard_normal((len(atoms), 3))
    return Atoms(atoms.numbers, atoms.positions + noise)


def pushed(atoms: Atoms, sizes: list[int], rng: np.random.Generator) -> Atoms:
    """Place one molecule on the repulsive wall, with random orientation and direction."""
    chosen, rest = _one_and_rest(sizes, rng)
    together = placed(atoms[rest], atoms[chosen], rng.uniform(*WALL), rng)
    found = xtb.plain(atoms)
    found.positions[rest] = together.positions[: len(rest)]
    found.positions[chosen] = together.positions[len(rest) :]
    return shaken(found, rng)


def _one_and_rest(sizes: list[int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the atoms of a random molecule, and of all other atoms."""
    ends = np.cumsum(sizes)
    k = int(rng.integers(len(sizes)))
    everything = np.arange(ends[-1])
    chosen = everything[ends[k] - sizes[k] : ends[k]]
    return chosen, np.setdiff1d(everything, chosen)
