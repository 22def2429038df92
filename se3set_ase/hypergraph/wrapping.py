"""Fragments of bond graphs that extend through all cells: polymers, sheets, crystals.

A molecule that ends somewhere is an ordinary bond graph, in whichever cells its atoms lie. One that
is bonded to its own copies is not: in a cell of two carbon atoms, graphene has rings that are
not there, and atoms with several bonds to one other atom. Its chemistry is that of a supercell in
which no closed path of at most :data:`LARGEST_RING` bonds ends in another cell. Each fragment of
the supercell then stands for its copies in all cells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import product

import numpy as np

from se3set_ase.hypergraph.bond_graph import LARGEST_RING
from se3set_ase.hypergraph.lattice import Vector, basis_of, modulo
from se3set_ase.hypergraph.outcomes import BondOrders, Chemistry, Molecule
from se3set_ase.hypergraph.polynomials import Mixture, outcomes_in, reduced
from se3set_ase.hypergraph.structure import Term, WeightedFragment

#: An atom and its cell.
Member = tuple[int, Vector]
#: A fragment up to lattice vectors: its atoms, and the vectors that map it onto itself.
Pattern = tuple[tuple[Member, ...], tuple[Vector, ...]]


def mix_wrapping(
    numbers: np.ndarray,
    bonds: np.ndarray,
    steps: np.ndarray,
    is_ambiguous: np.ndarray,
    weights: np.ndarray,
    orders: BondOrders,
    chemistry: Chemistry,
) -> Mixture:
    """Weighted fragments of one connected molecule that is bonded to its copies.

    Parameters
    ----------
    numbers : (N,) atomic numbers.
    bonds, is_ambiguous, weights : (B, 2), (B,) and (B,), ``bonds[:, 0] <= bonds[:, 1]``.
    steps : (B, 3) int, the cell of the second atom of each bond relative to the first.
    orders : orders of bonds that replace perceived ones, by atom pair.
    chemistry : cache of kept bonds.

    Returns
    -------
    Fragments with images and wraps, one of each set of copies; terms refer to rows of ``bonds``. A
    term may have several factors of one bond: those of its copies.
    """
    supercell = _Supercell(numbers, bonds, steps, is_ambiguous, orders, chemistry)
    molecule, n_bonds = supercell.molecule, len(bonds)
    patterns: dict[Pattern, tuple[tuple[Term, ...], bool]] = {}
    for block in np.flatnonzero(molecule.settled).tolist():
        pattern, _ = supercell.pattern(molecule.blocks[block], ())
        patterns[pattern] = (((),), False)
    fleeting = False
    for zone in molecule.zones():
        found: dict[tuple[Pattern, Vector], list[Term]] = {}
        outcomes, complete = outcomes_in(molecule, zone, np.tile(weights, len(supercell.cells)))
        for outcome in outcomes:
            if complete or len(outcome.atoms) > 1:
                key = supercell.pattern(outcome.atoms, outcome.joins)
                found.setdefault(key, []).append(outcome.state)
        for (pattern, _), states in found.items():
            if pattern not in patterns:  # the first of its copies
                terms = tuple(
                    tuple((bond % n_bonds, present) for bond, present in term)
                    for term in reduced(states)
                )
                patterns[pattern] = (terms, False)
        if not complete:
            fleeting = True
            for block in zone:
                for atom in molecule.blocks[block]:
                    alone: Pattern = (((atom % len(numbers), (0, 0, 0)),), ())
                    patterns[alone] = (((),), True)
    return Mixture(
        fragments=tuple(
            WeightedFragment(
                atoms=tuple(atom for atom, _ in members),
                images=tuple(image for _, image in members),
                wraps=wraps,
                terms=terms,
                rest=rest,
            )
            for (members, wraps), (terms, rest) in patterns.items()
        ),
        fleeting=fleeting,
    )


class _Supercell:
    """The bond graph of several cells. Atom ``a`` of cell ``c`` is number ``c * N + a``.

    Attributes
    ----------
    cells : the cells.
    molecule : the bond graph, prepared for its outcomes.
    """

    def __init__(
        self,
        numbers: np.ndarray,
        bonds: np.ndarray,
        steps: np.ndarray,
        is_ambiguous: np.ndarray,
        orders: BondOrders,
        chemistry: Chemistry,
    ):
        self._n_atoms = len(numbers)
        copies = copies_needed(len(numbers), bonds, steps)
        self.cells: list[Vector] = [(x, y, z) for x, y, z in product(*map(range, copies))]
        n_cells = len(self.cells)
        other = (np.array(self.cells)[:, None, :] + steps) % copies  # c, b, xyz
        other_cell = np.ravel_multi_index(tuple(np.moveaxis(other, -1, 0)), copies)  # c, b
        first = (np.arange(n_cells)[:, None] * len(numbers) + bonds[:, 0]).ravel()
        second = (other_cell * len(numbers) + bonds[:, 1]).ravel()
        ends = np.stack([first, second], axis=1)
        pairs = np.sort(ends, axis=1)
        known = np.tile([orders.get((i, j), np.nan) for i, j in bonds.tolist()], n_cells)
        self.molecule = Molecule(
            np.tile(numbers, n_cells),
            pairs,
            np.tile(is_ambiguous, n_cells),
            {
                (i, j): order
                for (i, j), order in zip(pairs.tolist(), known.tolist(), strict=True)
                if order == order  # not NaN
            },
            chemistry,
        )
        self._period = [
            (copies[0] * (k == 0), copies[1] * (k == 1), copies[2] * (k == 2)) for k in range(3)
        ]
        self._ends: list[list[int]] = ends.tolist()
        self._steps: list[Vector] = [(x, y, z) for x, y, z in steps.tolist()] * n_cells
        self._inside: list[list[tuple[int, Vector]]] = [[] for _ in range(n_cells * len(numbers))]
        for row in np.flatnonzero(self.molecule.together).tolist():
            for atom, neighbour, step in self._directions(row):
                self._inside[atom].append((neighbour, step))

    def _directions(self, row: int) -> Iterator[tuple[int, int, Vector]]:
        (i, j), (x, y, z) = self._ends[row], self._steps[row]
        yield i, j, (x, y, z)
        yield j, i, (-x, -y, -z)

    def pattern(self, atoms: tuple[int, ...], joins: Iterable[int]) -> tuple[Pattern, Vector]:
        """A fragment up to lattice vectors, and the cell in which it lies.

        Parameters
        ----------
        atoms : of the supercell.
        joins : bonds that hold the fragment together, besides those inside blocks.
        """
        more: dict[int, list[tuple[int, Vector]]] = {}
        for row in joins:
            for atom, neighbour, step in self._directions(row):
                more.setdefault(atom, []).append((neighbour, step))
        image = {atoms[0]: self.cells[atoms[0] // self._n_atoms]}
        loops: set[Vector] = set()
        queue = [atoms[0]]
        for atom in queue:  # grows in the loop
            x, y, z = image[atom]
            for neighbour, step in (*self._inside[atom], *more.get(atom, ())):
                there = (x + step[0], y + step[1], z + step[2])
                known = image.setdefault(neighbour, there)
                if known is there:
                    queue.append(neighbour)
                elif known != there:
                    loops.add(_difference(there, known))
        pattern, origin = _canonical([(a % self._n_atoms, s) for a, s in image.items()], loops)
        return pattern, _modulo(origin, basis_of([*self._period, *pattern[1]]))


def _canonical(members: list[Member], loops: set[Vector]) -> tuple[Pattern, Vector]:
    """A fragment up to lattice vectors, and the vector from this pattern to the fragment."""
    wraps = basis_of(loops)
    if wraps:
        # Vectors between copies of one atom may map the fragment onto itself too.
        present = _representatives(members, wraps)
        rare = min(Counter(atom for atom, _ in present).items(), key=lambda item: item[::-1])[0]
        first, *others = sorted(image for atom, image in present if atom == rare)
        new = [_difference(image, first) for image in others]
        atoms, images = [a for a, _ in present], np.array([s for _, s in present])
        for vector in new:
            moved = modulo(images + vector, wraps).tolist()
            if {(a, (x, y, z)) for a, (x, y, z) in zip(atoms, moved, strict=True)} == present:
                loops = loops | {vector}
        wraps = basis_of(loops)
    best: tuple[tuple[Member, ...], Vector] | None = None
    lowest = min(atom for atom, _ in members)
    for origin in sorted(
        image for atom, image in _representatives(members, wraps) if atom == lowest
    ):
        moved_members = [(atom, _difference(image, origin)) for atom, image in members]
        found = tuple(sorted(_representatives(moved_members, wraps)))
        if best is None or found < best[0]:
            best = found, origin
    assert best is not None
    return (best[0], wraps), best[1]


def _representatives(members: list[Member], wraps: tuple[Vector, ...]) -> set[Member]:
    images = modulo(np.array([image for _, image in members]), wraps).tolist()
    return {(atom, (x, y, z)) for (atom, _), (x, y, z) in zip(members, images, strict=True)}


def _difference(one: Vector, other: Vector) -> Vector:
    return one[0] - other[0], one[1] - other[1], one[2] - other[2]


def _modulo(vector: Vector, basis: tuple[Vector, ...]) -> Vector:
    x, y, z = modulo(np.array(vector), basis).tolist()
    return x, y, z


def copies_needed(n_atoms: int, bonds: np.ndarray, steps: np.ndarray) -> Vector:
    """Number of cells along each vector in which no small ring closes through the boundary.

    A closed path that ends in another cell has a bond with a step, so these are the starts.
    """
    around: list[list[tuple[int, Vector]]] = [[] for _ in range(n_atoms)]
    for (i, j), (x, y, z) in zip(bonds.tolist(), steps.tolist(), strict=True):
        around[i].append((j, (x, y, z)))
        around[j].append((i, (-x, -y, -z)))
    most = [0, 0, 0]
    for start in np.unique(bonds[steps.any(axis=1), 0]).tolist():
        seen = {(start, (0, 0, 0))}
        frontier = list(seen)
        for _ in range(LARGEST_RING):
            reached = []
            for atom, (x, y, z) in frontier:
                for other, step in around[atom]:
                    node = (other, (x + step[0], y + step[1], z + step[2]))
                    if node not in seen:
                        seen.add(node)
                        reached.append(node)
            frontier = reached
        for atom, image in seen:
            if atom == start:
                most = [max(m, abs(k)) for m, k in zip(most, image, strict=True)]
    return 1 + most[0], 1 + most[1], 1 + most[2]
