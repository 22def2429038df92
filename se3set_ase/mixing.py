"""Ambiguous bonds are mixed over, not decided.

For each subset ``S`` of the ambiguous bonds (bond weight ``0 < b < 1``) the bond graph has
fragments ``P(S)`` and the weight ``w_S = prod_{a in S} b_a prod_{a not in S} (1 - b_a)``. A
fragment ``f`` weighs ``W_f = sum of w_S over the S with f in P(S)``, so that for every atom the
weights of its fragments add up to 1 and each is as smooth as the bond weights are. (The idea of
permuted adaptive partitioning: Heyden, Lin, Truhlar, J. Phys. Chem. B 111, 2231, 2007.)

This module finds the polynomials ``W_f(b)``, exactly and without positions. Only subsets of bonds
that can influence one another are enumerated together.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from se3set_ase.bondgraph import adjacency_lists, components, within
from se3set_ase.fragments import CHEMISTRY_RADIUS, find_fragments, kept_bonds

#: More coupled ambiguous bonds than this are refused: their subsets double with each one.
MOST_COUPLED_BONDS = 10

#: One summand of W_f: the ambiguous bonds (by index) that are present or absent in it.
Term = tuple[tuple[int, bool], ...]

BondOrders = Mapping[tuple[int, int], float]


class TooManyAmbiguousBonds(ValueError):
    """More bonds of one region are half-broken at once than can be mixed over."""


@dataclass(frozen=True, kw_only=True)
class WeightedFragment:
    """A fragment and the polynomial of its weight.

    ``terms`` are summed; each is the product of ``b_a`` (present) or ``1 - b_a`` (absent) over its
    ambiguous bonds. ``((),)``, the empty product alone, is the weight 1.
    """

    atoms: tuple[int, ...]
    terms: tuple[Term, ...]


class FragmentMixer:
    """Bond graphs to weighted fragments, remembering the graphs it has seen.

    Molecules that are not bonded to each other are looked up one by one, so that a box of water
    costs the chemistry of one water molecule.

    Parameters
    ----------
    bond_orders : orders that replace perception, by atom pair ``(i, j)``, ``i < j``.
    capacity : how much is remembered, in atoms and terms of fragments (some 100 bytes each); the
        least recently used bond graph goes first.
    """

    def __init__(self, bond_orders: BondOrders | None = None, capacity: int = 40_000):
        self._bond_orders = dict(bond_orders or {})
        self._capacity = capacity
        self._remembered = 0
        self._memory: OrderedDict[tuple, list[WeightedFragment]] = OrderedDict()

    def __call__(
        self, numbers: np.ndarray, sure: np.ndarray, ambiguous: np.ndarray
    ) -> list[WeightedFragment]:
        """Weighted fragments of one system.

        Parameters
        ----------
        numbers : (N,) atomic numbers.
        sure, ambiguous : (B, 2) and (A, 2) bonds with weight 1 and between 0 and 1, ``i < j``.

        Raises
        ------
        TooManyAmbiguousBonds : if more than :data:`MOST_COUPLED_BONDS` are coupled.
        """
        fragments = []
        bonds = np.concatenate([sure, ambiguous])
        origin = np.concatenate([np.full(len(sure), -1), np.arange(len(ambiguous))])
        molecules = components(len(numbers), bonds)
        label = np.empty(len(numbers), dtype=np.int64)
        local = np.empty(len(numbers), dtype=np.int64)
        for index, atoms in enumerate(molecules):
            label[list(atoms)] = index
            local[list(atoms)] = np.arange(len(atoms))
        order = np.argsort(label[bonds[:, 0]], kind="stable")
        last = np.cumsum(np.bincount(label[bonds[:, 0]], minlength=len(molecules)))
        for atoms, rows in zip(molecules, np.split(order, last[:-1]), strict=True):
            global_atom = np.array(atoms)
            for fragment in self._molecule(
                numbers[global_atom], local[bonds[rows]], origin[rows] >= 0, global_atom
            ):
                fragments.append(
                    WeightedFragment(
                        atoms=tuple(global_atom[list(fragment.atoms)].tolist()),
                        terms=tuple(
                            tuple((int(origin[rows[a]]), present) for a, present in term)
                            for term in fragment.terms
                        ),
                    )
                )
        return sorted(fragments, key=lambda f: f.atoms)

    def _molecule(
        self, numbers: np.ndarray, bonds: np.ndarray, is_ambiguous: np.ndarray, atoms: np.ndarray
    ) -> list[WeightedFragment]:
        """Memoised :func:`mix` of one connected molecule; terms name rows of ``bonds``."""
        orders = self._orders(bonds, atoms)
        key = (
            numbers.tobytes(),
            bonds.tobytes(),
            is_ambiguous.tobytes(),
            tuple(sorted(orders.items())),
        )
        if key in self._memory:
            self._memory.move_to_end(key)
            return self._memory[key]
        result = mix(numbers, bonds, is_ambiguous, orders)
        self._memory[key] = result
        self._remembered += _size(result)
        while self._remembered > self._capacity and len(self._memory) > 1:
            _, forgotten = self._memory.popitem(last=False)
            self._remembered -= _size(forgotten)
        return result

    def _orders(self, bonds: np.ndarray, atoms: np.ndarray) -> dict[tuple[int, int], float]:
        if not self._bond_orders:
            return {}
        pairs = (tuple(pair) for pair in bonds.tolist())
        known = ((p, (int(atoms[p[0]]), int(atoms[p[1]]))) for p in pairs)
        return {p: self._bond_orders[g] for p, g in known if g in self._bond_orders}


def _size(fragments: list[WeightedFragment]) -> int:
    return sum(len(f.atoms) + len(f.terms) for f in fragments)


def mix(
    numbers: np.ndarray,
    bonds: np.ndarray,
    is_ambiguous: np.ndarray,
    bond_orders: BondOrders | None = None,
) -> list[WeightedFragment]:
    """Weighted fragments of one molecule; the bonds of the terms are rows of ``bonds``."""
    ambiguous = np.flatnonzero(is_ambiguous)
    if len(ambiguous) == 0:
        return [
            WeightedFragment(atoms=atoms, terms=((),))
            for atoms in find_fragments(numbers, bonds, bond_orders)
        ]
    regions = _regions(numbers, bonds, ambiguous, bond_orders)
    # Where nothing is ambiguous near by, the chemistry of any one bond graph holds.
    settled = {atom for region, coupled in regions if len(coupled) == 0 for atom in region}
    result = [
        WeightedFragment(atoms=atoms, terms=((),))
        for atoms in find_fragments(numbers, bonds, bond_orders)
        if atoms[0] in settled
    ]
    for region, coupled in regions:
        if len(coupled) == 0:
            continue
        inside = set(region)
        found: dict[tuple[int, ...], set[tuple[bool, ...]]] = {}
        for choice in product((False, True), repeat=len(coupled)):
            present = np.ones(len(bonds), dtype=bool)
            present[coupled] = choice
            for atoms in find_fragments(numbers, bonds[present], bond_orders):
                if inside.issuperset(atoms):
                    found.setdefault(atoms, set()).add(choice)
        result += [
            WeightedFragment(atoms=atoms, terms=_reduced(choices, coupled))
            for atoms, choices in found.items()
        ]
    return result


def _regions(
    numbers: np.ndarray,
    bonds: np.ndarray,
    ambiguous: np.ndarray,
    bond_orders: BondOrders | None,
) -> list[tuple[tuple[int, ...], np.ndarray]]:
    """Parts of the molecule that no fragment crosses, with the bonds that decide theirs.

    A bond further than the chemistry's radius from every ambiguous one is kept or cut whatever
    those are. Those that are cut for sure separate the regions; inside a region every bond that
    an ambiguous one may influence couples it.
    """
    neighbours = adjacency_lists(len(numbers), bonds)
    influenced_by: list[set[int]] = [set() for _ in bonds]
    for a in ambiguous.tolist():
        near = within(neighbours, bonds[a].tolist(), CHEMISTRY_RADIUS)
        for index, (i, j) in enumerate(bonds.tolist()):
            if i in near or j in near:
                influenced_by[index].add(a)
    influenced = np.array([bool(s) for s in influenced_by])
    maybe_kept = kept_bonds(numbers, bonds, bond_orders) | influenced
    regions: list[tuple[tuple[int, ...], set[int]]] = []
    region_of: dict[int, int] = {}
    for region in components(len(numbers), bonds[maybe_kept]):
        region_of |= dict.fromkeys(region, len(regions))
        regions.append((region, set()))
    for index in np.flatnonzero(maybe_kept).tolist():
        regions[region_of[int(bonds[index, 0])]][1].update(influenced_by[index])
    for _, coupled in regions:
        if len(coupled) > MOST_COUPLED_BONDS:
            raise TooManyAmbiguousBonds(
                f"expected at most {MOST_COUPLED_BONDS} coupled bonds between bonded and broken, "
                f"got {len(coupled)}: the geometry is far from any molecule"
            )
    return [(region, np.array(sorted(coupled), dtype=np.int64)) for region, coupled in regions]


def _reduced(choices: set[tuple[bool, ...]], coupled: np.ndarray) -> tuple[Term, ...]:
    """The polynomial over the given present/absent choices, without bonds that do not matter."""
    occurs = np.zeros((2,) * len(coupled), dtype=bool)
    for choice in choices:
        occurs[tuple(int(c) for c in choice)] = True
    kept = list(coupled.tolist())
    axis = 0
    while axis < occurs.ndim:
        absent, present = occurs.take(0, axis), occurs.take(1, axis)
        if (absent == present).all():
            occurs = absent
            del kept[axis]
        else:
            axis += 1
    return tuple(
        tuple((bond, bool(bit)) for bond, bit in zip(kept, choice, strict=True))
        for choice in np.argwhere(occurs)
    )
