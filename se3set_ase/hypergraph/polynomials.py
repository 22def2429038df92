"""Polynomials of bond weights that are the weights of fragments, see :mod:`.mixing`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

import numpy as np

from se3set_ase.hypergraph.outcomes import Molecule, Outcome, Overloaded
from se3set_ase.hypergraph.structure import EXACT_BONDS, Term, WeightedFragment


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Weighted fragments of a system.

    Attributes
    ----------
    fragments : ordered by their atoms.
    fleeting : improbable outcomes were left out, so the mixture is valid for these bond weights
        only.
    """

    fragments: tuple[WeightedFragment, ...]
    fleeting: bool


def outcomes_in(
    molecule: Molecule, zone: Iterable[int], weights: np.ndarray
) -> tuple[list[Outcome], bool]:
    """Outcomes of one zone of a molecule, and whether they are all: if not, the probable ones."""
    try:
        return [outcome for start in zone for outcome in molecule.outcomes(start)], True
    except Overloaded:
        return [outcome for start in zone for outcome in molecule.outcomes(start, weights)], False


def reduced(states: Iterable[Term]) -> tuple[Term, ...]:
    """The polynomial of the states, without bonds that do not affect it."""
    states = tuple(sorted(states))
    bonds = sorted({bond for state in states for bond, _ in state})
    if len(bonds) > EXACT_BONDS:
        return states
    occurs = np.zeros((2,) * len(bonds), dtype=bool)
    for choice in product((False, True), repeat=len(bonds)):
        whole = dict(zip(bonds, choice, strict=True))
        occurs[tuple(map(int, choice))] = any(
            all(whole[bond] == there for bond, there in state) for state in states
        )
    axis = 0
    while axis < occurs.ndim:
        absent, present = occurs.take(0, axis), occurs.take(1, axis)
        if (absent == present).all():
            occurs = absent
            del bonds[axis]
        else:
            axis += 1
    return tuple(
        tuple((bond, bool(bit)) for bond, bit in zip(bonds, choice, strict=True))
        for choice in np.argwhere(occurs)
    )
