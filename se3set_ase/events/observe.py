"""Refragmentation of a run, as it happens: an observer for ASE's dynamics and optimisers."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ase import Atoms, units

from se3set_ase.events.log import Event, EventLog
from se3set_ase.io.text import atom_names, table

__all__ = ["EventObserver", "event_line"]

#: Events, 30 MB of them: a long run has millions.
KEPT = 100_000


class EventObserver:
    """Notes the refragmentation events of a run at the steps at which they came.

    >>> dynamics = Langevin(atoms, ...)                                      # doctest: +SKIP
    >>> observer = EventObserver(dynamics, atoms, "events.jsonl")            # doctest: +SKIP
    >>> dynamics.attach(observer)                                            # doctest: +SKIP

    Attach it to every step: what an interval leaves out is told at the next step that is observed.
    ``se3set-ase events`` reads the file, :func:`se3set_ase.events.read_events` does in Python.

    Parameters
    ----------
    dynamics : any of ASE's dynamics or optimisers.
    atoms : what it moves, with an SE3SetCalculator; any other calculator has no events.
    file : JSON lines, one for each event, written at once; replaced if it is there.
        The observer itself keeps the last 100,000 events at least.

    Attributes
    ----------
    events : since the observer was made; ``step`` is that of the dynamics.
    times : of each event, ps; None for an optimiser.
    n_events : how many there were in all.
    """

    def __init__(
        self, dynamics: Any, atoms: Atoms, file: str | os.PathLike[str] | None = None
    ) -> None:
        self.events: list[Event] = []
        self.times: list[float | None] = []
        self.n_events = 0
        self._dynamics = dynamics
        self._log: EventLog | None = getattr(atoms.calc, "event_log", None)
        self._seen = self._log.n_events if self._log is not None else 0
        self._file = None if file is None else Path(file)
        if self._file is not None:
            self._file.write_text("", encoding="utf-8")

    def __call__(self) -> None:
        """Note what came since the last call."""
        if self._log is None or self._log.n_events == self._seen:
            return
        step = int(self._dynamics.nsteps)
        clock = getattr(self._dynamics, "get_time", None)
        time = clock() / (1000.0 * units.fs) if clock else None
        new = [replace(event, step=step) for event in self._log.after(self._seen)]
        self._seen = self._log.n_events
        self.events += new
        self.times += [time] * len(new)
        self.n_events += len(new)
        if len(self.events) > 2 * KEPT:
            del self.events[:-KEPT], self.times[:-KEPT]
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as file:
                file.writelines(event_line(event, time) for event in new)

    def table(self) -> str:
        """All events as text, one per line, in order: time in fs, energy in eV."""
        rows = [
            [
                str(event.step),
                "" if time is None else f"{1000.0 * time:.1f}",
                event.kind,
                atom_names(event.kind, event.atoms, event.symbols),
                f"{event.weight:.3f}",
                f"{event.energy:.4f}",
            ]
            for event, time in zip(self.events, self.times, strict=True)
        ]
        return table(["step", "time", "event", "atoms", "weight", "energy"], rows)


def event_line(event: Event, time: float | None) -> str:
    """One line of a log as JSON, with ``time_ps`` unless the time (ps) is None."""
    stamp = {} if time is None else {"time_ps": time}
    return json.dumps({**asdict(event), **stamp}) + "\n"
