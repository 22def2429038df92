"""How far to trust a prediction: its uncertainties, and reasons not to trust it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from ase import Atoms

from se3set_ase.checkpoint.metadata import ModelMetadata
from se3set_ase.io.text import formula
from se3set_ase.prediction import Prediction
from se3set_ase.uncertainty.committee import Committee, Uncertainty

__all__ = [
    "INFO",
    "SEPARATOR",
    "Doubt",
    "doubt_of",
    "doubts_of",
    "remove_doubt",
    "untrained",
]


SEPARATOR = " | "
"""Between the reasons in a file."""


class Doubted(Protocol):
    """What is needed of a :class:`se3set_ase.Potential`."""

    metadata: ModelMetadata

    @property
    def committee(self) -> Committee | None: ...


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """How far to trust the prediction for a geometry.

    Attributes
    ----------
    energy : Expected error of the energy, eV, or None if the model has no committee. It is an error
        against labels of the model's own level of theory, not against experiment.
    forces : Largest expected length of the error of the force on an atom, eV/Angstrom, or None.
    level : That level of theory.
    reasons : Reasons not to trust the prediction, the texts of the warnings; empty if there is
        none.
    """

    energy: float | None = None
    forces: float | None = None
    level: str = ""
    reasons: tuple[str, ...] = ()

    @property
    def doubtful(self) -> bool:
        """Whether there is a reason not to trust the prediction."""
        return bool(self.reasons)

    @property
    def info(self) -> dict[str, Any]:
        """Entries for the ``info`` of a molecule, as files have them."""
        found: dict[str, Any] = {"doubtful": self.doubtful}
        if self.energy is not None and self.forces is not None:
            found |= {"energy_uncertainty": self.energy, "forces_uncertainty": self.forces}
        if self.reasons:
            found["doubts"] = SEPARATOR.join(self.reasons)
        return found

    @classmethod
    def from_info(cls, info: Mapping[str, Any], level: str) -> Doubt | None:
        """The inverse of :attr:`info`, for files of a model; None if there are no such entries."""
        if "doubtful" not in info:
            return None
        energy, forces = info.get("energy_uncertainty"), info.get("forces_uncertainty")
        reasons = str(info.get("doubts", "")).split(SEPARATOR) if info["doubtful"] else []
        return cls(
            energy=None if energy is None else float(energy),
            forces=None if forces is None else float(forces),
            level=level,
            reasons=tuple(reasons),
        )

    def __str__(self) -> str:
        """The uncertainties in words, without the reasons."""
        if self.energy is None:
            return "unknown, because the model has no committee"
        return f"{self.energy:.3f} eV, {self.forces:.3f} eV/A of a force (against {self.level})"


INFO = frozenset({"doubtful", "energy_uncertainty", "forces_uncertainty", "doubts"})
"""Names of all entries of :attr:`Doubt.info`."""


def remove_doubt(molecules: Iterable[Atoms]) -> None:
    """Remove the entries of :attr:`Doubt.info`, which may be of another geometry or model."""
    for atoms in molecules:
        for name in INFO & atoms.info.keys():
            del atoms.info[name]


def doubt_of(potential: Doubted, prediction: Prediction, uncertainty: Uncertainty | None) -> Doubt:
    """The doubt of a prediction of a potential.

    Parameters
    ----------
    uncertainty : see :meth:`.Committee.uncertainties`; None if it was not evaluated.
    """
    reasons = untrained(potential.metadata, prediction.hypergraph.numbers)
    if potential.committee is not None:
        reasons += potential.committee.reasons(prediction, uncertainty)
    energy, forces = uncertainty or (None, None)
    return Doubt(
        energy=energy,
        forces=None if forces is None else float(forces.max()),
        level=potential.metadata.level_of_theory,
        reasons=tuple(reasons),
    )


def doubts_of(potential: Doubted, predictions: Sequence[Prediction]) -> list[Doubt]:
    """The doubt of each prediction; evaluates the committee if the model has one."""
    found: Sequence[Uncertainty | None] = [None] * len(predictions)
    if potential.committee is not None and predictions:
        found = potential.committee.uncertainties(predictions)
    return [
        doubt_of(potential, prediction, uncertainty)
        for prediction, uncertainty in zip(predictions, found, strict=True)
    ]


def untrained(metadata: ModelMetadata, numbers: np.ndarray) -> list[str]:
    """A reason not to trust a model of a few molecules for another one; empty if there is none.

    Parameters
    ----------
    numbers : (N,) atomic numbers.
    """
    known = metadata.formulas
    if not known or (found := formula(numbers)) in known:
        return []
    return [
        f"model {metadata.name!r} was trained on {', '.join(known)} only, "
        f"got {found}: energies and forces are not reliable"
    ]
