"""How uncertain a prediction is: a committee of models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from se3set_ase._lazy import lazy_names

if TYPE_CHECKING:
    from se3set_ase.uncertainty.committee import Committee, NoCommittee, committee_of

__all__ = [
    "Committee",
    "NoCommittee",
    "committee_of",
]

_HOMES = {
    "Committee": "se3set_ase.uncertainty.committee",
    "NoCommittee": "se3set_ase.uncertainty.committee",
    "committee_of": "se3set_ase.uncertainty.committee",
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
