"""The hypergraph as tensors, and its smooth weights as functions of the positions.

Everything that makes the energy smooth across refragmentation is in :func:`weigh`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.hypergraph.structure import EXACT_BONDS, RANK, SHARPNESS, Hypergraph
from se3set_ase.nn.scatter import Backend, scatter_sum

#: Pairs of bonds of outcomes that are compared at once: some tens of MB.
LARGEST_COMPARISON = 2_000_000


class Graph(NamedTuple):
    """Hypergraphs of one or several molecules. Indices int64, floats in the model's dtype.

    N atoms, M molecules, A ambiguous bonds, T terms, F fragments, Q rests, H hyperedges, E edges.
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
    """(A, 3) Angstrom, added to the bond vector; zero but for padding."""
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
    """(E, 3) Angstrom, added to r_j - r_i; zero but for padding, which it puts out of reach."""


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


def switch(distance: Tensor, on: Tensor | float, off: Tensor | float) -> Tensor:
    """1 up to ``on``, 0 from ``off``, and a quintic between with two continuous derivatives.

    1 - p(t) = p(1 - t), p(t) = t^3 (10 - 15 t + 6 t^2): from the nearer end, so that rounding makes
    no weight negative.
    """
    t = ((distance - on) / (off - on)).clamp(0.0, 1.0)
    upper = t > 0.5
    u = torch.where(upper, 1.0 - t, t)
    p = u * u * u * (10.0 + u * (6.0 * u - 15.0))
    return torch.where(upper, p, 1.0 - p)


def envelope(distance: Tensor, cutoff: float) -> Tensor:
    """1 at zero, 0 from the cutoff on, C2 there.

    The polynomial of order p = 6 of DimeNet (Gasteiger et al., arXiv:2003.03123, eq. 8).
    """
    x = (distance / cutoff).clamp(max=1.0)
    x6 = x**6
    return 1.0 - 28.0 * x6 + 48.0 * x6 * x - 21.0 * x6 * x * x


def any_of(count: Tensor) -> Tensor:
    """Smooth "at least one" of a weighted count: 0 at 0, 1 from 1 on, C2 there."""
    missing = 1.0 - count.clamp(max=1.0)
    return 1.0 - missing * missing * missing


def weigh(
    positions: Tensor, graph: Graph, config: HypergraphConfig, *, backend: Backend = "native"
) -> Weights:
    """Bond, fragment, hyperedge and edge weights; differentiable, C2 in the positions (N, 3).

    ``backend`` takes the sums, see :func:`se3set_ase.nn.scatter.scatter_sum`.
    """
    ends = positions[graph.bond_atoms]  # a, 2, xyz
    # Differences first, in the precision of the positions; then the network's.
    bond_vector = (ends[:, 1] - ends[:, 0]).to(graph.bond_shift.dtype) + graph.bond_shift
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
    vector = (positions[graph.edge_atom] - positions[owner]).to(graph.edge_shift.dtype)
    vector = vector + graph.edge_shift
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


def likelihood(factors: Tensor) -> Tensor:
    """How much each outcome counts, 0 to 1, see :mod:`se3set_ase.hypergraph.outcomes`.

    Parameters
    ----------
    factors : (T, K) probability of what becomes of each bond; 1 where there is none.

    Returns
    -------
    (T,) ; exactly 1 for outcomes of at most EXACT_BONDS bonds.
    """
    n_terms, n_bonds = factors.shape
    rows = max(1, LARGEST_COMPARISON // n_bonds**2)
    if n_terms > rows:
        again = partial(checkpoint, likelihood, use_reentrant=False, preserve_rng_state=False)
        return torch.cat([again(part) for part in factors.split(rows)])
    y = 4.0 * factors * (1.0 - factors)
    other, own = y[:, None, :], y[:, :, None]  # t, a, c
    outranks = other / (other + SHARPNESS * own + torch.finfo(y.dtype).tiny)
    itself = y / (y + SHARPNESS * y + torch.finfo(y.dtype).tiny)
    excess = 1.0 - switch(outranks.sum(2) - itself, EXACT_BONDS - 1, RANK)  # t, a
    return (1.0 - excess * switch(factors, 0.5, 1.0)).prod(1)


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


def sizes_of(hypergraphs: Sequence[Hypergraph]) -> Sizes:
    """Lengths of the arrays that :func:`collate` makes of these hypergraphs without padding."""
    return Sizes(
        atoms=sum(len(g.numbers) for g in hypergraphs),
        bonds=sum(len(g.bond_atoms) for g in hypergraphs),
        terms=sum(len(f.terms) for g in hypergraphs for f in g.fragments),
        factors=max((len(t) for g in hypergraphs for f in g.fragments for t in f.terms), default=0),
        fragments=sum(len(g.fragments) for g in hypergraphs),
        rests=sum(len(g.rest_fragment) for g in hypergraphs),
        hyperedges=sum(len(g.hyper_atom) for g in hypergraphs),
        edges=sum(len(g.edge_hyper) for g in hypergraphs),
    )


def collate(
    hypergraphs: Sequence[Hypergraph],
    species_of: Mapping[int, int],
    config: HypergraphConfig,
    *,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
    pad_to: Sizes | None = None,
) -> Graph:
    """One graph out of several molecules' hypergraphs, which stay unconnected.

    Parameters
    ----------
    species_of : index of each atomic number among the model's elements.
    pad_to : lengths to pad every array to (zero weight everywhere). Padded edges, bonds and
        hyperedges hang on atom 0, and are moved out of reach by their shift.
    """
    size = sizes_of(hypergraphs)
    full = pad_to or size
    if any(want < have for want, have in zip(full, size, strict=True)):
        raise ValueError(f"expected padding to at least {size}, got {full}")
    atom_start = np.cumsum([0] + [len(g.numbers) for g in hypergraphs])
    fragment_start = np.cumsum([0] + [len(g.fragments) for g in hypergraphs])
    hyper_start = np.cumsum([0] + [len(g.hyper_atom) for g in hypergraphs])
    bond_start = np.cumsum([0] + [len(g.bond_atoms) for g in hypergraphs])

    def joined(parts: Sequence[np.ndarray], length: int, fill: float = 0) -> np.ndarray:
        array = np.concatenate(parts)
        padding = np.full((length - len(array), *array.shape[1:]), fill, dtype=array.dtype)
        return np.concatenate([array, padding])

    term_factor = np.zeros((full.terms, max(full.factors, 1)), dtype=np.int64)
    term_fragment = np.zeros(full.terms, dtype=np.int64)
    row = 0
    for g, bond, fragment in zip(hypergraphs, bond_start, fragment_start, strict=False):
        for index, weighted in enumerate(g.fragments):
            for term in weighted.terms:
                term_fragment[row] = fragment + index
                for k, (a, present) in enumerate(term):
                    term_factor[row, k] = 1 + bond + a + (0 if present else full.bonds)
                row += 1
    # A padded term is worth b - which is zero - of a padded bond; there is always one of those.
    if row < full.terms:
        if full.bonds == size.bonds:
            raise ValueError("expected a spare bond when terms are padded, got none")
        term_factor[row:, 0] = full.bonds

    far = 2.0 * config.cutoff
    edge_shift = np.zeros((full.edges, 3))
    edge_shift[size.edges :, 0] = far
    bond_shift = np.zeros((full.bonds, 3))
    bond_shift[size.bonds :, 0] = far
    atoms = range(len(hypergraphs))
    ints = {
        "species": joined(
            [np.array([species_of[z] for z in g.numbers.tolist()], int) for g in hypergraphs],
            full.atoms,
        ),
        "molecule": joined([np.full(len(hypergraphs[m].numbers), m) for m in atoms], full.atoms),
        "n_atoms": np.diff(atom_start),
        "bond_atoms": joined(
            [g.bond_atoms + atom_start[m] for m, g in enumerate(hypergraphs)], full.bonds
        ),
        "term_factor": term_factor,
        "term_fragment": term_fragment,
        "fragment_size": joined(
            [np.array([len(f.atoms) for f in g.fragments], int) for g in hypergraphs],
            full.fragments,
        ),
        "rest_fragment": joined(
            [g.rest_fragment + fragment_start[m] for m, g in enumerate(hypergraphs)], full.rests
        ),
        "rest_other": joined(
            [g.rest_other + fragment_start[m] for m, g in enumerate(hypergraphs)], full.rests
        ),
        "hyper_atom": joined(
            [g.hyper_atom + atom_start[m] for m, g in enumerate(hypergraphs)], full.hyperedges
        ),
        "hyper_fragment": joined(
            [g.hyper_fragment + fragment_start[m] for m, g in enumerate(hypergraphs)],
            full.hyperedges,
        ),
        "edge_hyper": joined(
            [g.edge_hyper + hyper_start[m] for m, g in enumerate(hypergraphs)], full.edges
        ),
        "edge_atom": joined(
            [g.edge_atom + atom_start[m] for m, g in enumerate(hypergraphs)], full.edges
        ),
    }
    floats = {
        "atom_weight": joined([np.ones(size.atoms)], full.atoms),
        "rest_weight": joined([np.ones(size.rests)], full.rests),
        "bond_range": joined([g.bond_range for g in hypergraphs], full.bonds, fill=0.0),
        "bond_shift": bond_shift,
        "hyper_member": joined(
            [g.hyper_member.astype(float) for g in hypergraphs], full.hyperedges
        ),
        "edge_shift": edge_shift,
    }
    # Padded bonds fall from 1 to 0 between 1 and 2 Angstrom, well before their shift.
    floats["bond_range"][size.bonds :] = (1.0, 2.0)
    return Graph(
        **{k: torch.as_tensor(v, dtype=torch.int64, device=device) for k, v in ints.items()},
        **{k: torch.as_tensor(v, dtype=dtype, device=device) for k, v in floats.items()},
    )
