"""Takes molecules out of periodic cells."""

from __future__ import annotations

from collections import deque

import numpy as np
from ase import Atoms
from ase.neighborlist import natural_cutoffs, neighbor_list

#: Longest bond, as a multiple of the sum of covalent radii.
BOND = 1.2


def without_cell(atoms: Atoms) -> Atoms:
    """Return the molecules of a periodic cell without the cell.

    Molecules that cross the boundary are made whole. Distances between molecules are not changed
    to those of the nearest images.

    Raises
    ------
    ValueError : bonds extend through all cells, as in a crystal or a polymer.
    """
    cutoffs = natural_cutoffs(atoms, mult=BOND)
    first, second, shifts = neighbor_list("ijS", atoms, cutoffs)
    shift_of = np.zeros((len(atoms), 3), dtype=int)
    seen = np.zeros(len(atoms), dtype=bool)
    order = np.argsort(first, kind="stable")
    starts = np.searchsorted(first[order], np.arange(len(atoms) + 1))
    for root in range(len(atoms)):
        if seen[root]:
            continue
        seen[root] = True
        waiting = deque([root])
        while waiting:
            i = waiting.popleft()
            for bond in order[starts[i] : starts[i + 1]]:
                j, shift = second[bond], shift_of[i] + shifts[bond]
                if not seen[j]:
                    seen[j], shift_of[j] = True, shift
                    waiting.append(j)
                elif (shift_of[j] != shift).any():
                    raise ValueError(
                        "expected molecules in the cell, got bonds that extend through all cells "
                        f"(atoms {i} and {j}), as in a crystal or a polymer"
                    )
    new = atoms.copy()
    new.positions += shift_of @ np.asarray(atoms.cell)
    new.pbc = False
    new.cell = None
    return new
