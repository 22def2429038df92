"""Periodic cells: neighbours across the boundary, and lattices of whole cells."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from ase.geometry import complete_cell

from se3set_ase.system import UnsupportedSystem

#: Number of cells along each cell vector.
Vector = tuple[int, int, int]

#: Angstrom, smallest distance between opposite faces of a cell: no two atoms are closer.
SMALLEST_CELL = 0.7


@dataclass(frozen=True, kw_only=True)
class Lattice:
    """The periodic directions of a cell.

    Attributes
    ----------
    vectors : (3, 3) Angstrom, one per row; along directions that are not periodic, unit vectors
        perpendicular to the others.
    periodic : for each cell vector.
    """

    vectors: np.ndarray
    periodic: tuple[bool, bool, bool]

    @classmethod
    def of(cls, cell: np.ndarray, pbc: np.ndarray) -> Lattice | None:
        """The lattice of a cell (3, 3), Angstrom, with boundaries (3,); None if not periodic.

        Raises
        ------
        UnsupportedSystem : the vectors of periodic directions are missing, linearly dependent, too
            short or not finite.
        """
        periodic = np.asarray(pbc, dtype=bool)
        if not periodic.any():
            return None
        cell = np.array(cell, dtype=np.float64)
        given = cell[periodic]
        if not np.isfinite(given).all():
            raise UnsupportedSystem("expected a finite cell, got NaN or infinite cell vectors")
        if np.linalg.matrix_rank(given) < len(given):
            raise UnsupportedSystem(
                "expected linearly independent cell vectors in the periodic directions "
                f"{periodic.tolist()}, got {given.tolist()}"
            )
        vectors = np.asarray(complete_cell(np.where(periodic[:, None], cell, 0.0)))
        height = 1.0 / np.linalg.norm(np.linalg.inv(vectors), axis=0)
        if height[periodic].min() < SMALLEST_CELL:
            raise UnsupportedSystem(
                f"expected a cell with at least {SMALLEST_CELL} Angstrom between opposite faces, "
                f"got {height[periodic].min():.2g}"
            )
        x, y, z = periodic.tolist()
        return cls(vectors=vectors, periodic=(x, y, z))

    def neighbours(
        self, positions: np.ndarray, cutoff: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All pairs of atoms and images closer than ``cutoff``.

        Parameters
        ----------
        positions : (N, 3) Angstrom, inside the cell or not.
        cutoff : Angstrom.

        Returns
        -------
        pairs : (P, 2), ``pairs[:, 0] <= pairs[:, 1]``, in lexicographic order.
        shifts : (P, 3) int, the cell of the second atom relative to the first; each pair is given
            once, an atom and its own image with the first non-zero number positive.
        distances : (P,) Angstrom.
        """
        pairs, shifts = self.pairs(positions, cutoff)
        first, second = pairs.T.copy()
        sign = shifts[:, 0]
        for column in (1, 2):
            sign = np.where(sign != 0, sign, shifts[:, column])
        backward = (first > second) | ((first == second) & (sign < 0))
        pairs[backward] = pairs[backward, ::-1]
        shifts[backward] *= -1
        order = np.lexsort((*shifts.T[::-1], pairs[:, 1], pairs[:, 0]))
        pairs, shifts = pairs[order], shifts[order]
        vectors = positions[pairs[:, 1]] - positions[pairs[:, 0]] + shifts @ self.vectors
        return pairs, shifts, np.linalg.norm(vectors, axis=1)

    def pairs(self, positions: np.ndarray, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
        """As :meth:`neighbours`, in any order, and each in any direction; without distances."""
        from vesin import NeighborList  # late: only cells need it

        found = NeighborList(cutoff=cutoff, full_list=False).compute(
            points=positions, box=self.vectors, periodic=list(self.periodic), quantities="PS"
        )
        pairs, shifts = (np.asarray(part).astype(np.int64) for part in found)
        return pairs, shifts

    def surely_apart(
        self, before: Lattice, moved: np.ndarray, start: np.ndarray, apart: float, skin: float
    ) -> bool:
        """Whether atoms that were further apart than ``apart + skin`` are still beyond ``apart``.

        Parameters
        ----------
        before, start : lattice and positions (N, 3) when the distances were known.
        moved : (N, 3) present positions, Angstrom.
        apart, skin : Angstrom.
        """
        if self.periodic != before.periodic:
            return False
        shrinks = 1.0
        if not np.array_equal(self.vectors, before.vectors):
            # A strain shortens no vector by more than its smallest singular value.
            strain = np.linalg.solve(before.vectors, self.vectors)
            shrinks = min(1.0, float(np.linalg.svd(strain, compute_uv=False).min()))
            start = start @ strain
        away = float(np.sqrt(np.square(moved - start).sum(axis=1).max()))
        return shrinks * (apart + skin) - 2.0 * away > apart


def unrolled(
    molecules: Iterable[tuple[int, ...]], n_atoms: int, bonds: np.ndarray, shifts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Cells in which atoms lie if each molecule is followed along its bonds.

    Parameters
    ----------
    molecules : connected components of the bonds.
    n_atoms, bonds, shifts : number of atoms, (B, 2) and (B, 3), the cell of the second atom.

    Returns
    -------
    offset : (N, 3) int, zero for the first atom of each molecule.
    steps : (B, 3) int, the shifts that remain: zero along a spanning tree, and everywhere in a
        molecule that does not extend through all cells.
    """
    around: list[list[tuple[int, Vector]]] = [[] for _ in range(n_atoms)]
    for (i, j), (x, y, z) in zip(bonds.tolist(), shifts.tolist(), strict=True):
        around[i].append((j, (x, y, z)))
        around[j].append((i, (-x, -y, -z)))
    offset: list[Vector | None] = [None] * n_atoms
    for atoms in molecules:
        offset[atoms[0]] = (0, 0, 0)
        queue = [atoms[0]]
        for atom in queue:  # grows in the loop
            x, y, z = offset[atom] or (0, 0, 0)
            for other, step in around[atom]:
                if offset[other] is None:
                    offset[other] = (x + step[0], y + step[1], z + step[2])
                    queue.append(other)
    found = np.array(offset, dtype=np.int64).reshape(n_atoms, 3)
    return found, found[bonds[:, 0]] + shifts - found[bonds[:, 1]]


def basis_of(vectors: Iterable[Vector]) -> tuple[Vector, ...]:
    """Basis of the lattice that these vectors generate: the rows of its Hermite normal form.

    Returns
    -------
    At most three vectors, each with zeros before its first entry, which is positive.
    """
    rows = [list(v) for v in vectors if any(v)]
    basis: list[list[int]] = []
    for column in range(3):
        while len(live := [row for row in rows if row[column]]) > 1:
            least = min(live, key=lambda row: abs(row[column]))
            for row in live:
                if row is not least:
                    times = row[column] // least[column]
                    row[:] = [a - times * b for a, b in zip(row, least, strict=True)]
        if live:
            rows = [row for row in rows if row is not live[0]]
            sign = 1 if live[0][column] > 0 else -1
            new = [sign * a for a in live[0]]
            for row in basis:
                times = row[column] // new[column]
                row[:] = [a - times * b for a, b in zip(row, new, strict=True)]
            basis.append(new)
    return tuple((x, y, z) for x, y, z in basis)


def modulo(vectors: np.ndarray, basis: Iterable[Vector]) -> np.ndarray:
    """Representatives of vectors (..., 3) that are equal for equal vectors up to the lattice.

    ``basis`` : result of :func:`basis_of`.
    """
    for row in np.array(list(basis), dtype=np.int64).reshape(-1, 3):
        pivot = int(np.flatnonzero(row)[0])
        vectors = vectors - (vectors[..., pivot] // row[pivot])[..., None] * row
    return vectors
