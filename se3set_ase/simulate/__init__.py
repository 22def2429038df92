"""Relaxation and molecular dynamics of one molecule or many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from se3set_ase._lazy import lazy_names

if TYPE_CHECKING:
    from se3set_ase.simulate.dynamics import md
    from se3set_ase.simulate.harmonic import VibrationsResult, vibrations
    from se3set_ase.simulate.many import relax_many
    from se3set_ase.simulate.relaxation import OPTIMIZERS, relax
    from se3set_ase.simulate.results import DynamicsResult, Relaxations, RelaxResult

__all__ = [
    "OPTIMIZERS",
    "DynamicsResult",
    "RelaxResult",
    "Relaxations",
    "VibrationsResult",
    "md",
    "relax",
    "relax_many",
    "vibrations",
]

_HOMES = {
    "OPTIMIZERS": "se3set_ase.simulate.relaxation",
    "DynamicsResult": "se3set_ase.simulate.results",
    "RelaxResult": "se3set_ase.simulate.results",
    "Relaxations": "se3set_ase.simulate.results",
    "md": "se3set_ase.simulate.dynamics",
    "relax": "se3set_ase.simulate.relaxation",
    "relax_many": "se3set_ase.simulate.many",
    "VibrationsResult": "se3set_ase.simulate.harmonic",
    "vibrations": "se3set_ase.simulate.harmonic",
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
