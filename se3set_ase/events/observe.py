"""Record refragmentation events during a run: an observer for ASE's dynamics and optimisers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ase import Atoms, units

from se3set_ase.events.kinds import BONDS, not_shown, nothing_changed, of_kinds
from se3set_ase.events.log import Event, EventLog, latest
from se3set_ase.io.text import atom_names, table

__all__ = ["EventObserver", "event_line"]

#: Number of changes of bonds kept, and of other events, 30 MB each: a long run has millions.
KEPT = 100_000


class EventObserver:
    """Records the refragmentation events of a run with their steps and times.

    >>> dynamics = Langevin(atoms, ...)                                      # doctest: +SKIP
    >>> observer = EventObserver(dynamics, atoms, "events.jsonl")            # doctest: +SKIP
    >>> dynamics.attach(observer)                                            # doctest: +SKIP

    Attach it to every step: with an interval, events are recorded at the next observed step.
    ``se3set-ase events`` prints the file, and :func:`se3set_ase.events.read_events` reads it.

    Parameters
    ----------
    dynamics : an ASE dynamics or optimiser.
    atoms : the atoms that it moves, with an SE3SetCalculator; other calculators have no events.
    file : JSON lines, one per event of any kind, written immediately; an existing file is
        replaced. The observer itself keeps at least the last 100,000 changes of bonds and as many
        other events.

    Attributes
    ----------
    events : events since the observer was created; ``step`` is the step of the dynamics.
    times : time of each event, ps; None for an optimiser.
    n_events : number of all events.
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
        """Record the events since the last call."""
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
        if len(self.events) > 4 * KEPT:
            kept = latest(self.events, KEPT)
            self.events[:] = [self.events[k] for k in kept]
            self.times[:] = [self.times[k] for k in kept]
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as file:
                file.writelines(event_line(event, time) for event in new)

    def table(self, kinds: str | Iterable[str] = BONDS) -> str:
        """Table of the events in order, one per line: time in fs, energy in eV.

        Parameters
        ----------
        kinds : see :func:`se3set_ase.events.of_kinds`; the number of others is in the last line.
        """
        shown = of_kinds(self.events, kinds)
        rows = [
            [
                str(event.step),
                "" if time is None else f"{1000.0 * time:.1f}",
                event.kind,
                atom_names(event.kind, event.atoms, event.symbols),
                f"{event.weight:.3f}",
                f"{event.energy:.4f}",
            ]
            for event, time in ((self.events[k], self.times[k]) for k in shown)
        ]
        header = ["step", "time", "event", "atoms", "weight", "energy"]
        lines = [table(header, rows) if rows else nothing_changed(kinds)]
        return "\n".join(filter(None, [*lines, not_shown(self.events, kinds)]))


def event_line(event: Event, time: float | None) -> str:
    """One line of a log as JSON, with ``time_ps`` unless the time (ps) is None."""
    stamp = {} if time is None else {"time_ps": time}
    return json.dumps({**asdict(event), **stamp}) + "\n"
