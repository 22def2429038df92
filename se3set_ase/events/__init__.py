"""The refragmentation log, in memory and in files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from se3set_ase._lazy import lazy_names

if TYPE_CHECKING:
    from se3set_ase.events.files import EventRecord, read_events
    from se3set_ase.events.kinds import KINDS, of_kinds
    from se3set_ase.events.log import Event, EventLog, lasting, spans
    from se3set_ase.events.observe import EventObserver

__all__ = [
    "KINDS",
    "Event",
    "EventLog",
    "EventObserver",
    "EventRecord",
    "lasting",
    "of_kinds",
    "read_events",
    "spans",
]

_HOMES = {
    "KINDS": "se3set_ase.events.kinds",
    "Event": "se3set_ase.events.log",
    "EventLog": "se3set_ase.events.log",
    "EventObserver": "se3set_ase.events.observe",
    "EventRecord": "se3set_ase.events.files",
    "lasting": "se3set_ase.events.log",
    "of_kinds": "se3set_ase.events.kinds",
    "read_events": "se3set_ase.events.files",
    "spans": "se3set_ase.events.log",
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
