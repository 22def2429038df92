"""Barriers without a change of bonds: inversion of pyramids, and rotation about bonds."""

from __future__ import annotations

import numpy as np
from ase.calculators.calculator import CalculationFailed
from scipy.spatial.transform import Rotation

from research.geometries.reaction_edits import BondGraph
from research.geometries.reaction_paths import Path, path_through
from research.geometries.reaction_saddles import find_saddle
from research.geometries.reaction_surface import Surface

INVERSION, ROTATION = "inversion", "internal rotation"
#: Smallest absolute curvature along a rotation or an inversion, eV/A^2.
SOFTEST = 0.03
#: Elements and charges whose three neighbours form a pyramid.
PYRAMIDS = {(6, -1), (7, 0), (8, 1), (15, 0), (16, 1)}


def pyramids(graph: BondGraph) -> list[int]:
    """Find atoms with a lone pair and three single bonds."""
    single = (graph.bonded.sum(axis=1) == 3) & (graph.orders.max(axis=1) == 1)
    states = zip(graph.numbers.tolist(), graph.charges.tolist(), strict=True)
    return [atom for atom, state in enumerate(states) if single[atom] and state in PYRAMIDS]


def rotors(graph: BondGraph) -> list[tuple[int, int]]:
    """Find single bonds about which a rotation is possible, outside of rings and linear groups."""
    found = []
    for bond in graph.molecule.GetBonds():
        ends = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        linear = [(graph.orders[end] == 3).any() for end in ends]
        branched = [graph.bonded[end].sum() > 1 for end in ends]
        if graph.orders[ends] == 1 and not bond.IsInRing() and all(branched) and not any(linear):
            found.append(ends)
    return found


def flattened(positions: np.ndarray, graph: BondGraph, centre: int) -> np.ndarray:
    """Positions (A) with the centre of a pyramid in the plane of its neighbours."""
    neighbours = np.flatnonzero(graph.bonded[centre])
    corners = positions[neighbours]
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    normal /= np.linalg.norm(normal)
    guess = positions.copy()
    guess[centre] -= ((positions[centre] - corners[0]) @ normal) * normal
    return guess


def turned(
    positions: np.ndarray, graph: BondGraph, bond: tuple[int, int], degrees: float
) -> np.ndarray:
    """Positions (A) with one side of a bond rotated about it."""
    orders = graph.orders.copy()
    orders[bond] = orders[bond[::-1]] = 0
    cut = BondGraph(numbers=graph.numbers, charges=graph.charges, orders=orders)
    side = np.flatnonzero(cut.distances[bond[1]] < 1000)
    axis = positions[bond[1]] - positions[bond[0]]
    rotation = Rotation.from_rotvec(np.radians(degrees) * axis / np.linalg.norm(axis))
    turned = positions.copy()
    turned[side] = rotation.apply(positions[side] - positions[bond[0]]) + positions[bond[0]]
    return turned


def find_turn(
    graph: BondGraph, minimum: np.ndarray, *, rng: np.random.Generator, inversion: bool
) -> Path | None:
    """Find the path over the barrier of an inversion or rotation; None if there is none.

    Parameters
    ----------
    minimum : (N, 3) positions of a relaxed conformer, A.
    """
    if inversion:
        centres = pyramids(graph)
        if not centres:
            return None
        guess = flattened(minimum, graph, centres[int(rng.integers(len(centres)))])
        direction = guess - minimum
    else:
        bonds = rotors(graph)
        if not bonds:
            return None
        bond = bonds[int(rng.integers(len(bonds)))]
        guess = turned(minimum, graph, bond, 60.0 if rng.random() < 0.5 else 90.0)
        direction = turned(guess, graph, bond, 5.0) - guess
    norm = np.linalg.norm(direction)
    if norm < 1e-3:  # already planar
        return None
    surface = Surface(graph.numbers, graph.charge)
    try:
        found = find_saddle(surface, guess, direction.ravel() / norm, least=SOFTEST)
        key = graph.bonded.tobytes()
        result = path_through(surface, *found, {key: graph}, same=True) if found else None
    except (CalculationFailed, np.linalg.LinAlgError):
        return None
    return result[0] if result else None
