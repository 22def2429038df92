"""The hypergraph of one geometry as index arrays, without chemistry (see :mod:`.build`)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

#: All outcomes of at most this many ambiguous bonds count.
EXACT_BONDS = 5
#: For more ambiguous bonds: the rank in ambiguity beyond which a bond must be in its more probable
#: state (slightly less than that of nine equally ambiguous bonds), and the sharpness of ranks.
RANK, SHARPNESS = 6.39, 0.25

#: Directions of an isolated molecule that are periodic.
NOT_PERIODIC = (False, False, False)

#: States of ambiguous bonds, by row: present or not.
State = tuple[tuple[int, bool], ...]
#: A term of W_f: the states of ambiguous bonds, by index.
Term = State


@dataclass(frozen=True, kw_only=True)
class WeightedFragment:
    """A fragment and the polynomial of its weight.

    Attributes
    ----------
    atoms : ascending.
    terms : terms of a sum; each is the product of ``b_a`` (present) or ``1 - b_a`` (absent) over
        its ambiguous bonds. ``((),)``, the empty product alone, is the weight 1. A term of more
        than EXACT_BONDS bonds is damped, see :mod:`se3set_ase.hypergraph.outcomes`.
    rest : a fragment of one atom with the weight 1 minus those of all other fragments of the atom.
    images : in a periodic system, the cell of each of its atoms; else None. The fragment stands
        for all its copies by lattice vectors.
    wraps : basis of the lattice vectors that map a fragment onto itself, such as a polymer.
    """

    atoms: tuple[int, ...]
    terms: tuple[Term, ...]
    rest: bool = False
    images: tuple[tuple[int, int, int], ...] | None = None
    wraps: tuple[tuple[int, int, int], ...] = ()


class Counts(NamedTuple):
    """Number of items of a hypergraph, by their names."""

    molecules: int
    atoms: int
    bonds: int
    terms: int
    fragments: int
    rests: int
    hyperedges: int
    edges: int
    pairs: int
    """Pairs of atoms at any distance."""


@dataclass(frozen=True, kw_only=True)
class Hypergraph:
    """Index arrays of one molecule's hypergraph.

    N atoms, A ambiguous bonds, F candidate fragments, T terms of their weights, H hyperedges,
    E edges. Hyperedges are sorted by owner and edges by hyperedge.

    Attributes
    ----------
    numbers : (N,) atomic numbers.
    sure_bonds : (B, 2) atoms of bonds of weight 1.
    bond_atoms : (A, 2) atoms of each ambiguous bond; bond_range : (A, 2) Angstrom, the distances
        between which its weight falls from 1 to 0.
    fragments : the candidate fragments, atoms and weight polynomial.
    rest_fragment, rest_other : (Q,) a fragment that is the rest of an atom, and another fragment
        of the same atom, whose weight it lacks.
    fleeting : valid only for the positions for which it was built, see
        :class:`se3set_ase.hypergraph.mixing.Mixture`.
    hyper_atom, hyper_fragment : (H,) owner and fragment; hyper_member : (H,) whether the owner is
        a member of the fragment. In a cell, of this copy of the fragment: others are hyperedges
        of their own.
    edge_hyper, edge_atom : (E,) hyperedge and member.
    bond_shift, edge_shift : (A, 3) and (E, 3) int, the cell of the second atom of each ambiguous
        bond, and of the member of each edge, relative to the owner; None without a cell.
    periodic : for each cell vector.
    """

    numbers: np.ndarray
    sure_bonds: np.ndarray
    bond_atoms: np.ndarray
    bond_range: np.ndarray
    fragments: tuple[WeightedFragment, ...]
    rest_fragment: np.ndarray
    rest_other: np.ndarray
    fleeting: bool
    hyper_atom: np.ndarray
    hyper_fragment: np.ndarray
    hyper_member: np.ndarray
    edge_hyper: np.ndarray
    edge_atom: np.ndarray
    bond_shift: np.ndarray | None = None
    edge_shift: np.ndarray | None = None
    periodic: tuple[bool, bool, bool] = NOT_PERIODIC

    @cached_property
    def counts(self) -> Counts:
        """Number of items of each kind; bonds are the ambiguous ones."""
        n_atoms = len(self.numbers)
        return Counts(
            molecules=1,
            atoms=n_atoms,
            bonds=len(self.bond_atoms),
            terms=len(self.term_fragment),
            fragments=len(self.fragments),
            rests=len(self.rest_fragment),
            hyperedges=len(self.hyper_atom),
            edges=len(self.edge_hyper),
            pairs=n_atoms * (n_atoms - 1) // 2,
        )

    @cached_property
    def fragment_size(self) -> np.ndarray:
        """(F,) number of atoms of each fragment."""
        return np.array([len(f.atoms) for f in self.fragments], dtype=np.int64)

    @cached_property
    def term_fragment(self) -> np.ndarray:
        """(T,) fragment of each term."""
        n_terms = [len(f.terms) for f in self.fragments]
        return np.repeat(np.arange(len(n_terms)), n_terms)

    @cached_property
    def term_factor(self) -> np.ndarray:
        """(T, K) factors of each term: 0 is the number 1; 1 + a is b_a; -1 - a is 1 - b_a."""
        terms = [term for f in self.fragments for term in f.terms]
        rows = np.zeros((len(terms), max(map(len, terms), default=0)), dtype=np.int64)
        for t, term in enumerate(terms):
            for k, (a, present) in enumerate(term):
                rows[t, k] = 1 + a if present else -1 - a
        return rows
