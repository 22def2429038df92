"""Errors of a potential on labelled frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from se3set_ase._lazy import lazy_names

if TYPE_CHECKING:
    from se3set_ase.evaluate.frames import evaluate
    from se3set_ase.evaluate.levels import OtherLevel

__all__ = ["OtherLevel", "evaluate"]

_HOMES = {
    "OtherLevel": "se3set_ase.evaluate.levels",
    "evaluate": "se3set_ase.evaluate.frames",
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
