"""Find new geometries, for which the committee is evaluated."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Sequence

import numpy as np

from se3set_ase.hypergraph.weighted import WeightedHypergraph

__all__ = ["NoveltyTracker", "TrackedMolecule", "follow_all", "moved"]

#: Angstrom: if an atom moves this far relative to the others in one step, it is another molecule.
FAR = 0.5
#: Angstrom: if no atom has moved this far since the last check, no check is needed.
NEAR = 0.05
#: eV per atom: a geometry this much higher than all checked ones is checked.
HIGHER = 0.1
#: The interval between checks is the number of steps so far times this factor ...
INTERVAL_FACTOR = 3
#: ... and at most this number of steps, so that checks cost little.
MAX_INTERVAL = 1000
#: Number of tracked geometries, because the images of a path or a population may share a
#: calculator; the least recently used one is removed first. About 100 bytes per atom each.
REMEMBERED = 2048


class TrackedMolecule:
    """A molecule in the course of a run."""

    def __init__(self) -> None:
        self._bonds: tuple[bytes, bytes] | None = None
        self._checked: np.ndarray | None = None
        self._seen = self._next_check = 0
        self._highest = -np.inf

    def has_other_bonds(self, hypergraph: WeightedHypergraph) -> bool:
        """Whether the bonds differ from those of the last call."""
        s = hypergraph.structure
        bonds = s.sure_bonds.tobytes(), s.bond_atoms[hypergraph.bond_weights > 0.5].tobytes()
        before, self._bonds = self._bonds, bonds
        return before != bonds

    def needs_check(self, positions: np.ndarray, energy: float) -> bool:
        """Whether to check a geometry: the first, one higher than all before, or one now and then.

        Parameters
        ----------
        positions : (N, 3) Angstrom.
        energy : eV.
        """
        self._seen += 1
        height = energy / len(positions)
        if not (
            self._checked is None
            or height > self._highest + HIGHER
            or (self._seen >= self._next_check and moved(self._checked, positions) > NEAR)
        ):
            return False
        self._highest = max(height, self._highest)
        self._checked, self._next_check = (
            positions,
            self._seen + min(INTERVAL_FACTOR * self._seen, MAX_INTERVAL),
        )
        return True


class Reports:
    """What was reported of molecules with one formula."""

    def __init__(self) -> None:
        self.environments: set[str] = set()
        self.energy = self.forces = 0.0
        """Largest uncertainties, eV and eV/Angstrom."""


AllReports = defaultdict[str, Reports]
"""What was reported, by molecular formula."""


class NoveltyTracker:
    """Recognises the molecules that a calculator sees from step to step.

    Attributes
    ----------
    reports : what was reported so far.
    """

    def __init__(self) -> None:
        self.reports: AllReports = defaultdict(Reports)
        self._alike: dict[bytes, _Alike] = defaultdict(_Alike)  # by atomic numbers
        self._order: OrderedDict[TrackedMolecule, bytes] = OrderedDict()  # the latest is last

    def follow(self, hypergraph: WeightedHypergraph) -> TrackedMolecule:
        """The tracked molecule closest to this geometry, or a new one."""
        key, positions = hypergraph.numbers.tobytes(), hypergraph.positions
        found = self._alike[key].follow(positions - positions.mean(axis=0))
        self._order[found] = key
        self._order.move_to_end(found)
        if len(self._order) > REMEMBERED:
            oldest, key = self._order.popitem(last=False)
            self._alike[key].remove(oldest)
            if not self._alike[key].molecules:
                del self._alike[key]
        return found

    def only(self, hypergraph: WeightedHypergraph) -> _Alike | None:
        """The one tracked molecule, if it is the only one and has these atoms."""
        alike = self._alike.get(hypergraph.numbers.tobytes()) if len(self._order) == 1 else None
        return alike if alike and len(alike.molecules) == 1 else None


def follow_all(
    trackers: Sequence[NoveltyTracker], hypergraphs: Sequence[WeightedHypergraph]
) -> list[TrackedMolecule]:
    """Like :meth:`NoveltyTracker.follow` for each tracker; most are compared in one pass."""
    found: dict[int, TrackedMolecule] = {}
    only = [
        (index, alike, hypergraph.positions)
        for index, (tracker, hypergraph) in enumerate(zip(trackers, hypergraphs, strict=True))
        if (alike := tracker.only(hypergraph)) is not None
    ]
    if only:
        n_atoms = np.array([len(positions) for *_, positions in only])
        start = np.cumsum(n_atoms) - n_atoms
        joined = np.concatenate([positions for *_, positions in only])
        average = np.add.reduceat(joined, start) / n_atoms[:, None]
        joined -= np.repeat(average, n_atoms, axis=0)
        away = np.abs(joined - np.concatenate([alike.last for _, alike, _ in only])).max(axis=1)
        near = np.maximum.reduceat(away, start) <= FAR
        parts = np.split(joined, start[1:])
        for (index, alike, _), centred, stays in zip(only, parts, near.tolist(), strict=True):
            if stays:
                alike.last[:] = centred
                found[index] = alike.molecules[0]
    return [
        found[index] if index in found else tracker.follow(hypergraph)
        for index, (tracker, hypergraph) in enumerate(zip(trackers, hypergraphs, strict=True))
    ]


class _Alike:
    """Tracked molecules with the same atoms in the same order."""

    def __init__(self) -> None:
        self.molecules: list[TrackedMolecule] = []
        # Last positions (K, N, 3) relative to their average; some rows at the end are unused.
        self._centred = np.empty((0, 0, 3))

    def follow(self, centred: np.ndarray) -> TrackedMolecule:
        """The molecule that moved to these positions relative to their average, or a new one."""
        n = len(self.molecules)
        away = np.abs(self._centred[:n] - centred).reshape(n, -1).max(axis=1) if n else np.empty(0)
        nearest = int(away.argmin()) if n else 0
        if n == 0 or away[nearest] > FAR:
            nearest = n
            self.molecules.append(TrackedMolecule())
            if n == len(self._centred):  # double the rows
                more = np.empty((max(n, 1), *centred.shape))
                self._centred = np.concatenate([self._centred, more]) if n else more
        self._centred[nearest] = centred
        return self.molecules[nearest]

    @property
    def last(self) -> np.ndarray:
        """(N, 3) last positions of the first molecule, relative to their average."""
        first: np.ndarray = self._centred[0]
        return first

    def remove(self, molecule: TrackedMolecule) -> None:
        """Forget one; the last takes its row."""
        row, last = self.molecules.index(molecule), len(self.molecules) - 1
        self.molecules[row], self._centred[row] = self.molecules[last], self._centred[last]
        del self.molecules[last]


def moved(one: np.ndarray, other: np.ndarray) -> float:
    """Largest displacement component of an atom relative to the average, Angstrom.

    Parameters
    ----------
    one, other : (N, 3) positions of the same atoms.
    """
    away = other - one
    return float(np.abs(away - away.sum(axis=0) / len(away)).max())
