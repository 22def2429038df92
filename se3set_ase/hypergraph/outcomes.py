"""Possible fragments of a molecule with partially broken bonds, found from one fragment outwards.

An outcome is a fragment together with the states (bonded or not) of the ambiguous bonds that
affect it: the bonds of its atoms and, for each of these that is present, the bonds that determine
whether it is kept (those of its other end, and all bonds nearby if it is a single bond). Its
probability is the product of their weights, ``b`` or ``1 - b``. The outcomes from each starting
point exclude one another, and their probabilities add up to 1. They are local: a bond elsewhere in
the molecule changes nothing, and a new bond appears with probability 0.

All outcomes of at most :data:`EXACT_BONDS` ambiguous bonds count. More occur only if a molecule
explodes or is crushed, and their number grows exponentially. Then only those outcomes count in
which all but the most ambiguous bonds have their more probable state. With the ambiguity ``y = 4 b
(1 - b)`` of each bond, ``n_a = sum_c y_c / (y_c + SHARPNESS y_a)`` counts the bonds that are at
least about as ambiguous as bond ``a``. Up to ``n_a = EXACT_BONDS - 1`` bond ``a`` has no effect.
Beyond RANK an outcome is weighted by the probability of its state of ``a``: zero up to one half,
full at 1, C2 in between (:mod:`se3set_ase.nn.likelihood`). So the most probable outcome is damped
as well while many of its bonds are very ambiguous, and the missing weight goes to fragments
of one atom. No smooth function of the weights that leaves out improbable outcomes can avoid this.
Since every ``n_a`` grows with each bond, and at most eight bonds have one below RANK, at most about
2^8 outcomes remain from each starting point; finding them needs the bond weights.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from se3set_ase.hypergraph.bond_graph import adjacency_lists, components, in_small_ring, within
from se3set_ase.hypergraph.fragments import (
    CHEMISTRY_RADIUS,
    is_unsaturated,
    kept_bonds,
    multiple_bonds,
)
from se3set_ase.hypergraph.structure import EXACT_BONDS, RANK, SHARPNESS, State

#: Tolerance for rounding, so that no outcome with a weight is left out.
_MARGIN = 1e-6

BondOrders = Mapping[tuple[int, int], float]


class Overloaded(Exception):
    """Too many ambiguous bonds affect an outcome to follow them without their weights."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A fragment, and the states of the ambiguous bonds (by row) that produce it.

    Attributes
    ----------
    joins : bonds that hold the fragment together in this state, besides those inside blocks.
    """

    atoms: tuple[int, ...]
    state: State
    joins: tuple[int, ...]


class Chemistry:
    """Cache of the bonds that are kept in small parts of bond graphs."""

    def __init__(self, capacity: int = 20_000_000):
        self._memory: OrderedDict[tuple[bytes, bytes, tuple], np.ndarray] = OrderedDict()
        self._capacity = capacity  # by bytes of the key
        self._remembered = 0

    def kept(self, numbers: np.ndarray, bonds: np.ndarray, orders: BondOrders) -> np.ndarray:
        """:func:`se3set_ase.hypergraph.fragments.kept_bonds` of the atoms that have a bond here."""
        atoms, local = np.unique(bonds, return_inverse=True)
        local = local.reshape(bonds.shape)
        near: dict[tuple[int, int], float] = {}
        for index, (i, j) in enumerate(bonds.tolist() if orders else ()):
            if (i, j) in orders:
                near[int(local[index, 0]), int(local[index, 1])] = orders[i, j]
        key = (numbers[atoms].tobytes(), local.tobytes(), tuple(sorted(near.items())))
        if key in self._memory:
            self._memory.move_to_end(key)
            return self._memory[key]
        result = kept_bonds(numbers[atoms], local, near)
        self._memory[key] = result
        self._remembered += len(key[0]) + len(key[1])
        while self._remembered > self._capacity and len(self._memory) > 1:
            forgotten, _ = self._memory.popitem(last=False)
            self._remembered -= len(forgotten[0]) + len(forgotten[1])
        return result


class _Branch(NamedTuple):
    """A partially determined outcome."""

    state: Mapping[int, bool]
    ambiguities: tuple[float, ...]
    """State of each bond."""
    unlikely: tuple[tuple[float, float], ...]
    """Ambiguity and rank of the bonds in their less probable state."""
    blocks: frozenset[int]
    rows: tuple[int, ...]
    """Bonds of the blocks that are not processed yet."""
    single: tuple[int, ...] = ()
    """Bonds that are present, and kept or cut depending on bonds nearby."""
    unknown: int | None = None
    """The bond whose state is needed next; None at the end."""
    joins: tuple[int, ...] = ()
    """Bonds that are kept."""


class Molecule:
    """A bond graph of certain and ambiguous bonds, prepared for :meth:`outcomes`.

    Parameters
    ----------
    numbers : (N,) atomic numbers.
    bonds : (B, 2) atom indices, ``i < j``.
    is_ambiguous : (B,) bool.
    bond_orders : orders that replace perceived ones, by atom pair.
    chemistry : cache of kept bonds.

    Attributes
    ----------
    blocks : atoms that are together in all states of the ambiguous bonds.
    settled : (number of blocks,) bool, blocks that are fragments in all states.
    together : (B,) bool, bonds that hold blocks together.
    """

    def __init__(
        self,
        numbers: np.ndarray,
        bonds: np.ndarray,
        is_ambiguous: np.ndarray,
        bond_orders: BondOrders,
        chemistry: Chemistry,
    ):
        self._numbers, self._bonds, self._orders = numbers, bonds, bond_orders
        self._chemistry = chemistry
        self._elements = numbers.tolist()
        self._ends = bonds.tolist()
        self._ambiguous = set(np.flatnonzero(is_ambiguous).tolist())
        self._bonds_of: list[list[int]] = [[] for _ in numbers]
        for row, (i, j) in enumerate(self._ends):
            self._bonds_of[i].append(row)
            self._bonds_of[j].append(row)
        self._ambiguous_of = [[row for row in rows if is_ambiguous[row]] for rows in self._bonds_of]
        # In all states of the ambiguous bonds, a bond is kept or cut as now if they are all
        # further away than the radius of the chemistry. It is kept if it is a bond to hydrogen, a
        # multiple bond between atoms without ambiguous bonds, or in a small ring without them.
        neighbours = adjacency_lists(len(numbers), bonds)
        broken = np.zeros(len(numbers), dtype=bool)
        broken[bonds[is_ambiguous].ravel()] = True
        near = broken.copy()
        near[list(within(neighbours, np.flatnonzero(broken).tolist(), CHEMISTRY_RADIUS))] = True
        multiple = multiple_bonds(numbers, bonds, bond_orders) & ~broken[bonds].any(axis=1)
        sure = ~is_ambiguous & (multiple | (numbers[bonds] == 1).any(axis=1))
        unbroken = adjacency_lists(len(numbers), bonds[~is_ambiguous])
        for row in np.flatnonzero(near[bonds].any(axis=1) & ~is_ambiguous & ~sure).tolist():
            sure[row] = in_small_ring(unbroken, *self._ends[row])
        open_ = near[bonds].any(axis=1) & ~sure
        self.together = sure | (kept_bonds(numbers, bonds, bond_orders) & ~open_)
        self.blocks = components(len(numbers), bonds[self.together])
        block_of = np.empty(len(numbers), dtype=np.int64)
        for index, atoms in enumerate(self.blocks):
            block_of[list(atoms)] = index
        self._blocks_at = block_of[bonds].tolist()
        self._open: list[list[int]] = [[] for _ in self.blocks]
        for row in np.flatnonzero(open_).tolist():
            for block in set(self._blocks_at[row]):
                self._open[block].append(row)
        self.settled = np.array([not rows for rows in self._open], dtype=bool)
        self._joins = block_of[bonds[open_]]

    def zones(self) -> Iterator[list[int]]:
        """Groups of unsettled blocks that are connected by undecided bonds."""
        for zone in components(len(self.blocks), self._joins):
            if not self.settled[zone[0]]:
                yield list(zone)

    def outcomes(self, start: int, weights: np.ndarray | None = None) -> Iterator[Outcome]:
        """Outcomes whose first block is ``start``.

        Parameters
        ----------
        weights : (B,) bond weights. None follows every outcome.

        Raises
        ------
        Overloaded : there are no weights, and an outcome has more bonds than EXACT_BONDS.
        """
        pending = [_Branch({}, (), (), frozenset([start]), tuple(self._open[start]))]
        while pending:
            branch = self._followed(pending.pop(), start)
            if min(branch.blocks) < start:
                continue  # found from there
            state, unknown = branch.state, branch.unknown
            if unknown is None:
                atoms = sorted(atom for block in branch.blocks for atom in self.blocks[block])
                yield Outcome(
                    atoms=tuple(atoms), state=tuple(sorted(state.items())), joins=branch.joins
                )
                continue
            if weights is None and len(state) == EXACT_BONDS:
                raise Overloaded
            b = 0.5 if weights is None else float(weights[unknown])
            y = 4.0 * b * (1.0 - b)
            unlikely = [(x, n + _outranks(y, x)) for x, n in branch.unlikely]
            if any(n > RANK + _MARGIN for _, n in unlikely):
                continue
            rank = sum(_outranks(x, y) for x in branch.ambiguities)
            for there, factor in ((False, 1.0 - b), (True, b)):
                new = [(y, rank)] if factor <= 0.5 else []
                if not new or rank <= RANK + _MARGIN:
                    pending.append(
                        branch._replace(
                            state={**state, unknown: there},
                            ambiguities=(*branch.ambiguities, y),
                            unlikely=(*unlikely, *new),
                        )
                    )

    def _followed(self, branch: _Branch, start: int) -> _Branch:
        """Join blocks as far as known states allow, then choose the next bond.

        Stops at a block before ``start``, whose outcomes are found from that block.
        """
        state, blocks = branch.state, branch.blocks
        rows, single, joins = list(branch.rows), list(branch.single), list(branch.joins)
        while True:
            if min(blocks) < start:
                return branch._replace(blocks=blocks)
            while rows:
                row = rows[-1]
                unknown = self._unknown(row, self._ends[row], state)
                if unknown is not None:
                    return branch._replace(
                        blocks=blocks,
                        rows=tuple(rows),
                        single=tuple(single),
                        unknown=unknown,
                        joins=tuple(joins),
                    )
                rows.pop()
                if not self._there(row, state):
                    continue
                if self._holds(row, state):
                    joins.append(row)
                    blocks = self._joined(row, blocks, rows)
                else:
                    single.append(row)
            inside: set[int] = set()
            for row in single:
                near = self._near(row, state)
                unknown = self._unknown(row, near, state)
                if unknown is not None:
                    return branch._replace(
                        blocks=blocks,
                        rows=(),
                        single=tuple(single),
                        unknown=unknown,
                        joins=tuple(joins),
                    )
                inside |= near
            if not single:
                return branch._replace(
                    blocks=blocks, rows=(), single=(), unknown=None, joins=tuple(joins)
                )
            known = sorted(
                {row for atom in inside for row in self._bonds_of[atom] if self._there(row, state)}
            )
            kept = self._chemistry.kept(self._numbers, self._bonds[known], self._orders)
            decided = dict(zip(known, kept.tolist(), strict=True))
            for row in single:
                if decided[row]:
                    joins.append(row)
                    blocks = self._joined(row, blocks, rows)
            single = []

    def _joined(self, row: int, blocks: frozenset[int], rows: list[int]) -> frozenset[int]:
        """Blocks including those of a bond; bonds of new blocks are added to the rows."""
        for block in self._blocks_at[row]:
            if block not in blocks:
                # Bonds to the present blocks are pending or processed.
                rows += [r for r in self._open[block] if blocks.isdisjoint(self._blocks_at[r])]
                blocks = blocks | {block}
        return blocks

    def _unknown(self, row: int, atoms: Iterable[int], state: Mapping[int, bool]) -> int | None:
        """An ambiguous bond of unknown state: this one, or one of the atoms."""
        if row in self._ambiguous and state.get(row) is not True:
            return None if row in state else row
        for atom in atoms:
            for other in self._ambiguous_of[atom]:
                if other not in state:
                    return other
        return None

    def _there(self, row: int, state: Mapping[int, bool]) -> bool:
        return state.get(row, False) if row in self._ambiguous else True

    def _holds(self, row: int, state: Mapping[int, bool]) -> bool:
        """Whether a bond is kept as one to hydrogen or a multiple one."""
        pair = (self._ends[row][0], self._ends[row][1])
        if 1 in (self._elements[pair[0]], self._elements[pair[1]]):
            return True
        if pair in self._orders:
            return self._orders[pair] > 1
        return all(
            is_unsaturated(
                self._elements[atom], sum(self._there(r, state) for r in self._bonds_of[atom])
            )
            for atom in pair
        )

    def _near(self, row: int, state: Mapping[int, bool]) -> set[int]:
        """Atoms within the chemistry's radius of a bond, over bonds that are there."""
        seen = set(self._ends[row])
        frontier: Iterable[int] = self._ends[row]
        for _ in range(CHEMISTRY_RADIUS):
            reached = {
                atom
                for i in frontier
                for other in self._bonds_of[i]
                if self._there(other, state)
                for atom in self._ends[other]
            }
            frontier = reached - seen
            seen |= reached
        return seen


def _outranks(first: float, second: float) -> float:
    """Contribution of the first ambiguity to the rank of the second, 0 to 1."""
    return first / (first + SHARPNESS * second) if first else 0.0
