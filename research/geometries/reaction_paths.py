"""Finds saddle points of GFN2-xTB between two bond graphs, and the paths down from them.

A guess comes from distance geometry: changing bonds have intermediate lengths, and all other
distances are within the bounds of both molecules. It is relaxed with these lengths restrained and
then climbs to a saddle point. From there both sides are relaxed; they have to end in two different
bond graphs of those that were enumerated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.calculators.calculator import CalculationFailed
from ase.data import covalent_radii
from rdkit import Chem, DistanceGeometry
from rdkit.Chem import rdDistGeom

from research.geometries.reaction_edits import BondGraph
from research.geometries.reaction_saddles import find_saddle
from research.geometries.reaction_surface import Surface, bonded_atoms, descend, restrained

#: Lengths of changing bonds in a guess, in units of the sum of covalent radii: between heavy atoms,
#: with one hydrogen, and in H2.
STRETCH = (1.38, 1.27, 1.6)
#: Relative standard deviation of these lengths.
SPREAD = 0.05
#: Distance along x between molecules before a relaxation, A.
APART = 2.8
#: Highest barrier, and smallest height of a saddle point above both sides, eV.
HIGHEST, LOWEST = 6.0, 0.02
#: Displacement from the saddle point to either side, in A.
SHIFT = 0.15


@dataclass(frozen=True, kw_only=True)
class Path:
    """A saddle point and the relaxations on both sides.

    Parameters
    ----------
    positions : (images, N, 3) A, from the reactant to the product.
    energies : (images,) eV, by GFN2-xTB.
    saddle : index of the saddle point.
    """

    positions: np.ndarray
    energies: np.ndarray
    saddle: int

    @property
    def barrier(self) -> float:
        """Height of the saddle point above the reactant, in eV."""
        return float(self.energies[self.saddle] - self.energies[0])

    @property
    def reverse_barrier(self) -> float:
        """Height of the saddle point above the product, in eV."""
        return float(self.energies[self.saddle] - self.energies[-1])

    def fractions(self) -> np.ndarray:
        """Length of the path up to each image, from 0 to 1."""
        steps = np.linalg.norm(np.diff(self.positions, axis=0), axis=(1, 2))
        lengths = np.concatenate([[0.0], np.cumsum(steps)])
        return lengths / lengths[-1]

    def selected(self) -> list[int]:
        """Images at a third and two thirds of the height of each side, and the saddle point."""
        top, chosen = self.energies[self.saddle], {self.saddle}
        for side in (slice(0, self.saddle), slice(self.saddle + 1, len(self.energies))):
            indices = np.arange(len(self.energies))[side]
            energies = self.energies[side]
            if len(indices) == 0 or top - energies.min() < LOWEST:
                continue
            for share in (1 / 3, 2 / 3):
                wanted = energies.min() + share * (top - energies.min())
                chosen.add(int(indices[np.abs(energies - wanted).argmin()]))
        return sorted(chosen)


def changing_bonds(reactant: BondGraph, product: BondGraph) -> dict[tuple[int, int], int]:
    """Find the atom pairs whose bond vanishes (-1) or appears (+1)."""
    change = product.bonded.astype(int) - reactant.bonded
    pairs = zip(*np.nonzero(np.triu(change)), strict=True)
    return {(int(i), int(j)): int(change[i, j]) for i, j in pairs}


def guesses(
    reactant: BondGraph, product: BondGraph, *, number: int, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, dict[tuple[int, int], float]]]:
    """Generate positions near a transition state and the lengths of its changing bonds.

    Raises
    ------
    ValueError : RDKit finds no distance bounds for one of the molecules.
    """
    radii = covalent_radii[reactant.numbers]
    first = rdDistGeom.GetMoleculeBoundsMatrix(reactant.molecule)
    second = rdDistGeom.GetMoleculeBoundsMatrix(product.molecule)
    for _ in range(number):
        upper = np.minimum(np.maximum(first, second), np.minimum(first, second) + 0.9)
        bounds = np.triu(upper) + np.tril(np.minimum(first, second))
        both = np.triu(reactant.bonded & product.bonded)
        bounds[both] = np.maximum(first, second)[both]
        lengths = {}
        for i, j in changing_bonds(reactant, product):
            hydrogens = [reactant.numbers[i], reactant.numbers[j]].count(1)
            stretch = STRETCH[hydrogens]
            length = float(stretch * rng.normal(1, SPREAD) * (radii[i] + radii[j]))
            bounds[i, j], bounds[j, i] = length + 0.05, length - 0.05
            lengths[i, j] = length
        DistanceGeometry.DoTriangleSmoothing(bounds)
        parameters: Any = rdDistGeom.EmbedParameters()  # its type stubs allow no assignment
        parameters.useRandomCoords = True
        parameters.enforceChirality = False
        parameters.embedFragmentsSeparately = False
        parameters.ignoreSmoothingFailures = True
        parameters.maxIterations = 5
        parameters.randomSeed = int(rng.integers(2**31))
        parameters.SetBoundsMat(bounds)
        molecule = Chem.Mol(reactant.molecule)
        if rdDistGeom.EmbedMolecule(molecule, parameters) == 0:
            yield molecule.GetConformer().GetPositions(), lengths


def tangent(positions: np.ndarray, bonds: dict[tuple[int, int], int]) -> np.ndarray:
    """Unit vector (3N,) that lengthens the old bonds and shortens the new ones."""
    direction = np.zeros_like(positions)
    for (i, j), change in bonds.items():
        unit = positions[i] - positions[j]
        unit = unit / np.linalg.norm(unit)
        direction[i] -= change * unit
        direction[j] += change * unit
    return direction.ravel() / np.linalg.norm(direction)


def path_through(
    surface: Surface,
    saddle: np.ndarray,
    mode: np.ndarray,
    graphs: dict[bytes, BondGraph],
    *,
    same: bool = False,
) -> tuple[Path, BondGraph, BondGraph] | None:
    """Relax both sides of a saddle point, and find the bond graphs that they end in.

    Returns
    -------
    path, reactant, product : the first end is the graph that comes first in `graphs`. None if an
        end is none of the graphs, if both are the same (or, with `same`, differ), or if the barrier
        is not between `LOWEST` and `HIGHEST`.
    """
    energy = surface(saddle)[0]
    shift = SHIFT * mode.reshape(saddle.shape)
    sides = []
    for sign in (-1, 1):
        images, energies = descend(surface, saddle + sign * shift)
        key = bonded_atoms(surface.numbers, images[-1])
        if key is None or key.tobytes() not in graphs:
            return None
        sides.append((list(graphs).index(key.tobytes()), images, energies))
    (first, left, down), (second, right, up) = sorted(sides, key=lambda side: side[0])
    path = Path(
        positions=np.concatenate([left[::-1], saddle[None], right]),
        energies=np.concatenate([down[::-1], [energy], up]),
        saddle=len(down),
    )
    if (first == second) != same or min(path.barrier, path.reverse_barrier) < LOWEST:
        return None
    if path.barrier > HIGHEST:
        return None
    ends = list(graphs.values())
    return path, ends[first], ends[second]


def find_path(
    reactant: BondGraph,
    product: BondGraph,
    *,
    rng: np.random.Generator,
    graphs: dict[bytes, BondGraph],
    highest: float,
    attempts: int = 2,
) -> tuple[Path, BondGraph, BondGraph] | None:
    """Find the path of a reaction, or of another reaction that the search leads to.

    Parameters
    ----------
    graphs : bond graphs that may be ends, by their matrices of bonds, the reactant first.
    highest : energy limit of saddle points, eV.
    attempts : number of guesses, which are tried in the order of their energies.
    """
    surface = Surface(reactant.numbers, reactant.charge)
    bonds = changing_bonds(reactant, product)
    starts = []
    try:
        for positions, lengths in guesses(reactant, product, number=attempts, rng=rng):
            try:
                energy, positions = restrained(surface, positions, lengths)
            except CalculationFailed:
                continue
            if energy < highest:
                starts.append((energy, positions))
    except (ValueError, RuntimeError):
        return None
    for _, positions in sorted(starts, key=lambda start: start[0]):
        try:
            found = find_saddle(surface, positions, tangent(positions, bonds), highest=highest)
            if found:
                return path_through(surface, *found, graphs)
        except (CalculationFailed, np.linalg.LinAlgError):
            continue
    return None


def relaxed(graph: BondGraph, rng: np.random.Generator) -> tuple[float, np.ndarray] | None:
    """Energy (eV) and positions (A) after a relaxation, in which the molecules may react.

    Returns None if RDKit finds no positions or GFN2-xTB does not converge.
    """
    molecule = Chem.Mol(graph.molecule)
    if rdDistGeom.EmbedMolecule(molecule, randomSeed=int(rng.integers(2**31))) != 0:
        return None
    positions, right = molecule.GetConformer().GetPositions(), 0.0
    for fragment in map(list, graph.fragments):  # RDKit lets them overlap
        positions[fragment] -= positions[fragment].min(axis=0) - [right, 0, 0]
        right = positions[fragment, 0].max() + APART
    surface = Surface(graph.numbers, graph.charge)
    try:
        images, energies = descend(surface, positions)
    except CalculationFailed:
        return None
    return energies[-1], images[-1]
