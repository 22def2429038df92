"""Constants of the model that come from the training data, and not by gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from se3set_ase.train.data import DataError, Frame, symbols


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """Constants of the model that come from the training data; eV."""

    elements: tuple[int, ...]
    atomic_energies: tuple[float, ...]
    shifts: tuple[float, ...]
    scale: float


def normalise(frames: Sequence[Frame], atomic: Mapping[int, float] | None) -> Normalisation:
    """Elements, atomic energies, shifts per bonded atom (least squares) and the scale.

    Without energies of isolated atoms the fit stands in for them, and shifts are zero.
    """
    elements = tuple(sorted({int(z) for f in frames for z in f.numbers}))
    if atomic is not None and (missing := [z for z in elements if z not in atomic]):
        raise DataError(
            f"expected an isolated atom of every element, got none of {symbols(missing)}"
        )
    counts = np.array([[int((f.numbers == z).sum()) for z in elements] for f in frames])
    target = np.array([f.energy for f in frames])
    if atomic is not None:
        target = target - counts @ np.array([atomic[z] for z in elements])
        bonded = counts.sum(axis=1) > 1  # a lone atom has its atomic energy and no shift
        counts, target = counts[bonded], target[bonded]
    fit = fit_elements(counts, target)
    scale = float(np.sqrt(np.mean(np.concatenate([f.forces for f in frames]) ** 2)))
    zeros = np.zeros(len(elements))
    e0 = np.array([atomic[z] for z in elements]) if atomic is not None else fit
    return Normalisation(
        elements=elements,
        atomic_energies=tuple(e0.tolist()),
        shifts=tuple((fit if atomic is not None else zeros).tolist()),
        scale=max(scale, 1e-3),
    )


def fit_elements(counts: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Energies per atom of each element that add up to the target (eV, one per frame) best.

    One composition only has no unique solution: the shortest is taken.
    """
    return np.linalg.lstsq(counts.astype(float), target, rcond=None)[0]
