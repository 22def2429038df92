"""Atoms and positions to the index arrays of a hypergraph.

Hyperedges are node-wise: one for each pair of an atom ``i`` (its owner) and a fragment ``f`` that
``i`` belongs to or that comes within reach of ``i``. Its edges lead from the owner to the other
members of the fragment, as far as the cutoff. Which of them exist is listed here, generously (with
a skin); how much each of them weighs is a smooth function of the positions, evaluated in
:mod:`se3set_ase.nn.graph`. A listed item of weight zero contributes exactly zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from se3set_ase.hypergraph.bonds import (
    COINCIDENT,
    bond_range,
    bond_weights,
    longest_bond,
    neighbour_pairs,
)
from se3set_ase.hypergraph.mixing import FragmentMixer, Mixture, WeightedFragment
from se3set_ase.system import check_numbers

#: Angstrom; further out, differences of positions lose the precision that forces need.
LARGEST_COORDINATE = 1e6


@dataclass(frozen=True, kw_only=True)
class HypergraphConfig:
    """What decides the hypergraph of a geometry.

    Attributes
    ----------
    cutoff : Angstrom; members of a fragment further than this from the owner are not seen.
    reach : Angstrom; a fragment is a hyperedge of every atom closer than this to a member of it.
    reach_width : Angstrom; width of the switch by which it comes into reach.
    bond_on, bond_off : distance over sum of covalent radii up to which a pair is bonded for sure,
        and from which it is not; pairs without hydrogen.
    hydrogen_bond_on, hydrogen_bond_off : the same for pairs with a hydrogen atom.
    hard : decide every bond and reach by a threshold in the middle of its switch. For comparison
        only: the energy then jumps whenever the hypergraph changes.
    """

    cutoff: float = 5.0
    reach: float = 4.0
    reach_width: float = 1.0
    bond_on: float = 1.15
    bond_off: float = 1.35
    hydrogen_bond_on: float = 1.25
    hydrogen_bond_off: float = 1.5
    hard: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.reach_width <= self.reach <= self.cutoff:
            raise ValueError(
                "expected 0 < reach_width <= reach <= cutoff, got "
                f"{self.reach_width}, {self.reach}, {self.cutoff}"
            )
        for on, off in (
            (self.bond_on, self.bond_off),
            (self.hydrogen_bond_on, self.hydrogen_bond_off),
        ):
            if not 0 < on < off:
                raise ValueError(f"expected 0 < on < off for the bond switch, got {on}, {off}")

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> HypergraphConfig:
        """Back from :meth:`to_dict`; ValueError names unknown keys."""
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"expected hypergraph settings, got unknown keys {sorted(unknown)}")
        return cls(**values)


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
    fleeting : only good for the positions that it was built for, see
        :class:`se3set_ase.hypergraph.mixing.Mixture`.
    hyper_atom, hyper_fragment : (H,) owner and fragment; hyper_member : (H,) whether the owner is
        a member of the fragment.
    edge_hyper, edge_atom : (E,) hyperedge and member.
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


@dataclass(frozen=True, kw_only=True)
class BondState:
    """Which pairs are bonded for sure and which are between bonded and not."""

    sure: np.ndarray
    ambiguous: np.ndarray
    ambiguous_range: np.ndarray
    ambiguous_weight: np.ndarray

    def key(self) -> tuple[bytes, bytes]:
        """Equal for equal bond states."""
        return self.sure.tobytes(), self.ambiguous.tobytes()

    def decided(self) -> np.ndarray:
        """(B, 2) bonds of a weight above one half, in lexicographic order."""
        bonds = np.concatenate([self.sure, self.ambiguous[self.ambiguous_weight > 0.5]])
        return bonds[np.lexsort((bonds[:, 1], bonds[:, 0]))]


def check_positions(positions: np.ndarray, n_atoms: int) -> None:
    """Raise ValueError for positions that are no geometry of as many atoms."""
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


def bond_limits(numbers: np.ndarray, pairs: np.ndarray, config: HypergraphConfig) -> np.ndarray:
    """Distances between which the bond of each pair is ambiguous: (P, 2) Angstrom."""
    limits = bond_range(
        numbers,
        pairs,
        heavy=(config.bond_on, config.bond_off),
        hydrogen=(config.hydrogen_bond_on, config.hydrogen_bond_off),
    )
    if config.hard:
        limits = np.repeat(limits.mean(axis=1, keepdims=True), 2, axis=1)
    return limits


def find_bonds(pairs: np.ndarray, distances: np.ndarray, limits: np.ndarray) -> BondState:
    """Sort candidate pairs (P, 2) at their distances (P,) into sure and ambiguous bonds.

    ``limits`` : (P, 2) as :func:`bond_limits` gives them.
    """
    sure = distances <= limits[:, 0]
    ambiguous = ~sure & (distances < limits[:, 1])
    return BondState(
        sure=pairs[sure],
        ambiguous=pairs[ambiguous],
        ambiguous_range=limits[ambiguous],
        ambiguous_weight=bond_weights(distances[ambiguous], limits[ambiguous]),
    )


def longest_bond_of(numbers: np.ndarray, config: HypergraphConfig) -> float:
    """Distance in Angstrom beyond which no pair of these elements is bonded at all."""
    return longest_bond(numbers, heavy_off=config.bond_off, hydrogen_off=config.hydrogen_bond_off)


def build_hypergraph(
    numbers: np.ndarray,
    positions: np.ndarray,
    config: HypergraphConfig,
    *,
    mixer: FragmentMixer | None = None,
    skin: float = 0.0,
    bonds: np.ndarray | None = None,
) -> Hypergraph:
    """The hypergraph of one geometry.

    Parameters
    ----------
    numbers : (N,) atomic numbers. positions : (N, 3), Angstrom.
    mixer : remembers the chemistry of bond graphs between calls (and holds bond orders, if any).
    skin : Angstrom added to cutoff and reach when listing, so that the list stays complete until
        an atom has moved by half of it (and the bond state is the same).
    bonds : (B, 2) atom indices, ``i < j``: bonded for sure, and no others, whatever the distances.

    Raises
    ------
    ValueError : positions of the wrong shape, not finite, or two atoms on top of each other; atomic
        numbers of no element.
    """
    numbers = np.array(numbers, dtype=np.int64)  # a copy: the hypergraph keeps it
    positions = np.asarray(positions, dtype=np.float64)
    check_positions(positions, len(numbers))
    check_numbers(numbers)
    search = max(config.cutoff + skin, longest_bond_of(numbers, config))
    pairs, distances = neighbour_pairs(positions, search)
    if len(distances) and distances.min() < COINCIDENT:
        i, j = pairs[np.argmin(distances)].tolist()
        raise ValueError(
            f"expected atoms apart from each other, got atoms {i} and {j} "
            f"at a distance of {distances.min():.2g} Angstrom"
        )
    if bonds is None:
        state = find_bonds(pairs, distances, bond_limits(numbers, pairs, config))
    else:
        nothing = find_bonds(pairs[:0], distances[:0], np.empty((0, 2)))
        state = replace(nothing, sure=bonds)
    mixture = (mixer or FragmentMixer())(
        numbers, state.sure, state.ambiguous, state.ambiguous_weight
    )
    listed = distances < config.cutoff + skin
    return _connect(numbers, state, mixture, pairs[listed], distances[listed], config, skin)


def _connect(
    numbers: np.ndarray,
    state: BondState,
    mixture: Mixture,
    pairs: np.ndarray,
    distances: np.ndarray,
    config: HypergraphConfig,
    skin: float,
) -> Hypergraph:
    """Owners, fragments and members of every hyperedge, from the pairs within the cutoff."""
    fragments = mixture.fragments
    n_atoms, n_fragments = len(numbers), len(fragments)
    sizes = np.array([len(f.atoms) for f in fragments], dtype=np.int64)
    member_atom = np.array([a for f in fragments for a in f.atoms], dtype=np.int64)
    member_fragment = np.repeat(np.arange(n_fragments), sizes)
    by_atom = np.argsort(member_atom, kind="stable")
    per_atom = np.bincount(member_atom, minlength=n_atoms)
    start = np.concatenate([[0], np.cumsum(per_atom)])

    # Every directed pair (i, j) once for each fragment f of j: i sees j as a member of f.
    source = np.concatenate([pairs[:, 0], pairs[:, 1]])
    target = np.concatenate([pairs[:, 1], pairs[:, 0]])
    times = per_atom[target]
    row = np.repeat(np.arange(len(target)), times)
    offset = np.arange(len(row)) - np.repeat(np.cumsum(times) - times, times)
    edge_fragment = member_fragment[by_atom[start[target[row]] + offset]]
    edge_owner, edge_atom = source[row], target[row]
    edge_distance = np.concatenate([distances, distances])[row]

    # A hyperedge is a pair (owner, fragment), as one integer.
    own = member_atom * n_fragments + member_fragment
    edge_key = edge_owner * n_fragments + edge_fragment
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
    return Hypergraph(
        numbers=numbers,
        sure_bonds=state.sure,
        bond_atoms=state.ambiguous,
        bond_range=state.ambiguous_range,
        fragments=fragments,
        rest_fragment=rest_of[member_atom[lacking]],
        rest_other=member_fragment[lacking],
        fleeting=mixture.fleeting,
        hyper_atom=hyper_key // max(n_fragments, 1),
        hyper_fragment=hyper_key % max(n_fragments, 1),
        hyper_member=np.isin(hyper_key, own),
        edge_hyper=edge_hyper[order],
        edge_atom=edge_atom[order],
    )
