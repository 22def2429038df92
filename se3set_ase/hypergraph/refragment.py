"""Refragmentation from step to step: the hypergraph of a moving molecule.

The last hypergraph is reused only if that does not change the energy: everything it lists beyond
the range of the present geometry has a weight of exactly zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from se3set_ase.hypergraph.bonds import (
    COINCIDENT,
    BondState,
    find_bonds,
    longest_bond,
    only,
)
from se3set_ase.hypergraph.build import check_positions, connect, find_pairs
from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.hypergraph.lattice import Lattice
from se3set_ase.hypergraph.mixing import FragmentMixer
from se3set_ase.hypergraph.structure import Hypergraph

Bond = tuple[int, int]


class Refragmenter:
    """The hypergraph of a moving molecule, rebuilt only when necessary.

    A hypergraph is listed with a skin. It stays valid, and the same object is returned, while no
    atom has moved by half the skin and the sets of certain and ambiguous bonds are unchanged. In a
    cell, the strain of the cell counts as well.

    Parameters
    ----------
    config : settings of the hypergraph.
    skin : Angstrom; a larger one means fewer rebuilds and more items of weight zero.
    bond_orders : bond orders that replace perceived ones, by atom pair.
    frozen : keep the fragments of the first geometry, until the elements change.
    mixer : cache of bond graphs; by default a new one with these bond orders.

    Attributes
    ----------
    departed : if frozen, bonds of the present geometry that the first one lacks, and bonds of the
        first geometry that the present one lacks.
    """

    def __init__(
        self,
        config: HypergraphConfig,
        *,
        skin: float = 0.5,
        bond_orders: Mapping[tuple[int, int], float] | None = None,
        frozen: bool = False,
        mixer: FragmentMixer | None = None,
    ):
        if not isinstance(skin, int | float | np.number) or not 0 <= skin < np.inf:
            raise ValueError(f"expected a skin of 0 Angstrom or more, got {skin!r}")
        self.config = config
        self.skin = float(skin)
        self.departed: tuple[frozenset[Bond], frozenset[Bond]] = (frozenset(), frozenset())
        self._frozen = frozen
        self._first_bonds: np.ndarray | None = None
        self._mixer = mixer or FragmentMixer(bond_orders)
        self._numbers = np.empty(0, dtype=np.int64)
        self._reference = np.empty((0, 3))
        self._pairs = np.empty((0, 2), dtype=np.int64)
        self._limits = np.empty((0, 2))
        self._shifts: np.ndarray | None = None
        self._lattice: Lattice | None = None
        self._bonds: tuple[bytes, ...] | None = None
        self._hypergraph: Hypergraph | None = None

    def update(
        self, numbers: np.ndarray, positions: np.ndarray, lattice: Lattice | None = None
    ) -> Hypergraph:
        """The hypergraph at these positions (N, 3), Angstrom; errors as in build_hypergraph.

        Raises
        ------
        ValueError : also for frozen fragments in a cell.
        """
        check_positions(positions, len(numbers))
        if self._frozen and lattice is not None:
            raise ValueError("expected an isolated molecule with frozen fragments, got a cell")
        last, pairs = self._hypergraph, self._pairs
        if (
            last is not None
            and not last.fleeting
            and self._still_listed(numbers, positions, lattice)
        ):
            vectors = positions[pairs[:, 1]] - positions[pairs[:, 0]]
            if lattice is not None:
                vectors += self._shifts @ lattice.vectors
            distances = np.sqrt(np.einsum("px,px->p", vectors, vectors))
            state = find_bonds(pairs, distances, self._limits, self._shifts)
            if not (distances < COINCIDENT).any():  # otherwise the rebuild raises the error
                if state.key() == self._bonds:
                    return last
                if self._frozen:
                    self._bonds = state.key()
                    self._compare(state)
                    return last
        return self._rebuild(numbers, positions, lattice)

    def _still_listed(
        self, numbers: np.ndarray, positions: np.ndarray, lattice: Lattice | None
    ) -> bool:
        if not np.array_equal(numbers, self._numbers) or len(positions) != len(self._numbers):
            return False
        if lattice is not None or self._lattice is not None:
            if lattice is None or self._lattice is None:
                return False
            apart = max(self.config.cutoff, longest_bond(numbers, self.config))
            start = self._reference
            return lattice.surely_apart(self._lattice, positions, start, apart, self.skin)
        moved = positions - self._reference
        return bool(np.einsum("nx,nx->n", moved, moved).max() < (0.5 * self.skin) ** 2)

    def _rebuild(
        self, numbers: np.ndarray, positions: np.ndarray, lattice: Lattice | None
    ) -> Hypergraph:
        self._hypergraph = None  # leaves nothing stale if this raises
        pairs = find_pairs(numbers, positions, self.config, self.skin, lattice)
        state = pairs.bonds
        first = self._first_bonds if np.array_equal(numbers, self._numbers) else None
        if self._frozen:
            first = state.decided() if first is None else first
            pairs = replace(pairs, bonds=only(first))
        hypergraph = connect(numbers, pairs, self.config, mixer=self._mixer, skin=self.skin)
        self._pairs, self._limits = pairs.candidates, pairs.limits
        self._shifts, self._lattice = pairs.candidate_shifts, lattice
        self._first_bonds, self._bonds = first, state.key()
        self._compare(state)
        self._numbers, self._reference = numbers.copy(), positions.copy()
        self._hypergraph = hypergraph
        return hypergraph

    def _compare(self, state: BondState) -> None:
        """Record how bonds differ from those of the first geometry."""
        if self._first_bonds is not None:
            now = {(i, j) for i, j in state.decided().tolist()}
            first = {(i, j) for i, j in self._first_bonds.tolist()}
            self.departed = frozenset(now - first), frozenset(first - now)
