"""Which of the geometries that a calculator meets are new: the committee is asked of those."""

from __future__ import annotations

import numpy as np

from se3set_ase.hypergraph.weighted import WeightedHypergraph

__all__ = ["Followed", "Lookout", "moved"]

#: Angstrom: where an atom has come as far from the others within a step, this is another molecule;
#: where none has, since the last look, there is nothing to look at.
FAR, NEAR = 0.5, 0.05
#: eV for each atom: what is higher by so much than all that was looked at is looked at.
HIGHER = 0.1
#: Steps of a run from one look at its geometry to the next: so many times those before, in the end
#: so many, that these cost little of it.
TIMES, SELDOM = 3, 1000
#: Molecules that are remembered: the images of a path share a calculator.
REMEMBERED = 32


class Followed:
    """A molecule on its way."""

    def __init__(self, hypergraph: WeightedHypergraph):
        self.numbers, self.last = hypergraph.numbers, hypergraph.positions
        self.told: set[str] = set()
        """What was said of it already."""
        self._bonds: tuple[bytes, bytes] | None = None
        self._asked: np.ndarray | None = None
        self._seen = self._look_at = 0
        self._highest = -np.inf

    def has_other_bonds(self, hypergraph: WeightedHypergraph) -> bool:
        """Than when this was asked last."""
        s = hypergraph.structure
        bonds = s.sure_bonds.tobytes(), s.bond_atoms[hypergraph.bond_weights > 0.5].tobytes()
        before, self._bonds = self._bonds, bonds
        return before != bonds

    def is_worth_a_look(self, positions: np.ndarray, energy: float) -> bool:
        """The first geometry, one that is higher than all before, and from time to time another.

        Parameters
        ----------
        positions : (N, 3), Angstrom. energy : eV.
        """
        self._seen += 1
        height = energy / len(positions)
        if not (
            self._asked is None
            or height > self._highest + HIGHER
            or (self._seen >= self._look_at and moved(self._asked, positions) > NEAR)
        ):
            return False
        self._highest = max(height, self._highest)
        self._asked, self._look_at = positions, self._seen + min(TIMES * self._seen, SELDOM)
        return True


class Lookout:
    """The molecules that were met last, one that moves on being the same."""

    def __init__(self) -> None:
        self._followed: list[Followed] = []  # the latest stands last

    def follow(self, hypergraph: WeightedHypergraph) -> Followed:
        """The molecule that this is, a step later, or a new one."""
        near = [
            (away, k)
            for k, known in enumerate(self._followed)
            if np.array_equal(known.numbers, hypergraph.numbers)
            and (away := moved(known.last, hypergraph.positions)) <= FAR
        ]
        found = self._followed.pop(min(near)[1]) if near else Followed(hypergraph)
        found.last = hypergraph.positions
        self._followed = [*self._followed, found][-REMEMBERED:]
        return found


def moved(one: np.ndarray, other: np.ndarray) -> float:
    """How far the atom has come that came furthest from the others, Angstrom.

    Parameters
    ----------
    one, other : (N, 3) positions of the same atoms.
    """
    away = other - one
    return float(np.abs(away - away.mean(axis=0)).max())
