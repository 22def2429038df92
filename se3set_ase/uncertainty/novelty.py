"""Find new geometries, for which the committee is evaluated."""

from __future__ import annotations

import numpy as np

from se3set_ase.hypergraph.weighted import WeightedHypergraph

__all__ = ["NoveltyTracker", "TrackedMolecule", "moved"]

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
#: Number of tracked molecules: the images of a path share a calculator.
REMEMBERED = 32


class TrackedMolecule:
    """A molecule in the course of a run."""

    def __init__(self, hypergraph: WeightedHypergraph):
        self.numbers, self.last = hypergraph.numbers, hypergraph.positions
        self.reported: set[str] = set()
        """Environments reported before."""
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


class NoveltyTracker:
    """Recognises the molecules that a calculator sees from step to step."""

    def __init__(self) -> None:
        self._tracked: list[TrackedMolecule] = []  # the latest is last

    def follow(self, hypergraph: WeightedHypergraph) -> TrackedMolecule:
        """The tracked molecule closest to this geometry, or a new one."""
        near = [
            (away, k)
            for k, known in enumerate(self._tracked)
            if np.array_equal(known.numbers, hypergraph.numbers)
            and (away := moved(known.last, hypergraph.positions)) <= FAR
        ]
        found = self._tracked.pop(min(near)[1]) if near else TrackedMolecule(hypergraph)
        found.last = hypergraph.positions
        self._tracked = [*self._tracked, found][-REMEMBERED:]
        return found


def moved(one: np.ndarray, other: np.ndarray) -> float:
    """Largest displacement component of an atom relative to the average, Angstrom.

    Parameters
    ----------
    one, other : (N, 3) positions of the same atoms.
    """
    away = other - one
    return float(np.abs(away - away.mean(axis=0)).max())
