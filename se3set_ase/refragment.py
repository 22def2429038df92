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
    BondState,
    Hypergraph,
    HypergraphConfig,
    bond_limits,
    build_hypergraph,
    check_positions,
    find_bonds,
    longest_bond_of,
)
from se3set_ase.mixing import FragmentMixer
from se3set_ase.viewer import View

Bond = tuple[int, int]

#: A weight that is listed; what is left of 1 may be less, and is nothing.
ROUNDING = 1e-12


class Refragmenter:
    """The hypergraph of a moving molecule, rebuilt only when it has to be.

    A hypergraph is listed with a skin. It stays valid while no atom has moved by half of that and
    the same bonds are sure and ambiguous; the same object is returned then.

    Parameters
    ----------
    config : what decides the hypergraph.
    skin : Angstrom; more means fewer rebuilds and more items of weight zero.
    bond_orders : bond orders that replace perception, by atom pair.
    frozen : keep the fragments of the first geometry, until atoms of other elements come.

    Attributes
    ----------
    departed : where frozen, the bonds that the present geometry has and the first one had not,
        and the other way round.
    """

    def __init__(
        self,
        config: HypergraphConfig,
        *,
        skin: float = 0.5,
        bond_orders: Mapping[tuple[int, int], float] | None = None,
        frozen: bool = False,
    ):
        if not isinstance(skin, int | float | np.number) or not 0 <= skin < np.inf:
            raise ValueError(f"expected a skin of 0 Angstrom or more, got {skin!r}")
        self.config = config
        self.skin = float(skin)
        self.departed: tuple[frozenset[Bond], frozenset[Bond]] = (frozenset(), frozenset())
        self._frozen = frozen
        self._first_bonds: np.ndarray | None = None
        self._mixer = FragmentMixer(bond_orders)
        self._numbers = np.empty(0, dtype=np.int64)
        self._reference = np.empty((0, 3))
        self._pairs = np.empty((0, 2), dtype=np.int64)
        self._limits = np.empty((0, 2))
        self._bonds: tuple[bytes, bytes] | None = None
        self._hypergraph: Hypergraph | None = None

    def update(self, numbers: np.ndarray, positions: np.ndarray) -> Hypergraph:
        """The hypergraph at these positions (N, 3), Angstrom; errors as build_hypergraph."""
        check_positions(positions, len(numbers))
        last = self._hypergraph
        if last is not None and not last.fleeting and self._still_listed(numbers, positions):
            vectors = positions[self._pairs[:, 1]] - positions[self._pairs[:, 0]]
            distances = np.sqrt(np.einsum("px,px->p", vectors, vectors))
            state = find_bonds(self._pairs, distances, self._limits)
            if state.key() == self._bonds and not (distances < COINCIDENT).any():
                return last
            if self._frozen and not (distances < COINCIDENT).any():
                self._bonds = state.key()
                self._compare(state)
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
        longest = longest_bond_of(numbers, self.config)
        self._pairs, distances = neighbour_pairs(positions, longest + self.skin)
        self._limits = bond_limits(numbers, self._pairs, self.config)
        state = find_bonds(self._pairs, distances, self._limits)
        first = self._first_bonds if np.array_equal(numbers, self._numbers) else None
        if self._frozen and first is None:
            first = state.decided()
        hypergraph = build_hypergraph(
            numbers, positions, self.config, mixer=self._mixer, skin=self.skin, bonds=first
        )
        self._first_bonds, self._bonds = first, state.key()
        self._compare(state)
        self._numbers, self._reference = numbers.copy(), positions.copy()
        self._hypergraph = hypergraph

    def _compare(self, state: BondState) -> None:
        """Note what bonds are others than those of the first geometry."""
        if self._first_bonds is not None:
            now = {(i, j) for i, j in state.decided().tolist()}
            first = {(i, j) for i, j in self._first_bonds.tolist()}
            self.departed = frozenset(now - first), frozenset(first - now)


@dataclass(frozen=True, kw_only=True)
class WeightedHypergraph:
    """What the network saw at one geometry: a hypergraph with its weights.

    Attributes
    ----------
    structure : the candidates, as index arrays.
    positions : (N, 3), Angstrom.
    bond_weights : (A,) of the ambiguous bonds. fragment_weights : (F,).
    hyperedge_weights : (H,) ; zero for those that are listed but out of reach.
    hyperedge_reach : (H,) how much the fragment is in its owner's reach, 1 for its members.
    """

    structure: Hypergraph
    positions: np.ndarray
    bond_weights: np.ndarray
    fragment_weights: np.ndarray
    hyperedge_weights: np.ndarray
    hyperedge_reach: np.ndarray

    @property
    def numbers(self) -> np.ndarray:
        """(N,) atomic numbers."""
        return self.structure.numbers

    @cached_property
    def bonds(self) -> list[tuple[tuple[int, int], float]]:
        """Every bond with a weight above zero: atoms and weight."""
        sure = [((i, j), 1.0) for i, j in self.structure.sure_bonds.tolist()]
        weights = zip(self.structure.bond_atoms.tolist(), self.bond_weights.tolist(), strict=True)
        return sorted(sure + [((i, j), w) for (i, j), w in weights if w > 0])

    @cached_property
    def fragments(self) -> list[tuple[tuple[int, ...], float]]:
        """Every fragment with a weight above rounding: atoms and weight."""
        weights = zip(self.structure.fragments, self.fragment_weights.tolist(), strict=True)
        return [(f.atoms, w) for f, w in weights if w > ROUNDING]

    def fragment_energies(self, energies: np.ndarray) -> list[tuple[tuple[int, ...], float]]:
        """Energies of the atoms (N,) shared out among their fragments: atoms and energy.

        E_f = sum_{i in f} W_f E_i; as the fragments of an atom weigh 1 in total, these add up to
        the energy of the molecule.
        """
        return [(atoms, w * float(energies[list(atoms)].sum())) for atoms, w in self.fragments]

    @cached_property
    def hyperedges(self) -> list[tuple[int, tuple[int, ...], float]]:
        """Every hyperedge with a weight above rounding: owner, atoms of its fragment, weight."""
        s = self.structure
        rows = zip(
            s.hyper_atom.tolist(),
            s.hyper_fragment.tolist(),
            self.hyperedge_weights.tolist(),
            strict=True,
        )
        return [(i, s.fragments[f].atoms, w) for i, f, w in rows if w > ROUNDING]

    @property
    def n_hyperedges(self) -> int:
        """Number of hyperedges with a weight above rounding."""
        return int((self.hyperedge_weights > ROUNDING).sum())

    @property
    def n_edges(self) -> int:
        """Number of candidate edges of those hyperedges."""
        return int((self.hyperedge_weights > ROUNDING)[self.structure.edge_hyper].sum())

    def __repr__(self) -> str:
        return (
            f"WeightedHypergraph({len(self.structure.numbers)} atoms, {len(self.bonds)} bonds, "
            f"{len(self.fragments)} fragments, {self.n_hyperedges} hyperedges)"
        )

    def _repr_html_(self) -> str:
        """In a notebook: its picture, that can be turned."""
        return View([self])._repr_html_()

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
        within = self.hyperedge_reach > 0.5
        return ~s.hyper_member & within & self._fragment_decided[s.hyper_fragment]

    def decisions(self) -> tuple[int, bytes, bytes]:
        """Equal for two geometries only if nothing was decided differently."""
        return (
            id(self.structure),
            (self.bond_weights > 0.5).tobytes(),
            self._reach_decided.tobytes(),
        )
