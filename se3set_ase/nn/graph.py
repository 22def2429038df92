"""The hypergraph as tensors, and its smooth weights as functions of the positions.

Everything that makes the energy smooth across refragmentation is in :func:`weigh`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.hypergraph.radii import COVALENT_RADII
from se3set_ase.hypergraph.structure import EXACT_BONDS, Counts, Hypergraph
from se3set_ase.nn.likelihood import likelihood
from se3set_ase.nn.scatter import Backend, scatter_sum
from se3set_ase.nn.smooth import any_of, envelope, switch


class Graph(NamedTuple):
    """Hypergraphs of one or several molecules. Indices int64, floats in the model's dtype.

    N atoms, M molecules, A ambiguous bonds, T terms, F fragments, Q rests, H hyperedges, E edges,
    P pairs of atoms at any distance, for models that have energies of pairs.
    May be padded: a padded item contributes exactly zero.
    """

    species: Tensor
    """(N,) index into the model's elements."""
    molecule: Tensor
    """(N,) molecule of each atom."""
    atom_weight: Tensor
    """(N,) 1, or 0 for padding."""
    n_atoms: Tensor
    """(M,) atoms of each molecule."""
    bond_atoms: Tensor
    """(A, 2) atoms of each ambiguous bond."""
    bond_range: Tensor
    """(A, 2) Angstrom, distances between which its weight falls from 1 to 0."""
    bond_shift: Tensor
    """(A, 3) Angstrom, added to the bond vector; zero but for padding and cells."""
    term_factor: Tensor
    """(T, K) factors of each term: 0 is the number 1; 1 + a is b_a; 1 + A + a is 1 - b_a."""
    term_fragment: Tensor
    """(T,) fragment to whose weight the term belongs."""
    rest_fragment: Tensor
    """(Q,) a fragment that is the rest of an atom."""
    rest_other: Tensor
    """(Q,) another fragment of that atom, whose weight it lacks."""
    rest_weight: Tensor
    """(Q,) 1, or 0 for padding."""
    fragment_size: Tensor
    """(F,) atoms of each fragment."""
    hyper_atom: Tensor
    """(H,) owner i of each hyperedge, ascending but for padding."""
    hyper_fragment: Tensor
    """(H,) fragment f of each hyperedge."""
    hyper_member: Tensor
    """(H,) 1 if the owner is a member of the fragment, else 0."""
    edge_hyper: Tensor
    """(E,) hyperedge of each edge, ascending but for padding."""
    edge_atom: Tensor
    """(E,) member j at the end of each edge."""
    edge_shift: Tensor
    """(E, 3) Angstrom, added to r_j - r_i; zero but for padding, which it puts out of reach, and
    for cells, see :mod:`se3set_ase.nn.cells`."""
    charge: Tensor
    """(M,) e, total charge of each molecule."""
    pair: Tensor
    """(P, 2) atoms i < j of each pair of a molecule."""
    pair_shift: Tensor
    """(P, 3) Angstrom, added to r_j - r_i; zero but for padding."""
    pair_weight: Tensor
    """(P,) 1, or 0 for padding."""


class Weights(NamedTuple):
    """The smooth weights at given positions; Angstrom."""

    bond: Tensor
    """(A,) b of each ambiguous bond."""
    fragment: Tensor
    """(F,) W_f."""
    reach: Tensor
    """(H,) :func:`any_of` sum_{j in f} s(d_ij) at the owner i, 1 if it is a member of f."""
    hyperedge: Tensor
    """(H,) u_if: W_f times that."""
    edge: Tensor
    """(E,) omega: 1 at zero distance, 0 from the cutoff on."""
    vector: Tensor
    """(E, 3) r_j - r_i."""
    distance: Tensor
    """(E,) its length."""


def weigh(
    positions: Tensor, graph: Graph, config: HypergraphConfig, *, backend: Backend = "native"
) -> Weights:
    """Bond, fragment, hyperedge and edge weights; differentiable, C2 in the positions (N, 3).

    ``backend`` takes the sums, see :func:`se3set_ase.nn.scatter.scatter_sum`.
    """
    ends = positions[graph.bond_atoms]  # a, 2, xyz
    # Differences first, in the precision of the positions; then the network's.
    dtype = graph.bond_range.dtype
    bond_vector = (ends[:, 1] - ends[:, 0] + graph.bond_shift).to(dtype)
    bond_distance = (bond_vector * bond_vector).sum(-1).sqrt()
    bond = switch(bond_distance, graph.bond_range[:, 0], graph.bond_range[:, 1])
    # W_f = sum_{t of f} prod_k factor[t, k]
    factors = torch.cat([bond.new_ones(1), bond, 1.0 - bond])
    term = factors[graph.term_factor[:, 0]]
    for k in range(1, graph.term_factor.shape[1]):
        term = term * factors[graph.term_factor[:, k]]
    if graph.term_factor.shape[1] > EXACT_BONDS:
        term = term * likelihood(factors[graph.term_factor])
    n_fragments, n_hyper = graph.fragment_size.shape[0], graph.hyper_atom.shape[0]
    fragment = scatter_sum(term, graph.term_fragment, n_fragments, backend)  # t -> f
    others = graph.rest_weight * fragment[graph.rest_other]
    fragment = fragment - scatter_sum(others, graph.rest_fragment, n_fragments, backend)  # q -> f

    owner = graph.hyper_atom[graph.edge_hyper]  # e -> i
    vector = (positions[graph.edge_atom] - positions[owner] + graph.edge_shift).to(dtype)
    distance = (vector * vector).sum(-1).sqrt()
    if config.hard:
        near = (distance < config.reach - 0.5 * config.reach_width).to(distance.dtype)
    else:
        near = switch(distance, config.reach - config.reach_width, config.reach)
    reached = any_of(scatter_sum(near, graph.edge_hyper, n_hyper, backend))  # e -> h
    member = graph.hyper_member
    reached = member + (1.0 - member) * reached
    return Weights(
        bond=bond,
        fragment=fragment,
        reach=reached,
        hyperedge=fragment[graph.hyper_fragment] * reached,
        edge=envelope(distance, config.cutoff),
        vector=vector,
        distance=distance,
    )


class Sizes(NamedTuple):
    """Lengths of the arrays of a graph, for padding."""

    atoms: int
    bonds: int
    terms: int
    factors: int
    fragments: int
    rests: int
    hyperedges: int
    edges: int
    pairs: int


def _zero(size: Sizes, far: float) -> Any:
    return 0


def _far(size: Sizes, far: float) -> Any:
    return (far, 0, 0)


class Field(NamedTuple):
    """How a field of :class:`Graph` is made from the hypergraphs of its molecules."""

    per: str
    """The items that have a row: a name in :class:`Counts`."""
    rows: Callable[[Hypergraph], Any] | float
    """Rows of one molecule, or the number in all rows."""
    of: str | None = None
    """The items to which the rows refer, by their index in the molecule; also in ``Counts``."""
    width: tuple[int, ...] = ()
    """Shape of a row. That of ``term_factor`` depends on the batch, except in compiled code."""
    real: bool = False
    """Whether the dtype is that of the model instead of int64."""
    pad: Callable[[Sizes, float], Any] = _zero
    """A row of padding, given the padded sizes and a distance (Angstrom) beyond the cutoff."""


@cache
def _all_pairs(n_atoms: int) -> np.ndarray:
    return np.stack(np.triu_indices(n_atoms, 1), axis=1)


#: The fields of a graph, in order. Here ``species`` has atomic numbers, which :func:`collate`
#: replaces by indices, and ``charge`` zeros.
FIELDS: dict[str, Field] = {
    "species": Field("atoms", lambda g: g.numbers),
    "molecule": Field("atoms", 0, "molecules"),
    "atom_weight": Field("atoms", 1, real=True),
    "n_atoms": Field("molecules", lambda g: (len(g.numbers),)),
    "bond_atoms": Field("bonds", lambda g: g.bond_atoms, "atoms", (2,)),
    # Padded bonds fall from 1 to 0 between 1 and 2 Angstrom, well before their shift.
    "bond_range": Field(
        "bonds", lambda g: g.bond_range, width=(2,), real=True, pad=lambda *_: (1.0, 2.0)
    ),
    "bond_shift": Field("bonds", 0, width=(3,), real=True, pad=_far),
    # A padded term is b of the last bond, which is padded too, so the term is zero.
    "term_factor": Field(
        "terms",
        lambda g: g.term_factor,
        width=(EXACT_BONDS,),
        pad=lambda n, _: [n.bonds] + [0] * (n.factors - 1),
    ),
    "term_fragment": Field("terms", lambda g: g.term_fragment, "fragments"),
    "rest_fragment": Field("rests", lambda g: g.rest_fragment, "fragments"),
    "rest_other": Field("rests", lambda g: g.rest_other, "fragments"),
    "rest_weight": Field("rests", 1, real=True),
    "fragment_size": Field("fragments", lambda g: g.fragment_size),
    "hyper_atom": Field("hyperedges", lambda g: g.hyper_atom, "atoms"),
    "hyper_fragment": Field("hyperedges", lambda g: g.hyper_fragment, "fragments"),
    "hyper_member": Field("hyperedges", lambda g: g.hyper_member, real=True),
    "edge_hyper": Field("edges", lambda g: g.edge_hyper, "hyperedges"),
    "edge_atom": Field("edges", lambda g: g.edge_atom, "atoms"),
    "edge_shift": Field("edges", 0, width=(3,), real=True, pad=_far),
    "charge": Field("molecules", 0, real=True),
    "pair": Field("pairs", lambda g: _all_pairs(len(g.numbers)), "atoms", (2,)),
    "pair_shift": Field("pairs", 0, width=(3,), real=True, pad=_far),
    "pair_weight": Field("pairs", 1, real=True),
}


def _counts(hypergraphs: Sequence[Hypergraph]) -> np.ndarray:
    """(M, 9) :class:`Counts` of each."""
    found = np.array([g.counts for g in hypergraphs], dtype=np.int64)
    return found.reshape(-1, len(Counts._fields))


def sizes_of(hypergraphs: Sequence[Hypergraph], *, pairs: bool = False) -> Sizes:
    """Lengths of the arrays that :func:`collate` makes of these hypergraphs without padding."""
    totals = Counts(*_counts(hypergraphs).sum(axis=0).tolist())._asdict()
    totals["factors"] = max((g.term_factor.shape[1] for g in hypergraphs), default=0)
    sizes = Sizes(**{what: totals[what] for what in Sizes._fields})
    return sizes if pairs else sizes._replace(pairs=0)


def collate(
    hypergraphs: Sequence[Hypergraph],
    species_of: Mapping[int, int],
    config: HypergraphConfig,
    *,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
    pad_to: Sizes | None = None,
    charges: Sequence[int] | None = None,
    pairs: bool = False,
) -> Graph:
    """Join the hypergraphs of several molecules into one graph without connecting them.

    Parameters
    ----------
    species_of : index of each atomic number among the model's elements.
    pad_to : lengths to which all arrays are padded, with items of weight zero. Padded edges, bonds
        and hyperedges belong to atom 0; their shift moves them out of reach.
    charges : total charge of each molecule; zero by default.
    pairs : list the pairs of atoms at any distance.
    """
    size = sizes_of(hypergraphs, pairs=pairs)
    full = pad_to or size
    if any(want < have for want, have in zip(full, size, strict=True)):
        raise ValueError(f"expected padding to at least {size}, got {full}")
    if size.terms < full.terms and size.bonds == full.bonds:
        raise ValueError("expected a spare bond when terms are padded, got none")
    full = full._replace(factors=max(full.factors, 1))
    counts = _counts(hypergraphs)
    number = dict(zip(Counts._fields, counts.T, strict=True))
    before = dict(zip(Counts._fields, (np.cumsum(counts, axis=0) - counts).T, strict=True))

    def rows(field: Field) -> np.ndarray:
        if field.per == "pairs" and not pairs:
            return np.zeros((0, *field.width), dtype=np.int64)
        if callable(field.rows):
            joined = np.concatenate([field.rows(g) for g in hypergraphs])
        else:
            joined = np.full((number[field.per].sum(), *field.width), field.rows)
        if field.of is not None:
            first = np.repeat(before[field.of], number[field.per])
            joined = joined + first.reshape(-1, *(1 for _ in field.width))
        return joined

    def factors() -> np.ndarray:
        joined = np.zeros((size.terms, full.factors), dtype=np.int64)
        for g, start, bond in zip(hypergraphs, before["terms"], before["bonds"], strict=True):
            if len(g.bond_atoms):
                own = g.term_factor
                joined[start : start + len(own), : own.shape[1]] = own + bond * np.sign(own)
        return np.where(joined < 0, full.bonds - joined, joined)

    known = np.full(len(COVALENT_RADII), -1)
    known[list(species_of)] = list(species_of.values())
    parts = {name: rows(field) for name, field in FIELDS.items() if name != "term_factor"}
    parts["term_factor"] = factors()
    parts["species"] = known[parts["species"]]
    if (parts["species"] < 0).any():
        raise KeyError(f"expected elements among {sorted(species_of)}")
    if charges is not None:
        parts["charge"] = np.array(charges, dtype=np.float64)

    def tensor(name: str, field: Field) -> Tensor:
        joined = parts[name]
        if more := getattr(full, field.per, len(joined)) - len(joined):
            padding = np.empty((more, *joined.shape[1:]))
            padding[:] = field.pad(full, 2.0 * config.cutoff)
            padding = padding.astype(np.float64 if field.real else np.int64)
            joined = np.concatenate([joined, padding])
        return torch.as_tensor(joined, dtype=dtype if field.real else torch.int64, device=device)

    return Graph(**{name: tensor(name, field) for name, field in FIELDS.items()})


def slices(hypergraphs: Sequence[Hypergraph]) -> dict[str, list[slice]]:
    """Rows of each molecule in the arrays of a batch, by the names in :class:`Counts`."""
    ends = np.cumsum(_counts(hypergraphs), axis=0)
    return {
        what: list(map(slice, [0, *end[:-1]], end))
        for what, end in zip(Counts._fields, ends.T.tolist(), strict=True)
    }
