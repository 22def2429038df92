"""Atoms and positions to the index arrays of a hypergraph.

Hyperedges are node-wise: one for each pair of an atom ``i`` (its owner) and a fragment ``f`` that
``i`` belongs to or that comes within reach of ``i``. Its edges connect the owner with the other
members of the fragment within the cutoff. This module lists them with a skin; their weights are
smooth functions of the positions, evaluated in :mod:`se3set_ase.nn.graph`. Listed items of weight
zero contribute exactly zero.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from se3set_ase.hypergraph.bonds import (
    COINCIDENT,
    BondState,
    bond_limits,
    find_bonds,
    longest_bond,
    neighbour_pairs,
    only,
)
from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.hypergraph.lattice import Lattice, modulo
from se3set_ase.hypergraph.mixing import FragmentMixer
from se3set_ase.hypergraph.structure import NOT_PERIODIC, Hypergraph, WeightedFragment
from se3set_ase.system import check_numbers

#: Angstrom; for larger coordinates, differences of positions are too inaccurate for forces.
LARGEST_COORDINATE = 1e6


def check_positions(positions: np.ndarray, n_atoms: int) -> None:
    """Raise ValueError for invalid positions of this number of atoms."""
    if positions.ndim != 2 or positions.shape[1] != 3:
        raise ValueError(f"expected positions of shape (N, 3), got {positions.shape}")
    if len(positions) == 0:
        raise ValueError("expected at least one atom, got none")
    if n_atoms != len(positions):
        raise ValueError(f"expected one position per atom, got {len(positions)} for {n_atoms}")
    if not np.isfinite(positions).all():
        bad = np.flatnonzero(~np.isfinite(positions).all(axis=1)).tolist()
        raise ValueError(f"expected finite positions, got NaN or infinite ones for atoms {bad}")
    if len(positions) and np.abs(positions).max() > LARGEST_COORDINATE:
        raise ValueError(
            f"expected positions within {LARGEST_COORDINATE:g} Angstrom of the origin, "
            f"got {np.abs(positions).max():g}"
        )


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Pairs of atoms of one geometry, from one search.

    Attributes
    ----------
    near, distances : (P, 2) and (P,) Angstrom, pairs within the cutoff and the skin.
    candidates, limits : (C, 2) and (C, 2) Angstrom, pairs that may be bonded before an atom has
        moved by half the skin, and the range of distances in which their bonds are ambiguous.
    bonds : bonds at this geometry.
    near_shifts, candidate_shifts : (P, 3) and (C, 3) int, the cell of the second atom relative to
        the first; None without a cell.
    periodic : for each cell vector.
    """

    near: np.ndarray
    distances: np.ndarray
    candidates: np.ndarray
    limits: np.ndarray
    bonds: BondState
    near_shifts: np.ndarray | None = None
    candidate_shifts: np.ndarray | None = None
    periodic: tuple[bool, bool, bool] = NOT_PERIODIC


def find_pairs(
    numbers: np.ndarray,
    positions: np.ndarray,
    config: HypergraphConfig,
    skin: float,
    lattice: Lattice | None = None,
) -> Pairs:
    """Pairs and bonds of one geometry with checked positions.

    Raises
    ------
    ValueError : coincident atoms, or invalid atomic numbers.
    """
    check_numbers(numbers)
    listed, longest = config.cutoff + skin, longest_bond(numbers, config) + skin
    shifts = None
    if lattice is None:
        pairs, distances = neighbour_pairs(positions, max(listed, longest))
    else:
        pairs, shifts, distances = lattice.neighbours(positions, max(listed, longest))
    if len(distances) and distances.min() < COINCIDENT:
        i, j = pairs[np.argmin(distances)].tolist()
        raise ValueError(
            f"expected atoms apart from each other, got atoms {i} and {j} "
            f"at a distance of {distances.min():.2g} Angstrom"
        )
    near, may_bond = distances < listed, distances <= longest
    candidates = pairs[may_bond]
    limits = bond_limits(numbers, candidates, config)
    candidate_shifts = None if shifts is None else shifts[may_bond]
    return Pairs(
        near=pairs[near],
        distances=distances[near],
        candidates=candidates,
        limits=limits,
        bonds=find_bonds(candidates, distances[may_bond], limits, candidate_shifts),
        near_shifts=None if shifts is None else shifts[near],
        candidate_shifts=candidate_shifts,
        periodic=lattice.periodic if lattice else NOT_PERIODIC,
    )


def build_hypergraph(
    numbers: np.ndarray,
    positions: np.ndarray,
    config: HypergraphConfig,
    *,
    mixer: FragmentMixer | None = None,
    skin: float = 0.0,
    bonds: np.ndarray | None = None,
    lattice: Lattice | None = None,
) -> Hypergraph:
    """The hypergraph of one geometry.

    Parameters
    ----------
    numbers : (N,) atomic numbers.
    positions : (N, 3) Angstrom.
    mixer : cache of bond graphs between calls, with bond orders if any.
    skin : Angstrom added to cutoff and reach, so that the lists stay complete until an atom has
        moved by half of it or the bond state changes.
    bonds : (B, 2) atom indices, ``i < j``: exactly these pairs are bonded, for any distances.
    lattice : of a periodic system, which takes no ``bonds``.

    Raises
    ------
    ValueError : positions have the wrong shape, are not finite or coincide, atomic numbers are
        invalid, or bonds are given for a cell.
    """
    if bonds is not None and lattice is not None:
        raise ValueError("expected bonds of an isolated molecule, got bonds for a cell")
    numbers = np.asarray(numbers, dtype=np.int64)
    positions = np.asarray(positions, dtype=np.float64)
    check_positions(positions, len(numbers))
    pairs = find_pairs(numbers, positions, config, skin, lattice)
    if bonds is not None:
        pairs = replace(pairs, bonds=only(bonds))
    return connect(numbers, pairs, config, mixer=mixer or FragmentMixer(), skin=skin)


def connect(
    numbers: np.ndarray,
    pairs: Pairs,
    config: HypergraphConfig,
    *,
    mixer: FragmentMixer,
    skin: float,
) -> Hypergraph:
    """The hypergraph of these pairs: owners, fragments and members of every hyperedge."""
    numbers = np.array(numbers, dtype=np.int64)  # a copy, which the hypergraph keeps
    state = pairs.bonds
    shifts = None
    if state.sure_shift is not None and state.ambiguous_shift is not None:
        shifts = np.concatenate([state.sure_shift, state.ambiguous_shift])
    mixture = mixer(numbers, state.sure, state.ambiguous, state.ambiguous_weight, shifts)
    fragments = mixture.fragments
    n_atoms, n_fragments = len(numbers), len(fragments)
    sizes = np.array([len(f.atoms) for f in fragments], dtype=np.int64)
    member_atom = np.array([a for f in fragments for a in f.atoms], dtype=np.int64)
    member_fragment = np.repeat(np.arange(n_fragments), sizes)
    by_atom = np.argsort(member_atom, kind="stable")
    per_atom = np.bincount(member_atom, minlength=n_atoms)
    start = np.concatenate([[0], np.cumsum(per_atom)])

    # Every directed pair (i, j) once for each fragment f of j: i sees j as a member of f.
    source = np.concatenate([pairs.near[:, 0], pairs.near[:, 1]])
    target = np.concatenate([pairs.near[:, 1], pairs.near[:, 0]])
    times = per_atom[target]
    row = np.repeat(np.arange(len(target)), times)
    offset = np.arange(len(row)) - np.repeat(np.cumsum(times) - times, times)
    member = by_atom[start[target[row]] + offset]
    edge_fragment = member_fragment[member]
    edge_owner, edge_atom = source[row], target[row]
    edge_distance = np.tile(pairs.distances, 2)[row]

    # A hyperedge is a pair (owner, fragment), as one integer; in a cell, with the copy of it.
    own = member_atom * n_fragments + member_fragment
    edge_key = edge_owner * n_fragments + edge_fragment
    edge_shift, n_copies = None, 1
    if pairs.near_shifts is not None:
        images = np.array([i for f in fragments for i in f.images or ()], dtype=np.int64)
        edge_shift = np.concatenate([pairs.near_shifts, -pairs.near_shifts])[row]
        copies = _copies(
            np.concatenate([-images, edge_shift - images[member]]),
            np.concatenate([member_fragment, edge_fragment]),
            fragments,
        )
        n_copies = int(copies.max()) + 1
        own = own * n_copies + copies[: len(own)]
        edge_key = edge_key * n_copies + copies[len(own) :]
    reach = config.reach - 0.5 * config.reach_width if config.hard else config.reach
    hyper_key = np.unique(np.concatenate([own, edge_key[edge_distance < reach + skin]]))
    edge_hyper = np.searchsorted(hyper_key, edge_key)
    edge_hyper = np.minimum(edge_hyper, max(len(hyper_key) - 1, 0))
    seen = hyper_key[edge_hyper] == edge_key if len(edge_key) else np.zeros(0, dtype=bool)
    edge_hyper, edge_atom = edge_hyper[seen], edge_atom[seen]
    order = np.lexsort((edge_atom, edge_hyper))
    rest = np.array([f.rest for f in fragments], dtype=bool)
    rest_of = np.full(n_atoms, -1)
    rest_of[member_atom[rest[member_fragment]]] = np.flatnonzero(rest)
    lacking = ~rest[member_fragment] & (rest_of[member_atom] >= 0)
    hyper_pair = hyper_key // n_copies
    return Hypergraph(
        numbers=numbers,
        sure_bonds=state.sure,
        bond_atoms=state.ambiguous,
        bond_range=state.ambiguous_range,
        fragments=fragments,
        rest_fragment=rest_of[member_atom[lacking]],
        rest_other=member_fragment[lacking],
        fleeting=mixture.fleeting,
        hyper_atom=hyper_pair // max(n_fragments, 1),
        hyper_fragment=hyper_pair % max(n_fragments, 1),
        hyper_member=np.isin(hyper_key, own),
        edge_hyper=edge_hyper[order],
        edge_atom=edge_atom[order],
        bond_shift=state.ambiguous_shift,
        edge_shift=None if edge_shift is None else edge_shift[seen][order],
        periodic=pairs.periodic,
    )


def _copies(
    cells: np.ndarray, fragment: np.ndarray, fragments: tuple[WeightedFragment, ...]
) -> np.ndarray:
    """Number the copies of fragments that lie in these cells.

    Parameters
    ----------
    cells : (R, 3) int, cell of a copy; equal up to vectors that map the fragment onto itself.
    fragment : (R,) which fragment each is a copy of.

    Returns
    -------
    (R,) from 0, equal for equal cells.
    """
    wraps = {f.wraps for f in fragments if f.wraps}
    for basis in wraps:
        wrapped = np.array([f.wraps == basis for f in fragments])[fragment]
        cells[wrapped] = modulo(cells[wrapped], basis)
    code = np.zeros(len(cells), dtype=np.int64)
    for column in cells.T:
        values, number = np.unique(column, return_inverse=True)
        code = code * len(values) + number
    return np.unique(code, return_inverse=True)[1].reshape(-1)
