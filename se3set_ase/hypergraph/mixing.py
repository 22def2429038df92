"""Mixing of the fragments of all bond graphs that ambiguous bonds allow.

For each subset ``S`` of the ambiguous bonds (bond weight ``0 < b < 1``) the bond graph has
fragments ``P(S)`` and the weight ``w_S = prod_{a in S} b_a prod_{a not in S} (1 - b_a)``. A
fragment ``f`` has the weight ``W_f = sum of w_S over the S with f in P(S)``. For every atom the
weights of its fragments add up to 1, and each is as smooth as the bond weights. (The idea of
permuted adaptive partitioning: Heyden, Lin, Truhlar, J. Phys. Chem. B 111, 2231, 2007.)

This module finds the polynomials ``W_f(b)``, without positions. The sum over subsets becomes a sum
over the :mod:`outcomes <se3set_ase.hypergraph.outcomes>` of each fragment, which depend only on the
bonds that affect it. If improbable outcomes are left out because many bonds are ambiguous, the
remaining weight of an atom goes to a fragment of that atom alone.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from se3set_ase._lock import Lock
from se3set_ase.hypergraph.bond_graph import components
from se3set_ase.hypergraph.lattice import unrolled
from se3set_ase.hypergraph.outcomes import BondOrders, Chemistry, Molecule
from se3set_ase.hypergraph.polynomials import Mixture, outcomes_in, reduced
from se3set_ase.hypergraph.structure import Term, WeightedFragment
from se3set_ase.hypergraph.wrapping import mix_wrapping


class FragmentMixer:
    """Finds the weighted fragments of bond graphs, with a cache.

    Molecules that are not bonded to each other are cached separately, so the fragments of a water
    cluster are found once, for one water molecule.

    Parameters
    ----------
    bond_orders : orders that replace perception, by atom pair ``(i, j)``, ``i < j``.
    capacity : size of the cache in atoms, bonds, and factors of terms (about 100 bytes each); the
        least recently used bond graph is removed first.
    """

    def __init__(self, bond_orders: BondOrders | None = None, capacity: int = 500_000):
        self._bond_orders = dict(bond_orders or {})
        self._capacity = capacity
        self._remembered = 0
        self._memory: OrderedDict[tuple, Mixture] = OrderedDict()
        self._chemistry = Chemistry()
        self._lock = Lock()  # threads may share a potential, which has one mixer

    def __call__(
        self,
        numbers: np.ndarray,
        sure: np.ndarray,
        ambiguous: np.ndarray,
        weights: np.ndarray,
        shifts: np.ndarray | None = None,
    ) -> Mixture:
        """Weighted fragments of one system; terms refer to rows of ``ambiguous``.

        Parameters
        ----------
        numbers : (N,) atomic numbers.
        sure, ambiguous : (B, 2) and (A, 2) bonds with weight 1 and between 0 and 1, ``i < j``.
        weights : (A,) weights of the ambiguous bonds; used only if there are too many to follow
            every outcome.
        shifts : (B + A, 3) int, in a cell: that of the second atom of each bond.
        """
        fragments = []
        fleeting = False
        bonds = np.concatenate([sure, ambiguous])
        weight = np.concatenate([np.ones(len(sure)), weights])
        origin = np.concatenate([np.full(len(sure), -1), np.arange(len(ambiguous))])
        molecules = components(len(numbers), bonds)
        label = np.empty(len(numbers), dtype=np.int64)
        local = np.empty(len(numbers), dtype=np.int64)
        for index, atoms in enumerate(molecules):
            label[list(atoms)] = index
            local[list(atoms)] = np.arange(len(atoms))
        order = np.argsort(label[bonds[:, 0]], kind="stable")
        last = np.cumsum(np.bincount(label[bonds[:, 0]], minlength=len(molecules)))
        offset = steps = None
        if shifts is not None:
            offset, steps = unrolled(molecules, len(numbers), bonds, shifts)
        for atoms, rows in zip(molecules, np.split(order, last[:-1]), strict=True):
            global_atom = np.array(atoms)
            with self._lock:
                mixture = self._molecule(
                    numbers[global_atom],
                    local[bonds[rows]],
                    origin[rows] >= 0,
                    weight[rows],
                    global_atom,
                    None if steps is None or not steps[rows].any() else steps[rows],
                )
            fleeting |= mixture.fleeting
            fragments += [
                WeightedFragment(
                    atoms=tuple(global_atom[list(fragment.atoms)].tolist()),
                    terms=tuple(
                        tuple((int(origin[rows[a]]), present) for a, present in term)
                        for term in fragment.terms
                    ),
                    rest=fragment.rest,
                    images=None if offset is None else _placed(fragment, offset[global_atom]),
                    wraps=fragment.wraps,
                )
                for fragment in mixture.fragments
            ]
        fragments.sort(key=lambda f: (f.atoms, f.images or ()))
        return Mixture(fragments=tuple(fragments), fleeting=fleeting)

    def _molecule(
        self,
        numbers: np.ndarray,
        bonds: np.ndarray,
        is_ambiguous: np.ndarray,
        weights: np.ndarray,
        atoms: np.ndarray,
        steps: np.ndarray | None,
    ) -> Mixture:
        """Cached :func:`mix` of one connected molecule; terms refer to rows of ``bonds``.

        ``steps`` : as of :func:`.unrolled`, if bonds extend through all cells.
        """
        orders = self._orders(bonds, atoms)
        key = (
            numbers.tobytes(),
            bonds.tobytes(),
            is_ambiguous.tobytes(),
            tuple(sorted(orders.items())),
            None if steps is None else steps.tobytes(),
        )
        if key in self._memory:
            self._memory.move_to_end(key)
            return self._memory[key]
        if steps is None:
            result = mix(Molecule(numbers, bonds, is_ambiguous, orders, self._chemistry), weights)
        else:
            result = mix_wrapping(
                numbers, bonds, steps, is_ambiguous, weights, orders, self._chemistry
            )
        if result.fleeting:
            return result
        self._memory[key] = result
        self._remembered += _size(key, result)
        while self._remembered > self._capacity and len(self._memory) > 1:
            self._remembered -= _size(*self._memory.popitem(last=False))
        return result

    def _orders(self, bonds: np.ndarray, atoms: np.ndarray) -> dict[tuple[int, int], float]:
        if not self._bond_orders:
            return {}
        pairs = (tuple(pair) for pair in bonds.tolist())
        known = ((p, (int(atoms[p[0]]), int(atoms[p[1]]))) for p in pairs)
        return {p: self._bond_orders[g] for p, g in known if g in self._bond_orders}


def _size(key: tuple, mixture: Mixture) -> int:
    factors = sum(1 + len(term) for f in mixture.fragments for term in f.terms)
    return len(key[2]) + sum(len(f.atoms) for f in mixture.fragments) + factors


def mix(molecule: Molecule, weights: np.ndarray) -> Mixture:
    """Weighted fragments of one molecule; terms and ``weights`` refer to rows of its bonds."""
    fragments = [
        WeightedFragment(atoms=molecule.blocks[block], terms=((),))
        for block in np.flatnonzero(molecule.settled)
    ]
    fleeting = False
    for zone in molecule.zones():
        found: dict[tuple[int, ...], list[Term]] = {}
        outcomes, complete = outcomes_in(molecule, zone, weights)
        for outcome in outcomes:
            found.setdefault(outcome.atoms, []).append(outcome.state)
        fragments += [
            WeightedFragment(atoms=atoms, terms=reduced(states))
            for atoms, states in found.items()
            if complete or len(atoms) > 1
        ]
        if not complete:
            fleeting = True
            fragments += [
                WeightedFragment(atoms=(atom,), terms=((),), rest=True)
                for block in zone
                for atom in molecule.blocks[block]
            ]
    return Mixture(fragments=tuple(fragments), fleeting=fleeting)


def _placed(fragment: WeightedFragment, offset: np.ndarray) -> tuple[tuple[int, int, int], ...]:
    """Cell of each atom of a fragment of a molecule whose atoms lie in these cells (N, 3)."""
    images = offset[list(fragment.atoms)]
    if fragment.images is not None:
        images = images + np.array(fragment.images)
    return tuple((x, y, z) for x, y, z in images.tolist())
