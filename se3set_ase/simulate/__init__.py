"""Relaxation and molecular dynamics of one molecule or many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from se3set_ase._lazy import lazy_names

if TYPE_CHECKING:
    from se3set_ase.simulate.dynamics import md
    from se3set_ase.simulate.many import Relaxed, relax_many
    from se3set_ase.simulate.relaxation import OPTIMIZERS, relax
    from se3set_ase.simulate.report import (
        describe_dynamics,
        describe_events,
        describe_log,
        describe_relaxation,
    )
    from se3set_ase.simulate.results import DynamicsResult, RelaxResult, write_table

__all__ = [
    "OPTIMIZERS",
    "DynamicsResult",
    "RelaxResult",
    "Relaxed",
    "describe_dynamics",
    "describe_events",
    "describe_log",
    "describe_relaxation",
    "md",
    "relax",
    "relax_many",
    "write_table",
]

_HOMES = {
    "OPTIMIZERS": "se3set_ase.simulate.relaxation",
    "DynamicsResult": "se3set_ase.simulate.results",
    "RelaxResult": "se3set_ase.simulate.results",
    "Relaxed": "se3set_ase.simulate.many",
    "describe_dynamics": "se3set_ase.simulate.report",
    "describe_events": "se3set_ase.simulate.report",
    "describe_log": "se3set_ase.simulate.report",
    "describe_relaxation": "se3set_ase.simulate.report",
    "md": "se3set_ase.simulate.dynamics",
    "relax": "se3set_ase.simulate.relaxation",
    "relax_many": "se3set_ase.simulate.many",
    "write_table": "se3set_ase.simulate.results",
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
