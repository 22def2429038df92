"""What made the labels, compared with the level of theory of a model."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

from ase import Atoms

from se3set_ase.checkpoint.metadata import ModelMetadata
from se3set_ase.checkpoint.registry import resolve_model
from se3set_ase.checkpoint.store import load_metadata
from se3set_ase.io.levels import origin_of_labels, same_level
from se3set_ase.io.text import counted

OnOtherLevel = Literal["refuse", "align", "compare"]


class OtherLevel(ValueError):
    """Labels of another level of theory than that of the model."""


class Levels:
    """What made the labels, compared with a model."""

    def __init__(self, model: ModelMetadata | None, other_level: OnOtherLevel):
        self._model, self._other_level = model, other_level
        self.found: set[str] = set()
        self._others: set[str] = set()
        self._predicted: Counter[str] = Counter()
        self._own = 0
        self._models: dict[str, ModelMetadata | None] = {}

    def check(self, atoms: Atoms, index: int) -> bool:
        """Raise OtherLevel for labels that must not be compared.

        Returns
        -------
        Whether the labels declare the level of theory of the model.
        """
        origin, model = origin_of_labels(atoms), self._model
        level = origin.level
        if origin.model:
            metadata = self._metadata(origin.model)
            level = metadata.level_of_theory if metadata else ""
            if model is not None and _same(model, metadata, origin.model):
                self._own += 1
                return True
            self._predicted[origin.model] += 1
        if not level:
            return False
        self.found.add(level)
        if model is None:
            return False
        if same_level(level, model.level_of_theory):
            return True
        self._others.add(level)
        if self._other_level == "refuse":
            raise OtherLevel(
                f"frame {index}: expected labels of {model.level_of_theory}, the level of theory "
                f"of model {model.name!r}, got {level}"
            )
        return False

    def notes(self) -> list[str]:
        """What a reader of the errors must know."""
        notes = []
        if self._own:
            notes.append(
                f"the labels of {counted(self._own, 'frame')} are predictions of this model: their "
                "errors are rounding, and say nothing about its accuracy"
            )
        notes += [
            f"the labels of {counted(n, 'frame')} are predictions of the model {name}"
            for name, n in sorted(self._predicted.items())
        ]
        if self._others and self._model is not None:
            notes.append(
                f"the labels are of {', '.join(sorted(self._others))}, the model is of "
                f"{self._model.level_of_theory}: the errors contain the difference of the levels"
            )
        return notes

    def _metadata(self, model: str) -> ModelMetadata | None:
        """None for a model that is not here."""
        if model not in self._models:
            try:
                self._models[model] = load_metadata(resolve_model(model))
            except (ValueError, OSError):
                self._models[model] = None
        return self._models[model]


def _same(model: ModelMetadata, other: ModelMetadata | None, name: str) -> bool:
    if other is None or other.weights is None or model.weights is None:
        return name == model.name
    return other.weights.sha256 == model.weights.sha256


def metadata_of(model: Any) -> ModelMetadata | None:
    """Of a potential or an SE3SetCalculator; None of others."""
    found = getattr(getattr(model, "potential", model), "metadata", None)
    return found if isinstance(found, ModelMetadata) else None
