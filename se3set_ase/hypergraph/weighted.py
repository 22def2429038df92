"""The hypergraph of a geometry with its weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from se3set_ase.hypergraph.structure import Hypergraph

__all__ = ["WeightedHypergraph"]

#: Weights up to this value are rounding errors and count as zero.
ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True)
class WeightedHypergraph:
    """A hypergraph with its weights at one geometry.

    Attributes
    ----------
    structure : the candidates, as index arrays.
    positions : (N, 3), Angstrom.
    bond_weights : (A,) weights of the ambiguous bonds.
    fragment_weights : (F,) weights of the fragments.
    hyperedge_weights : (H,) weights, zero for hyperedges out of reach.
    hyperedge_reach : (H,) reach of the fragment from its owner, 1 for members.
    cell : (3, 3) Angstrom; None for an isolated molecule.
    """

    structure: Hypergraph
    positions: np.ndarray
    bond_weights: np.ndarray
    fragment_weights: np.ndarray
    hyperedge_weights: np.ndarray
    hyperedge_reach: np.ndarray
    cell: np.ndarray | None = None

    @property
    def numbers(self) -> np.ndarray:
        """(N,) atomic numbers."""
        return self.structure.numbers

    @cached_property
    def bonds(self) -> list[tuple[tuple[int, int], float]]:
        """Every bond with a weight above zero: atoms and weight.

        In a small cell two atoms may have several bonds, to different images.
        """
        sure = [((i, j), 1.0) for i, j in self.structure.sure_bonds.tolist()]
        weights = zip(self.structure.bond_atoms.tolist(), self.bond_weights.tolist(), strict=True)
        return sorted(sure + [((i, j), w) for (i, j), w in weights if w > 0])

    @cached_property
    def fragments(self) -> list[tuple[tuple[int, ...], float]]:
        """Every fragment with a weight above rounding: atoms and weight."""
        weights = zip(self.structure.fragments, self.fragment_weights.tolist(), strict=True)
        return [(f.atoms, w) for f, w in weights if w > ROUNDING]

    def fragment_energies(self, energies: np.ndarray) -> list[tuple[tuple[int, ...], float]]:
        """Energies of the atoms (N,) distributed among their fragments: atoms and energy.

        E_f = sum_{i in f} W_f E_i / sum_{g of i} W_g: these add up to the energy of the molecule.
        The weights of the fragments of an atom add up to 1, in float32 only nearly.
        """
        totals = np.zeros(len(self.numbers))
        for atoms, weight in self.fragments:
            np.add.at(totals, list(atoms), weight)  # in a cell, atoms may occur several times
        shares = energies / totals
        return [(atoms, w * float(shares[list(atoms)].sum())) for atoms, w in self.fragments]

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
        """An interactive view for notebooks."""
        from se3set_ase.pictures.viewer import View  # late: nothing else here needs ASE

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
        """Owner and decided fragment of other atoms, with a reach above one half."""
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
        """(F,) whether a fragment exists: its weight for decided bonds."""
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
        """A key that is equal for two geometries only if all decisions are equal."""
        return (
            id(self.structure),
            (self.bond_weights > 0.5).tobytes(),
            self._reach_decided.tobytes(),
        )
