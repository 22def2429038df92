"""Paths through every kind of refragmentation: atoms, positions as a function of t, range of t.

t is in Angstrom, so that a step of t is at most a step of that length for every atom.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path as FilePath

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.io import read

EXAMPLES = FilePath(__file__).parents[1] / "examples"
DATA = FilePath(__file__).parent / "data"

Path = Callable[[float], np.ndarray]
Scan = tuple[Atoms, Path, tuple[float, float]]


def acetylacetone() -> Atoms:
    atoms = read(EXAMPLES / "acetylacetone.xyz")
    assert isinstance(atoms, Atoms)
    return atoms


def moving(atoms: Atoms, group: list[int], direction: np.ndarray) -> Path:
    """A group of atoms, moved by t along a direction."""
    unit = np.asarray(direction, float) / np.linalg.norm(direction)

    def path(t: float) -> np.ndarray:
        positions = atoms.positions.copy()
        positions[group] += t * unit
        return positions

    return path


def proton_transfer() -> Scan:
    """The hydroxyl hydrogen leaves its oxygen, passes the other one and goes away."""
    atoms = acetylacetone()
    oxygens = [a.index for a in atoms if a.symbol == "O"]
    distance = atoms.get_all_distances()
    hydrogen = min(
        (a.index for a in atoms if a.symbol == "H"), key=lambda h: distance[h, oxygens].min()
    )
    donor, acceptor = sorted(oxygens, key=lambda o: distance[hydrogen, o])
    start = atoms.positions[donor]
    along = atoms.positions[acceptor] - start
    along /= np.linalg.norm(along)
    carbon = next(a.index for a in atoms if a.symbol == "C" and distance[a.index, donor] < 1.5)
    aside = np.cross(along, atoms.positions[carbon] - start)
    aside *= 0.95 / np.linalg.norm(aside)  # an O-H bond's length off the line

    def path(t: float) -> np.ndarray:
        positions = atoms.positions.copy()
        positions[hydrogen] = start + along * t + aside
        return positions

    return atoms, path, (0.1, 3.4)


def symmetric_transfer() -> Scan:
    """A proton on the line between two water molecules that mirror each other."""
    water = molecule("H2O")
    water.positions -= water.positions[0]
    outward = water.positions[1:].mean(axis=0)
    outward /= np.linalg.norm(outward)
    mirror = water.copy()
    mirror.positions -= 2 * np.outer(mirror.positions @ outward, outward)
    water.positions += 1.25 * outward
    mirror.positions -= 1.25 * outward
    atoms = water + mirror + Atoms("H", [np.zeros(3)])
    return atoms, moving(atoms, [6], outward), (-0.6, 0.6)


def approach() -> Scan:
    """A methyl group comes into reach of the other end of a stretched-out neighbour."""
    first, second = molecule("CH3CH2OH"), molecule("CH3CH2OH")
    second.rotate(70, (1, 2, 3), center="COP")
    atoms = first + second
    group = list(range(len(first), len(atoms)))
    return atoms, moving(atoms, group, np.array([0.6, 0.64, 0.48])), (3.5, 9.0)


def double_transfer() -> Scan:
    """Both protons of the formic acid dimer move at once: two bonds break, two form."""
    monomer = molecule("HCOOH")
    symbols = monomer.get_chemical_symbols()
    hydrogens = [i for i, s in enumerate(symbols) if s == "H"]
    oxygens = [i for i, s in enumerate(symbols) if s == "O"]
    distance = monomer.get_all_distances()
    proton = min(hydrogens, key=lambda h: distance[h, oxygens].min())
    donor, acceptor = sorted(oxygens, key=lambda o: distance[proton, o])
    centre = monomer.positions[donor] + monomer.positions[acceptor]
    carbon = symbols.index("C")
    outward = 0.5 * centre - monomer.positions[carbon]
    outward /= np.linalg.norm(outward)
    monomer.positions -= 0.5 * centre + 1.3 * outward
    other = monomer.copy()
    other.positions *= -1.0
    atoms = monomer + other
    n = len(monomer)

    def path(t: float) -> np.ndarray:
        positions = atoms.positions.copy()
        for shift, partner in ((0, n), (n, 0)):
            start = atoms.positions[donor + shift]
            along = atoms.positions[acceptor + partner] - start
            positions[proton + shift] = start + t * along / np.linalg.norm(along)
        return positions

    return atoms, path, (0.9, 1.8)


def ring_opening() -> Scan:
    """Two neighbouring carbons of cyclobutane part: a bond and with it a ring breaks."""
    atoms, first, second, hydrogens = _cyclobutane()
    along = atoms.positions[second] - atoms.positions[first]
    length = float(np.linalg.norm(along))
    path = moving(atoms, [second, *hydrogens[second]], along)
    return atoms, path, (1.6 - length, 2.3 - length)


def retro_2_2() -> Scan:
    """Cyclobutane falls into two ethylenes: two bonds break at once, two become multiple."""
    atoms, first, second, hydrogens = _cyclobutane()
    along = atoms.positions[second] - atoms.positions[first]
    far = [c for c in hydrogens if (atoms.positions[c] - atoms.positions[first]) @ along > 0.1]
    group = far + [h for c in far for h in hydrogens[c]]
    return atoms, moving(atoms, group, along), (0.0, 1.2)


def _cyclobutane() -> tuple[Atoms, int, int, dict[int, list[int]]]:
    """It, two bonded carbons, and the hydrogens of each carbon."""
    atoms = molecule("cyclobutane")
    carbons = [a.index for a in atoms if a.symbol == "C"]
    distance = atoms.get_all_distances()
    second = min(carbons[1:], key=lambda c: distance[carbons[0], c])
    hydrogens = {
        c: [a.index for a in atoms if a.symbol == "H" and distance[a.index, c] < 1.2]
        for c in carbons
    }
    return atoms, carbons[0], second, hydrogens


def homolysis() -> Scan:
    """The C-C bond of ethanol breaks, to 6 Angstrom."""
    atoms = molecule("CH3CH2OH")
    first, second = (a.index for a in atoms if a.symbol == "C")
    distance = atoms.get_all_distances()
    if distance[first, 2] < distance[second, 2]:
        first, second = second, first  # the methyl carbon is the first
    methyl = [
        first,
        *(a.index for a in atoms if a.symbol == "H" and distance[a.index, first] < 1.2),
    ]
    along = atoms.positions[first] - atoms.positions[second]
    return atoms, moving(atoms, methyl, along), (-0.2, 6.0 - float(distance[first, second]))


def recombination() -> Scan:
    """A hydrogen atom comes from 6 Angstrom and adds to ethylene: a double bond becomes single."""
    atoms = molecule("C2H4")
    carbon = atoms.positions[0]
    normal = np.cross(atoms.positions[1] - carbon, atoms.positions[2] - carbon)
    normal /= np.linalg.norm(normal)
    atoms += Atoms("H", [carbon + 6.0 * normal])
    return atoms, moving(atoms, [len(atoms) - 1], -normal), (0.0, 5.1)


def substitution() -> Scan:
    """A hydrogen attacks methane from behind while another leaves: one bond forms, one breaks."""
    atoms = molecule("CH4")
    along = atoms.positions[1] - atoms.positions[0]
    atoms += Atoms("H", [atoms.positions[0] - 1.9 * along / np.linalg.norm(along)])
    return atoms, moving(atoms, [1, 5], along), (-0.1, 0.9)


def new_group() -> Scan:
    """A hydroxyl approaches the carbonyl of acetaldehyde and forms a carboxyl group."""
    atoms = molecule("CH3COOH")
    distance = atoms.get_all_distances()
    oxygens = [a.index for a in atoms if a.symbol == "O"]
    hydrogens = [a.index for a in atoms if a.symbol == "H"]
    acidic = min(hydrogens, key=lambda h: distance[h, oxygens].min())
    oxygen = min(oxygens, key=lambda o: distance[acidic, o])
    carbon = min((a.index for a in atoms if a.symbol == "C"), key=lambda c: distance[c, oxygen])
    along = atoms.positions[oxygen] - atoms.positions[carbon]
    return atoms, moving(atoms, [oxygen, acidic], along), (0.0, 2.0)


def hot_cut(index: int, furthest: float = 0.25) -> Scan:
    """A straight line in a random direction through a geometry from dynamics at 1500 K.

    ``furthest`` is how far the atom that moves most goes to either side, Angstrom.

    The geometries: ``md(atoms, temperature_K=1500, timestep=0.5, friction=0.02)`` with the model
    acac, from its minimum, one each 100 fs.
    """
    atoms = read(DATA / "hot_1500K.xyz", index=index)
    assert isinstance(atoms, Atoms)
    direction = np.random.default_rng(index).normal(size=(len(atoms), 3))
    direction /= np.linalg.norm(direction, axis=1).max()
    return atoms, lambda t: atoms.positions + t * direction, (-furthest, furthest)


#: Events of up to five coupled bonds.
PATHS: dict[str, Callable[[], Scan]] = {
    "proton transfer": proton_transfer,
    "symmetric proton transfer": symmetric_transfer,
    "approach": approach,
    "double proton transfer": double_transfer,
    "ring opening": ring_opening,
    "retro-[2+2]": retro_2_2,
    "homolysis": homolysis,
    "recombination": recombination,
    "substitution": substitution,
    "new functional group": new_group,
    **{f"hot cut {index}": partial(hot_cut, index) for index in (0, 1, 3, 4, 5, 6, 7)},
}


#: Further from the hot geometries, where atoms hit each other at 20 to 100 eV/Angstrom.
FAR: dict[str, Callable[[], Scan]] = {
    f"far from hot {index}": partial(hot_cut, index, furthest=0.4) for index in (3, 6)
}


def breathing(atoms: Atoms, start: float, end: float) -> Scan:
    """All distances grow by the same factor, 1 + t over the molecule's radius."""
    atoms = atoms.copy()
    atoms.positions -= atoms.positions.mean(axis=0)
    radius = float(np.linalg.norm(atoms.positions, axis=1).max())
    return (
        atoms,
        lambda t: atoms.positions * (1.0 + t / radius),
        ((start - 1.0) * radius, (end - 1.0) * radius),
    )


#: More coupled bonds than can be mixed exactly.
CROWDED: dict[str, Callable[[], Scan]] = {
    "explosion": lambda: breathing(acetylacetone(), 1.05, 1.5),
    "compression": lambda: breathing(acetylacetone(), 0.7, 0.9),
}
