"""The refragmentation log: bonds and fragments that broke or formed.

It compares each geometry with the previous one and never changes an energy.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols

from se3set_ase.hypergraph.weighted import WeightedHypergraph

#: The kind of event that undoes each kind.
OPPOSITE = {
    "bond formed": "bond broken",
    "bond broken": "bond formed",
    "fragments merged": "fragments split",
    "fragments split": "fragments merged",
    "reach gained": "reach lost",
    "reach lost": "reach gained",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """A change of one bond, fragment or hyperedge.

    Attributes
    ----------
    step : number of the energy evaluation, from 0; in the log of a run, the step of the run.
    kind : ``bond formed``, ``bond broken`` (the weight of the bond crossed 1/2), ``fragments
        merged``, ``fragments split`` (because of these bonds), ``reach gained``, ``reach lost``
        (the reach of a fragment at an atom crossed 1/2).
    atoms : those of the bond, or of the merged or split fragment; for reach, the owner and then the
        fragment.
    symbols : elements of the atoms.
    weight : present weight of the bond, fragment or hyperedge.
    energy : eV, of the present geometry.
    """

    step: int
    kind: str
    atoms: tuple[int, ...]
    symbols: tuple[str, ...]
    weight: float
    energy: float


class EventLog:
    """Compares each geometry with the previous one.

    Parameters
    ----------
    capacity : number of changes of bonds that are kept, and of other events; the oldest are dropped
        first. Changes of reach, which are frequent, never displace those of bonds.
    """

    def __init__(self, capacity: int = 100_000):
        self.capacity = capacity
        # With the number of each event, by which both are merged again.
        self._bonds: deque[tuple[int, Event]] = deque(maxlen=capacity)
        self._others: deque[tuple[int, Event]] = deque(maxlen=capacity)
        self._last: WeightedHypergraph | None = None
        self._step = -1
        self._n_events = 0

    @property
    def events(self) -> list[Event]:
        """The kept events, in order."""
        return self.after(0)

    @property
    def n_events(self) -> int:
        """Number of all events, including dropped ones."""
        return self._n_events

    def after(self, n_events: int) -> list[Event]:
        """Kept events after the first ``n_events``."""
        new = [
            list(itertools.takewhile(lambda numbered: numbered[0] >= n_events, reversed(kept)))
            for kept in (self._bonds, self._others)
        ]
        merged = heapq.merge(*map(reversed, new), key=lambda numbered: numbered[0])
        return [event for _, event in merged]

    def observe(self, now: WeightedHypergraph, energy: float) -> list[Event]:
        """Record what changed since the last call; a different molecule starts a new comparison."""
        self._step += 1
        last, self._last = self._last, now
        if last is None or not np.array_equal(last.structure.numbers, now.structure.numbers):
            return []
        if last.decisions() == now.decisions():
            return []
        new = [
            Event(
                step=self._step,
                kind=kind,
                atoms=atoms,
                symbols=tuple(chemical_symbols[z] for z in now.structure.numbers[list(atoms)]),
                weight=weight,
                energy=energy,
            )
            for kind, atoms, weight in changes(last, now)
        ]
        self.add(new)
        return new

    def same_structure(self, now: WeightedHypergraph) -> WeightedHypergraph | None:
        """The last hypergraph, if only its weights can differ from those of this one."""
        last = self._last
        return last if last is not None and last.structure is now.structure else None

    def nothing_changed(self, now: WeightedHypergraph) -> None:
        """Like :meth:`observe`, if it is known that all decisions are those of the last call."""
        self._step += 1
        self._last = now

    def add(self, events: Sequence[Event]) -> None:
        """Record events."""
        for event in events:
            kept = self._bonds if is_bond(event) else self._others
            kept.append((self._n_events, event))
            self._n_events += 1


def observe_all(
    logs: Sequence[EventLog], hypergraphs: Sequence[WeightedHypergraph], energies: Sequence[float]
) -> None:
    """Like :meth:`EventLog.observe` for each log, and compare all weights in one pass."""
    pairs = [
        (index, last, now)
        for index, (log, now) in enumerate(zip(logs, hypergraphs, strict=True))
        if (last := log.same_structure(now)) is not None
    ]
    unchanged = {index for index, *_ in pairs}
    for name in ("bond_weights", "hyperedge_reach") if pairs else ():
        # The decisions depend on nothing else but the structure.
        before = np.concatenate([getattr(last, name) for _, last, _ in pairs]) > 0.5
        after = np.concatenate([getattr(now, name) for *_, now in pairs]) > 0.5
        ends = np.cumsum([len(getattr(now, name)) for *_, now in pairs])
        crossed = np.searchsorted(ends, np.flatnonzero(before != after), side="right")
        unchanged -= {pairs[k][0] for k in crossed.tolist()}
    for index, (log, now, energy) in enumerate(zip(logs, hypergraphs, energies, strict=True)):
        if index in unchanged:
            log.nothing_changed(now)
        else:
            log.observe(now, energy)


def is_bond(event: Event) -> bool:
    """Whether a bond formed or broke."""
    return event.kind.startswith("bond")


def latest(events: Sequence[Event], most: int) -> list[int]:
    """Indices of the last ``most`` changes of bonds and of other events each, ascending."""
    bonds = [index for index, event in enumerate(events) if is_bond(event)]
    others = [index for index, event in enumerate(events) if not is_bond(event)]
    return sorted(bonds[-most:] + others[-most:])


def changes(
    last: WeightedHypergraph, now: WeightedHypergraph
) -> Iterable[tuple[str, tuple[int, ...], float]]:
    """Kind, atoms and present weight of everything that differs between two geometries."""
    bonds = dict(now.bonds)
    for bond in sorted(now.decided_bonds - last.decided_bonds):
        yield "bond formed", bond, bonds[bond]
    for bond in sorted(last.decided_bonds - now.decided_bonds):
        yield "bond broken", bond, bonds.get(bond, 0.0)

    weight = dict(now.fragments)
    old, new = last.decided_fragments, now.decided_fragments
    for fragment in sorted(new - old):
        if sum(not set(fragment).isdisjoint(part) for part in old - new) > 1:
            yield "fragments merged", fragment, weight.get(fragment, 0.0)
    for fragment in sorted(old - new):
        if sum(not set(fragment).isdisjoint(part) for part in new - old) > 1:
            yield "fragments split", fragment, weight.get(fragment, 0.0)

    # Hyperedges of a fragment that appears or disappears are not changes of reach.
    both = old & new
    reach = {(i, atoms): w for i, atoms, w in now.hyperedges}
    for kind, pairs in (
        ("reach gained", now.decided_reach - last.decided_reach),
        ("reach lost", last.decided_reach - now.decided_reach),
    ):
        for owner, fragment in sorted(pairs):
            if fragment in both:
                yield kind, (owner, *fragment), reach.get((owner, fragment), 0.0)


def lasting(events: Sequence[Event], times: Sequence[float], residence: float) -> list[int]:
    """Indices of the events that remain when recrossings are removed.

    An event and the one that undoes it, for the same atoms, are a recrossing if less than
    ``residence`` passes between them; both are removed. The next events are then compared as if
    these two had not happened, so that a fluctuating bond keeps only its final change.

    Parameters
    ----------
    events : in order.
    times : time of each event, in any unit.
    residence : shortest lasting time, in the same unit.

    Returns
    -------
    Indices of the remaining events, ascending.
    """
    pending: dict[tuple[frozenset[str], tuple[int, ...]], list[int]] = {}
    for index, event in enumerate(events):
        opposite = OPPOSITE[event.kind]
        stack = pending.setdefault((frozenset({event.kind, opposite}), event.atoms), [])
        undone = stack and events[stack[-1]].kind == opposite
        if undone and times[index] - times[stack[-1]] < residence:
            stack.pop()
        else:
            stack.append(index)
    return sorted(index for stack in pending.values() for index in stack)


def spans(
    events: Sequence[Event], times: Sequence[float]
) -> dict[tuple[str, tuple[int, ...]], list[tuple[float, float]]]:
    """Time intervals in which each bond and fragment of the log existed.

    Merging ends the fragments that merge, and splitting may leave fragments with events of their
    own: a fragment exists between the events of all fragments that share atoms with it.

    Returns
    -------
    (begin, end) of each interval by ``"bond"`` or ``"fragments"`` and atoms; infinite where the log
    has no event.
    """
    named = [k for k, event in enumerate(events) if not event.kind.startswith("reach")]
    whats = {k: events[k].kind.split()[0] for k in named}
    found: dict[tuple[str, tuple[int, ...]], list[tuple[float, float]]] = {}
    for key in dict.fromkeys((whats[k], events[k].atoms) for k in named):
        what, atoms = key
        begin = -math.inf
        there = False
        intervals = []
        touching = [k for k in named if whats[k] == what and _touch(what, atoms, events[k].atoms)]
        for k in touching:
            own = events[k].atoms == atoms
            appears = events[k].kind in ("bond formed", "fragments merged")
            if there or (own and not appears):
                intervals.append((begin, times[k]))
            there, begin = own and appears, times[k]
        if there:
            intervals.append((begin, math.inf))
        found[key] = intervals
    return found


def _touch(what: str, atoms: tuple[int, ...], others: tuple[int, ...]) -> bool:
    return atoms == others if what == "bond" else not set(atoms).isdisjoint(others)
