"""Read refragmentation logs from files."""

from __future__ import annotations

import dataclasses
import json
import math
import operator
import os
from pathlib import Path

from se3set_ase.events.log import OPPOSITE, Event

__all__ = ["EventRecord", "read_events"]


@dataclasses.dataclass(frozen=True)
class EventRecord:
    """A refragmentation log: events, their times, and the unit of the times."""

    events: tuple[Event, ...]
    times: tuple[float, ...]
    unit: str


def read_events(path: str | os.PathLike[str]) -> EventRecord:
    """Read the log of an :class:`~se3set_ase.events.observe.EventObserver`, in fs or steps.

    Raises
    ------
    FileNotFoundError : no such file.
    ValueError : a line is not an event; the text has its number.
    """
    names = {field.name for field in dataclasses.fields(Event)}
    events, times, units = [], [], set()
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            values = json.loads(line)
            unit = "fs" if "time_ps" in values else "step"
            time = 1000.0 * values["time_ps"] if unit == "fs" else float(values["step"])
            event = Event(**{name: values[name] for name in names})
            atoms, symbols = tuple(map(operator.index, event.atoms)), tuple(event.symbols)
            if event.kind not in OPPOSITE or len(atoms) != len(symbols) or not math.isfinite(time):
                raise ValueError(event)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"{path}, line {number}: expected an event of a refragmentation log, "
                f"got {line[:60]!r}"
            ) from error
        events.append(dataclasses.replace(event, atoms=atoms, symbols=symbols))
        times.append(time)
        units.add(unit)
    if len(units) > 1:
        raise ValueError(f"{path}: expected one run, got events with times and others with steps")
    return EventRecord(tuple(events), tuple(times), units.pop() if units else "fs")
