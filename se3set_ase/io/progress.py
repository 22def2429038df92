"""Progress of long runs: a bar in a terminal, elsewhere a line every minute."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from tqdm import tqdm

#: Seconds between lines, and between updates of a clock in a terminal.
LINES_EVERY, CLOCK_EVERY = 60.0, 1.0


class Progress:
    """Counts what is done; called with the number of newly finished units.

    Attributes
    ----------
    note : text after the count, for instance the last errors.
    """

    def __init__(self, name: str, total: int | None, unit: str, done: int = 0):
        self.name, self.total, self.unit = name, total, unit
        self.done, self.note = done, ""
        self._started = time.monotonic()

    def __call__(self, n: int = 1) -> None:
        self.done += n

    def __str__(self) -> str:
        """For instance ``label: 3 of 12 frames, 25 %, 5 min``."""
        count = [f"{self.done} {self.unit}{'' if self.done == 1 else 's'}"] if self.unit else []
        if self.total:
            share = 100 * self.done // self.total
            count = [f"{self.done} of {self.total} {self.unit}s", f"{share} %"]
        passed = duration(time.monotonic() - self._started)
        return f"{self.name}: " + ", ".join([*count, passed, *filter(None, [self.note])])


@contextlib.contextmanager
def progress_bar(
    name: str, total: int | None, unit: str, *, done: int = 0, show: bool = True
) -> Iterator[Progress]:
    """Progress on standard error; nothing in the first minute unless that is a terminal.

    Parameters
    ----------
    total : number of units; None if unknown.
    unit : singular. Empty for a task whose only progress is time.
    done : units of an earlier run.
    """
    progress = Progress(name, total, unit, done)
    if not show:
        yield progress
    elif sys.stderr.isatty():
        with _bar(progress) as bar:
            yield bar
    else:
        stream = sys.stderr

        def line() -> None:
            with contextlib.suppress(OSError):  # nobody reads it
                stream.write(f"{progress}\n")
                stream.flush()

        with _every(LINES_EVERY, line):
            yield progress


class _Bar(Progress):
    """The same, shown by tqdm."""

    def __init__(self, progress: Progress, bar: tqdm[Any]):
        super().__init__(progress.name, progress.total, progress.unit, progress.done)
        self._bar = bar

    def __call__(self, n: int = 1) -> None:
        super().__call__(n)
        if self.note != (self._bar.postfix or ""):
            self._bar.set_postfix_str(self.note, refresh=False)
        self._bar.update(n)


@contextlib.contextmanager
def _bar(progress: Progress) -> Iterator[Progress]:
    bar: tqdm[Any] = tqdm(
        desc=progress.name,
        total=progress.total,
        initial=progress.done,
        unit=progress.unit,
        file=sys.stderr,
        dynamic_ncols=True,
        leave=bool(progress.unit),
        bar_format=None if progress.unit else "{desc}: {elapsed}",
    )
    clock = contextlib.nullcontext() if progress.unit else _every(CLOCK_EVERY, bar.refresh)
    with bar, clock:
        yield _Bar(progress, bar)


@contextlib.contextmanager
def _every(seconds: float, call: Callable[[], object]) -> Iterator[None]:
    """Repeat a call from another thread."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(seconds):
            call()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def duration(seconds: float) -> str:
    """A time in words: ``45 s``, ``12 min`` or ``3 h 20 min``.

    >>> duration(45), duration(12_000)
    ('45 s', '3 h 20 min')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(int(seconds) // 60, 60)
    return (f"{hours} h " if hours else "") + f"{minutes} min"
