"""Refragmentation from step to step: the hypergraph of a moving molecule.

The last hypergraph is reused only if that does not change the energy: everything it lists beyond
the range of the present geometry has a weight of exactly zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from se3set_ase.hypergraph.bonds import COINCIDENT, BondState, find_bonds, longest_bond, only
from se3set_ase.hypergraph.build import check_positions, connect, find_pairs
from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.hypergraph.lattice import Lattice
from se3set_ase.hypergraph.listing import Listing
from se3set_ase.hypergraph.mixing import FragmentMixer
from se3set_ase.hypergraph.structure import Hypergraph

Bond = tuple[int, int]


class Refragmenter:
    """The hypergraph of a moving molecule, rebuilt only when necessary.

    A hypergraph is listed with a skin. It stays valid, and the same object is returned, while no
    atom has moved by half the skin and the sets of certain and ambiguous bonds are unchanged. In a
    cell, the strain of the cell counts as well. :class:`.JointListing` checks many molecules at
    once.

    Parameters
    ----------
    config : settings of the hypergraph.
    skin : Angstrom; a larger one means fewer rebuilds and more items of weight zero.
    bond_orders : bond orders that replace perceived ones, by atom pair.
    frozen : keep the fragments of the first geometry, until the elements change.
    mixer : cache of bond graphs; by default a new one with these bond orders.

    Attributes
    ----------
    listing : the last hypergraph; None before the first one and after an error.
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
        self._first_numbers = np.empty(0, dtype=np.int64)
        self._first_bonds: np.ndarray | None = None
        self._mixer = mixer or FragmentMixer(bond_orders)
        self.listing: Listing | None = None

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
        last = self.listing
        if (
            last is not None
            and not last.hypergraph.fleeting
            and self._still_listed(last, numbers, positions, lattice)
        ):
            distances = last.distances(positions, lattice)
            state = find_bonds(last.pairs, distances, last.limits, last.shifts)
            if not (distances < COINCIDENT).any():  # otherwise the rebuild raises the error
                if np.array_equal(state.kinds, last.kinds):
                    return last.hypergraph
                if self._frozen:
                    self.listing = replace(last, kinds=state.kinds)
                    self._compare(state)
                    return last.hypergraph
        return self._rebuild(numbers, positions, lattice)

    def _still_listed(
        self,
        last: Listing,
        numbers: np.ndarray,
        positions: np.ndarray,
        lattice: Lattice | None,
    ) -> bool:
        if not np.array_equal(numbers, last.hypergraph.numbers):
            return False
        if lattice is not None or last.lattice is not None:
            if lattice is None or last.lattice is None:
                return False
            apart = max(self.config.cutoff, longest_bond(numbers, self.config))
            start = last.reference
            return lattice.surely_apart(last.lattice, positions, start, apart, self.skin)
        moved = positions - last.reference
        return bool(np.einsum("nx,nx->n", moved, moved).max() < (0.5 * self.skin) ** 2)

    def _rebuild(
        self, numbers: np.ndarray, positions: np.ndarray, lattice: Lattice | None
    ) -> Hypergraph:
        self.listing = None  # leaves nothing stale if this raises
        pairs = find_pairs(numbers, positions, self.config, self.skin, lattice)
        state, first = pairs.bonds, None
        if self._frozen:
            first = self._first_bonds
            if first is None or not np.array_equal(numbers, self._first_numbers):
                first = state.decided()
            pairs = replace(pairs, bonds=only(first))
        hypergraph = connect(numbers, pairs, self.config, mixer=self._mixer, skin=self.skin)
        self._first_numbers, self._first_bonds = hypergraph.numbers, first
        self._compare(state)
        self.listing = Listing(
            hypergraph=hypergraph,
            skin=self.skin,
            reference=positions.copy(),
            pairs=pairs.candidates,
            limits=pairs.limits,
            kinds=state.kinds,
            shifts=pairs.candidate_shifts,
            lattice=lattice,
        )
        return hypergraph

    def _compare(self, state: BondState) -> None:
        """Record how bonds differ from those of the first geometry."""
        if self._first_bonds is not None:
            now = {(i, j) for i, j in state.decided().tolist()}
            first = {(i, j) for i, j in self._first_bonds.tolist()}
            self.departed = frozenset(now - first), frozenset(first - now)
