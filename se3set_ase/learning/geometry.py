"""Compares geometries of one molecule, and recognises broken ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import pdist, squareform

#: Multiples of the sum of two covalent radii: closer atoms overlap, further ones are not bonded.
OVERLAP, BONDED = 0.6, 1.4


def distances(frames: Sequence[Atoms]) -> np.ndarray:
    """Distances of all pairs of atoms, (frames, pairs) Angstrom: equal for rotated geometries."""
    return np.array([pdist(atoms.positions) for atoms in frames])


def difference(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Root mean square differences of distances (pairs,) and (frames, pairs), Angstrom.

    It is the difference of two geometries whatever their position and orientation. Mirror images
    are not distinguished.
    """
    rms: np.ndarray = np.sqrt(np.mean((others - one) ** 2, axis=-1))
    return rms


def change(one: Atoms, other: Atoms) -> float:
    """The :func:`difference` of two geometries, Angstrom."""
    first, second = distances([one, other])
    return float(difference(first, second[None])[0])


def overlapping(atoms: Atoms) -> bool:
    """Whether any two atoms are closer than atoms in molecules are."""
    return bool((_relative(atoms) < OVERLAP).any())


def n_fragments(atoms: Atoms) -> int:
    """Number of parts that no bond connects."""
    bonded = squareform(_relative(atoms) < BONDED)
    return int(connected_components(bonded, directed=False)[0])


def _relative(atoms: Atoms) -> np.ndarray:
    """Distances of all pairs in units of the sums of their covalent radii."""
    radii = covalent_radii[atoms.numbers][:, None]
    return pdist(atoms.positions) / pdist(radii, lambda a, b: float(a[0] + b[0]))
