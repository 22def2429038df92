"""A potential for one molecule or reaction, from geometries that it chooses and labels itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from se3set_ase._lazy import lazy_names

if TYPE_CHECKING:
    from se3set_ase.learning.report import Learned
    from se3set_ase.learning.run import learn

__all__ = ["Learned", "learn"]

_HOMES = {
    "Learned": "se3set_ase.learning.report",
    "learn": "se3set_ase.learning.run",
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
