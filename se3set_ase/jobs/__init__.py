"""Jobs on many molecules with many processes, which can be stopped and resumed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from se3set_ase._lazy import lazy_names

if TYPE_CHECKING:
    from se3set_ase.jobs.executor import task_executor
    from se3set_ase.jobs.relaxation import Relaxation
    from se3set_ase.jobs.resumable import Done, Work, work_on

__all__ = [
    "Done",
    "Relaxation",
    "Work",
    "task_executor",
    "work_on",
]

_HOMES = {
    "Done": "se3set_ase.jobs.resumable",
    "Relaxation": "se3set_ase.jobs.relaxation",
    "Work": "se3set_ase.jobs.resumable",
    "task_executor": "se3set_ase.jobs.executor",
    "work_on": "se3set_ase.jobs.resumable",
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
