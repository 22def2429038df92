"""Refragmentation from step to step: the hypergraph of a moving molecule, and what was seen of it.

What can be reused is, exactly: a listed item out of range weighs zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from se3set_ase.bonds import COINCIDENT, neighbour_pairs
from se3set_ase.hypergraph import (
    Hypergraph,
    HypergraphConfig,
    build_hypergraph,
    check_positions,
    find_bonds,
    longest_bond_of,
)
from se3set_ase.mixing import FragmentMixer


class Refragmenter:
    """The hypergraph of a moving molecule, rebuilt only when it has to be.

    A hypergraph is listed with a skin. It stays valid while no atom has moved by half of that and
    the same bonds are sure and ambiguous; the same object is returned then.

    Parameters
    ----------
    config : what decides the hypergraph.
    skin : Angstrom; more means fewer rebuilds and more items of weight zero.
    bond_orders : bond orders that replace perception, by atom pair.
    """

    def __init__(
        self,
        config: HypergraphConfig,
        *,
        skin: float = 0.5,
        bond_orders: Mapping[tuple[int, int], float] | None = None,
    ):
        if not isinstance(skin, int | float | np.number) or not 0 <= skin < np.inf:
            raise ValueError(f"expected a skin of 0 Angstrom or more, got {skin!r}")
        self.config = config
        self.skin = float(skin)
        self._mixer = FragmentMixer(bond_orders)
        self._numbers = np.empty(0, dtype=np.int64)
        self._reference = np.empty((0, 3))
        self._pairs = np.empty((0, 2), dtype=np.int64)
        self._bonds: tuple[bytes, bytes] | None = None
        self._hypergraph: Hypergraph | None = None

    def update(self, numbers: np.ndarray, positions: np.ndarray) -> Hypergraph:
        """The hypergraph at these positions (N, 3), Angstrom; errors as build_hypergraph."""
        check_positions(positions)
        last = self._hypergraph
        if last is not None and not last.fleeting and self._still_listed(numbers, positions):
            vectors = positions[self._pairs[:, 1]] - positions[self._pairs[:, 0]]
            distances = np.sqrt(np.einsum("px,px->p", vectors, vectors))
            state = find_bonds(numbers, self._pairs, distances, self.config)
            if state.key() == self._bonds and not (distances < COINCIDENT).any():
                return last
        self._rebuild(numbers, positions)
        assert self._hypergraph is not None
        return self._hypergraph

    def _still_listed(self, numbers: np.ndarray, positions: np.ndarray) -> bool:
        if not np.array_equal(numbers, self._numbers) or len(positions) != len(self._numbers):
            return False
        moved = positions - self._reference
        return bool(np.einsum("nx,nx->n", moved, moved).max() < (0.5 * self.skin) ** 2)

    def _rebuild(self, numbers: np.ndarray, positions: np.ndarray) -> None:
        self._hypergraph = None  # nothing stale is left behind if the build raises
        hypergraph = build_hypergraph(
            numbers, positions, self.config, mixer=self._mixer, skin=self.skin
        )
        longest = longest_bond_of(numbers, self.config)
        self._pairs, distances = neighbour_pairs(positions, longest + self.skin)
        self._bonds = find_bonds(numbers, self._pairs, distances, self.config).key()
        self._numbers, self._reference = numbers.copy(), positions.copy()
        self._hypergraph = hypergraph


@dataclass(frozen=True, kw_only=True)
class WeightedHypergraph:
    """What the network saw at one geometry: a hypergraph with its weights.

    Attributes
    ----------
    structure : the candidates, as index arrays.
    bond_weights : (A,) of the ambiguous bonds. fragment_weights : (F,).
    hyperedge_weights : (H,) ; zero for those that are listed but out of reach.
    """

    structure: Hypergraph
    bond_weights: np.ndarray
    fragment_weights: np.ndarray
    hyperedge_weights: np.ndarray

    @cached_property
    def bonds(self) -> list[tuple[tuple[int, int], float]]:
        """Every bond with a weight above zero: atoms and weight."""
        sure = [((i, j), 1.0) for i, j in self.structure.sure_bonds.tolist()]
        weights = zip(self.structure.bond_atoms.tolist(), self.bond_weights.tolist(), strict=True)
        return sorted(sure + [((i, j), w) for (i, j), w in weights if w > 0])

    @cached_property
    def fragments(self) -> list[tuple[tuple[int, ...], float]]:
        """Every fragment with a weight above zero: atoms and weight."""
        weights = zip(self.structure.fragments, self.fragment_weights.tolist(), strict=True)
        return [(f.atoms, w) for f, w in weights if w > 0]

    @cached_property
    def hyperedges(self) -> list[tuple[int, tuple[int, ...], float]]:
        """Every hyperedge with a weight above zero: owner, atoms of its fragment, weight."""
        s = self.structure
        rows = zip(
            s.hyper_atom.tolist(),
            s.hyper_fragment.tolist(),
            self.hyperedge_weights.tolist(),
            strict=True,
        )
        return [(i, s.fragments[f].atoms, w) for i, f, w in rows if w > 0]

    @property
    def n_hyperedges(self) -> int:
        """Number of hyperedges with a weight above zero."""
        return int((self.hyperedge_weights > 0).sum())

    @property
    def n_edges(self) -> int:
        """Number of candidate edges of those hyperedges."""
        return int((self.hyperedge_weights > 0)[self.structure.edge_hyper].sum())

    def __repr__(self) -> str:
        return (
            f"WeightedHypergraph({len(self.structure.numbers)} atoms, {len(self.bonds)} bonds, "
            f"{len(self.fragments)} fragments, {self.n_hyperedges} hyperedges)"
        )

    @cached_property
    def decided_bonds(self) -> frozenset[tuple[int, int]]:
        """Bonds with a weight above one half."""
        return frozenset(bond for bond, weight in self.bonds if weight > 0.5)

    @cached_property
    def decided_fragments(self) -> frozenset[tuple[int, ...]]:
        """Fragments of the graph of the decided bonds."""
        return frozenset(
            fragment.atoms
            for fragment, present in zip(
                self.structure.fragments, self._fragment_decided, strict=True
            )
            if present
        )

    @cached_property
    def decided_reach(self) -> frozenset[tuple[int, tuple[int, ...]]]:
        """Owner and decided fragment, of other atoms, that is more in its reach than out of it."""
        s = self.structure
        return frozenset(
            (i, s.fragments[f].atoms)
            for i, f in zip(
                s.hyper_atom[self._reach_decided].tolist(),
                s.hyper_fragment[self._reach_decided].tolist(),
                strict=True,
            )
        )

    @cached_property
    def _fragment_decided(self) -> np.ndarray:
        """(F,) whether a fragment exists: its weight's terms, at bonds of weight 0 or 1."""
        bond = self.bond_weights > 0.5
        if not len(bond):
            return np.ones(len(self.structure.fragments), dtype=bool)
        s = self.structure
        decided = np.array(
            [
                any(all(bond[a] == present for a, present in term) for term in fragment.terms)
                for fragment in s.fragments
            ],
            dtype=bool,
        )
        decided[s.rest_fragment[decided[s.rest_other]]] = False
        return decided

    @cached_property
    def _reach_decided(self) -> np.ndarray:
        """(H,) for owners outside their fragment."""
        s = self.structure
        within = self.hyperedge_weights > 0.5 * self.fragment_weights[s.hyper_fragment]
        return ~s.hyper_member & within & self._fragment_decided[s.hyper_fragment]

    def decisions(self) -> tuple[int, bytes, bytes]:
        """Equal for two geometries only if nothing was decided differently."""
        return (
            id(self.structure),
            (self.bond_weights > 0.5).tobytes(),
            self._reach_decided.tobytes(),
        )
