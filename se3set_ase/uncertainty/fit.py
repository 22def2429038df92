"""Factors and floors of a committee, from its errors on labelled geometries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize

from se3set_ase.prediction import Prediction
from se3set_ase.uncertainty.committee import disagreement

#: Share of the geometries whose uncertainty is familiar.
FAMILIAR = 0.99
#: Relative to the errors: a smaller spread of the members is none.
NO_SPREAD = 1e-6

Doubt = tuple[float, np.ndarray]
"""Uncertainty of an energy (eV), and of the force on each atom (eV/Angstrom); or their errors."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The fields of :class:`se3set_ase.uncertainty.calibration.Scale` that are fitted."""

    energy_factor: float
    energy_floor: float
    forces_factor: float
    forces_floor: float
    familiar_energy: float
    familiar_forces: float


def fit(
    spread: Sequence[Doubt], errors: Sequence[Doubt], familiar: Sequence[Doubt] | None = None
) -> Fit:
    """Fit to disagreements of the members and errors of the first one, one for each geometry.

    Parameters
    ----------
    familiar : disagreements on geometries like the training data; those of ``spread`` by default.
    """
    energies = np.array([e for e, _ in spread])
    energy_factor, energy_floor = likeliest(energies, np.array([e for e, _ in errors]))
    forces_factor, forces_floor = likeliest(joined(spread), joined(errors))
    known = spread if familiar is None else familiar
    longest = np.array([f.max() for _, f in known])
    return Fit(
        energy_factor=energy_factor,
        energy_floor=energy_floor,
        forces_factor=forces_factor,
        forces_floor=forces_floor,
        familiar_energy=float(
            np.hypot(energy_factor * np.quantile([e for e, _ in known], FAMILIAR), energy_floor)
        ),
        familiar_forces=float(
            np.hypot(forces_factor * np.quantile(longest, FAMILIAR), forces_floor)
        ),
    )


def compare(
    predictions: Iterable[Sequence[Prediction]], labels: Iterable[Doubt]
) -> tuple[list[Doubt], list[Doubt]]:
    """Disagreement of the members and errors of the first one.

    Parameters
    ----------
    predictions : of all members, the first one first, for each geometry.
    labels : energy (eV) and forces (N, 3) of each geometry.
    """
    spread, errors = [], []
    for found, (energy, forces) in zip(predictions, labels, strict=True):
        spread.append(disagreement(found))
        off = np.linalg.norm(found[0].forces - forces, axis=1)
        errors.append((found[0].energy - energy, off))
    return spread, errors


def likeliest(spread: np.ndarray, error: np.ndarray) -> tuple[float, float]:
    """Factor and floor of maximum likelihood, for Gaussians of width sqrt((factor s)^2 + floor^2).

    Errors are energies, or lengths of vectors. With n components, the logarithm of the probability
    is -n/2 times the sum below, apart from a constant.
    """
    if rms(spread) <= NO_SPREAD * rms(error):  # members that agree say nothing about the error
        return 1.0, rms(error)

    def unlikelihood(logs: np.ndarray) -> float:
        factor, floor = np.exp(logs)
        variance = (factor * spread) ** 2 + floor**2
        return float(np.sum(np.log(variance) + error**2 / variance))

    start = np.log([rms(error) / rms(spread), rms(error)])
    factor, floor = np.exp(minimize(unlikelihood, start, method="Nelder-Mead").x)
    return float(factor), float(floor)


def joined(doubts: Sequence[Doubt]) -> np.ndarray:
    """Values of all atoms, in one array."""
    return np.concatenate([forces for _, forces in doubts])


def rms(values: ArrayLike) -> float:
    """Root mean square of all values."""
    return float(np.sqrt(np.mean(np.square(values))))
