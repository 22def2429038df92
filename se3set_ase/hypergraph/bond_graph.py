"""Graphs of bonds: neighbours, components, rings."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

import numpy as np

#: Bonds in rings of at most this many atoms are never cut.
LARGEST_RING = 8


def components(n_atoms: int, bonds: np.ndarray) -> list[tuple[int, ...]]:
    """Connected components of a graph, ordered by their first atom."""
    neighbours = adjacency_lists(n_atoms, bonds)
    seen = [False] * n_atoms
    found = []
    for first in range(n_atoms):
        if seen[first]:
            continue
        seen[first] = True
        members = [first]
        for atom in members:  # grows in the loop; SciPy takes 20 times as long for a molecule
            for neighbour in neighbours[atom]:
                if not seen[neighbour]:
                    seen[neighbour] = True
                    members.append(neighbour)
        found.append(tuple(sorted(members)))
    return found


def adjacency_lists(n_atoms: int, bonds: np.ndarray) -> list[list[int]]:
    """Neighbours of each atom in the bond graph."""
    neighbours: list[list[int]] = [[] for _ in range(n_atoms)]
    for i, j in bonds.tolist():
        neighbours[i].append(j)
        neighbours[j].append(i)
    return neighbours


def in_small_ring(neighbours: Sequence[Sequence[int]], first: int, second: int) -> bool:
    """Whether the bond lies in a ring of at most :data:`LARGEST_RING` atoms.

    The criterion is the shortest path around the bond. A smallest set of smallest rings is not
    unique, so it would depend on the order of the atoms.
    """
    distance = {first: 0}
    queue = deque([first])
    while queue:
        atom = queue.popleft()
        if distance[atom] == LARGEST_RING - 1:
            continue
        for neighbour in neighbours[atom]:
            if neighbour in distance or (atom == first and neighbour == second):
                continue
            if neighbour == second:
                return True
            distance[neighbour] = distance[atom] + 1
            queue.append(neighbour)
    return False


def within(neighbours: Sequence[Sequence[int]], start: Iterable[int], radius: int) -> set[int]:
    """Atoms at most ``radius`` bonds from any of ``start``."""
    seen = set(start)
    frontier = set(seen)
    for _ in range(radius):
        frontier = {j for i in frontier for j in neighbours[i]} - seen
        seen |= frontier
    return seen
