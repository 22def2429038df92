"""Errors of energies and forces, and their sums."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from se3set_ase.io.text import symbol

_MEV = 1000.0  # meV per eV


@dataclasses.dataclass
class Errors:
    """Running sums of errors, in the unit of the added values."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, errors: np.ndarray) -> None:
        self.n += errors.size
        self.total += float(np.abs(errors).sum())
        self.squares += float((errors**2).sum())

    def mae(self) -> float | None:
        return self.total / self.n if self.n else None

    def rmse(self) -> float | None:
        return math.sqrt(self.squares / self.n) if self.n else None


class EnergyErrors:
    """Errors of energies, aligned by the energies of elements on request."""

    def __init__(self, *, align: bool):
        self.align = align
        self.n = self.n_to_align = 0
        self._energy, self._per_atom = Errors(), Errors()
        self._kept: list[tuple[np.ndarray, float]] = []

    def add(self, numbers: np.ndarray, difference: float, *, same_level: bool = False) -> None:
        """Add the energy of the model minus the label, eV.

        Labels of the same level of theory are never aligned: that would hide errors.
        """
        self.n += 1
        if self.align and not same_level:
            self.n_to_align += 1
            self._kept.append((np.bincount(numbers).astype(np.int32), difference))
        else:
            self._add(len(numbers), difference)

    def _add(self, n_atoms: int, difference: float) -> None:
        self._energy.add(np.array([difference * _MEV]))
        self._per_atom.add(np.array([difference * _MEV / max(n_atoms, 1)]))

    def errors(self) -> tuple[Errors, Errors, dict[str, float] | None]:
        """Per molecule, per atom, and the energies of the elements in eV, None without a fit."""
        if not self._kept:
            return self._energy, self._per_atom, None
        counts = np.zeros((len(self._kept), max(len(row) for row, _ in self._kept)))
        for row, (numbers, _) in zip(counts, self._kept, strict=True):
            row[: len(numbers)] = numbers
        elements = np.flatnonzero(counts.any(axis=0))
        counts = counts[:, elements]
        differences = np.array([difference for _, difference in self._kept])
        shifts, _, rank, _ = np.linalg.lstsq(counts, differences, rcond=None)
        if len(counts) <= rank:  # every difference would be fitted
            return self._energy, self._per_atom, None
        for n_atoms, rest in zip(counts.sum(axis=1), differences - counts @ shifts, strict=True):
            self._add(int(n_atoms), float(rest))
        return (
            self._energy,
            self._per_atom,
            {symbol(int(z)): float(shift) for z, shift in zip(elements, shifts, strict=True)},
        )
