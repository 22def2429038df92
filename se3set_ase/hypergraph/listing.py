"""Listed hypergraphs, and the check whether those of many molecules are still valid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from se3set_ase.hypergraph.bonds import COINCIDENT, bond_kinds
from se3set_ase.hypergraph.build import LARGEST_COORDINATE
from se3set_ase.hypergraph.lattice import Lattice
from se3set_ase.hypergraph.structure import Hypergraph


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A hypergraph with what decides whether it is still valid.

    It is valid while no atom has moved by half the skin and no candidate pair has another kind of
    bond.

    Attributes
    ----------
    hypergraph : listed with the skin.
    skin : Angstrom.
    reference : (N, 3) Angstrom, positions at which the pairs were found.
    pairs, limits, kinds : (C, 2), (C, 2) Angstrom and (C,): candidate pairs, the range in which
        their bonds are ambiguous, and the present kinds, see
        :func:`se3set_ase.hypergraph.bonds.bond_kinds`.
    shifts, lattice : in a cell, (C, 3) cells of the second atoms, and the lattice at the reference.
    """

    hypergraph: Hypergraph
    skin: float
    reference: np.ndarray
    pairs: np.ndarray
    limits: np.ndarray
    kinds: np.ndarray
    shifts: np.ndarray | None = None
    lattice: Lattice | None = None

    def distances(self, positions: np.ndarray, lattice: Lattice | None = None) -> np.ndarray:
        """(C,) Angstrom, of the candidate pairs at positions (N, 3)."""
        vectors = positions[self.pairs[:, 1]] - positions[self.pairs[:, 0]]
        if lattice is not None:
            vectors += self.shifts @ lattice.vectors
        found: np.ndarray = np.sqrt(np.einsum("px,px->p", vectors, vectors))
        return found


class JointListing:
    """Listings of isolated molecules as joined arrays, which are checked in one pass.

    Parameters
    ----------
    listings : at least one, of the molecules in their order.
    """

    def __init__(self, listings: Sequence[Listing]):
        self.listings = tuple(listings)
        n_atoms = np.array([len(each.reference) for each in listings])
        n_pairs = np.array([len(each.pairs) for each in listings])
        self._start = np.cumsum(n_atoms) - n_atoms  # of the atoms of each molecule
        self._molecule = np.repeat(np.arange(len(listings)), n_pairs)  # of each pair
        self._half_skin = np.array([0.5 * each.skin for each in listings])
        self._joined = Listing(
            hypergraph=listings[0].hypergraph,
            skin=listings[0].skin,
            reference=np.concatenate([each.reference for each in listings]),
            pairs=np.concatenate([each.pairs for each in listings])
            + np.repeat(self._start, n_pairs)[:, None],
            limits=np.concatenate([each.limits for each in listings]),
            kinds=np.concatenate([each.kinds for each in listings]),
        )

    def still_valid(self, positions: np.ndarray) -> np.ndarray:
        """Whether each hypergraph is still that of its molecule, (M,) bool.

        Parameters
        ----------
        positions : (N, 3) Angstrom, of all molecules. None is valid if some are not finite.
        """
        if not np.abs(positions).max() <= LARGEST_COORDINATE:  # or NaN
            return np.zeros(len(self.listings), dtype=bool)
        moved = positions - self._joined.reference
        furthest = np.maximum.reduceat(np.einsum("nx,nx->n", moved, moved), self._start)
        valid: np.ndarray = furthest < self._half_skin**2
        distances = self._joined.distances(positions)
        kinds = bond_kinds(distances, self._joined.limits)
        valid[self._molecule[(kinds != self._joined.kinds) | (distances < COINCIDENT)]] = False
        return valid
