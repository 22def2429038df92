"""Many molecules worked on by many processes, into one file; a run that was stopped goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from ase import Atoms
from ase.io import read, write

from se3set_ase.files import write_atomically

#: Tasks given to the executor and not yet done.
WAITING = 256

Answer = tuple[int, Atoms | str]
"""Number of a molecule in the input; what came out, or why nothing did."""


class Work(Protocol):
    """What is done with molecules. Goes to other processes."""

    @property
    def index_key(self) -> str:
        """Of a result's ``info``: the number of the molecule in the input."""

    def record(self) -> dict[str, Any]:
        """All settings, JSON: a run goes on only with the same."""

    def __call__(self, molecules: Sequence[Atoms]) -> list[Atoms | str]:
        """Results in the same order, or a reason instead; their ``info`` is added to the input's.

        What it raises is the reason for all of them.
        """

    def misfit(self, result: Atoms, given: Atoms | None) -> str:
        """What shows that an earlier result is not of this molecule by this work; else empty."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a run did."""

    n_done: int
    """Results in the output."""
    n_kept: int
    """Of them, those of an earlier run."""
    failures: dict[int, str]
    """Number of the molecule in the input, and why it has no result."""


def work_on(
    molecules: Sequence[Atoms],
    work: Work,
    output: Path,
    *,
    executor: Executor,
    per_task: int = 1,
    progress: Callable[[int], object] | None = None,
) -> Done:
    """Do the work and write the results as extended XYZ.

    ``OUTPUT.json`` has the settings and the failures. Results are written as they come, so what
    was done when a run is stopped is there when the same run is started again. At the end they
    stand in the order of the input. Failures are not tried again unless they are deleted from
    ``OUTPUT.json``.

    Parameters
    ----------
    executor : runs the tasks: of processes, of a dask cluster, of MPI...
    per_task : molecules that go to a process at once.
    progress : called with the number of molecules done.

    Raises
    ------
    ValueError : a periodic frame; an output that is of other molecules or of other work.
    BrokenExecutor : the executor lost its processes and can't replace them.
    """
    for index, atoms in enumerate(molecules):
        if atoms.pbc.any():
            raise ValueError(f"expected molecules, got a periodic cell in frame {index}")
    record = output.with_name(output.name + ".json")
    failures = _earlier_failures(record, work)
    kept = _earlier_results(output, molecules, work)
    _write_record(record, work, failures)
    todo = [i for i in range(len(molecules)) if i not in kept and i not in failures]
    _tell(progress, len(molecules) - len(todo))
    try:
        with output.open("a", encoding="utf-8") as file:
            for index, answer in _answers(molecules, todo, work, executor, per_task):
                if isinstance(answer, str):
                    failures[index] = answer
                else:
                    answer.info = {**molecules[index].info, **answer.info, work.index_key: index}
                    file.write(_as_text([answer]))
                    file.flush()
                _tell(progress, 1)
    finally:
        _write_record(record, work, failures)
    done = sorted(_earlier_results(output, molecules, work).items())
    write_atomically(output, _as_text([atoms for _, atoms in done]).encode())
    return Done(n_done=len(done), n_kept=len(kept), failures=failures)


def _answers(
    molecules: Sequence[Atoms],
    todo: Sequence[int],
    work: Work,
    executor: Executor,
    per_task: int,
) -> Iterator[Answer]:
    """As they come. The executor never holds more than some tasks: molecules may be many."""
    tasks = iter(todo[start : start + per_task] for start in range(0, len(todo), per_task))
    running: dict[Future[list[Answer]], Sequence[int]] = {}
    try:
        while True:
            for task in islice(tasks, WAITING - len(running)):
                jobs = [(i, molecules[i].copy()) for i in task]  # without a calculator
                running[executor.submit(_work_on_some, work, jobs)] = task
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task = running.pop(future)
                try:
                    answers = future.result()
                except BrokenExecutor:  # nothing else will come either
                    raise
                except Exception as error:  # it killed one worker after another
                    answers = [(i, reason(error)) for i in task]
                yield from answers
    finally:
        for future in running:
            future.cancel()


def _work_on_some(work: Work, jobs: Sequence[tuple[int, Atoms]]) -> list[Answer]:
    """In a worker."""
    results = work([atoms for _, atoms in jobs])
    return [(index, result) for (index, _), result in zip(jobs, results, strict=True)]


def reason(error: Exception) -> str:
    """Why there is no result."""
    return f"{type(error).__name__}: {error}"


def _as_text(frames: Sequence[Atoms]) -> str:
    text = StringIO()
    write(text, list(frames), format="extxyz")
    return text.getvalue()


def _earlier_results(output: Path, molecules: Sequence[Atoms], work: Work) -> dict[int, Atoms]:
    """By number; a frame that was half written when the run was stopped is cut off the file."""
    if not output.exists():
        return {}
    text = output.read_text(encoding="utf-8")
    whole = _whole_frames(text)
    if whole < len(text):
        write_atomically(output, text[:whole].encode())
    if not whole:
        return {}
    earlier: dict[int, Atoms] = {}
    for atoms in read(StringIO(text[:whole]), ":", format="extxyz"):
        index = int(atoms.info.get(work.index_key, -1))
        given = molecules[index] if 0 <= index < len(molecules) else None
        if misfit := work.misfit(atoms, given):
            raise ValueError(
                f"expected {output} to be of an earlier run for the same molecules, got frame "
                f"{index} {misfit}; give another name"
            )
        earlier[index] = atoms
    return earlier


def _whole_frames(text: str) -> int:
    """Characters of the frames that are complete."""
    lines = text.splitlines(keepends=True)
    end = 0
    while end < len(lines):
        count = lines[end].strip()
        after = end + 2 + int(count) if count.isdigit() else len(lines) + 1
        if after > len(lines) or not lines[after - 1].endswith("\n"):
            break
        end = after
    return sum(map(len, lines[:end]))


def _earlier_failures(record: Path, work: Work) -> dict[int, str]:
    if not record.exists():
        return {}
    earlier = json.loads(record.read_text())
    failures = earlier.pop("failures")
    if earlier != _as_json(work.record()):
        raise ValueError(
            f"expected {record} to be of a run with the settings {work.record()}, got "
            f"{earlier}; give another name"
        )
    return {int(index): why for index, why in failures.items()}


def _write_record(record: Path, work: Work, failures: dict[int, str]) -> None:
    content = {**work.record(), "failures": dict(sorted(failures.items()))}
    write_atomically(record, (json.dumps(content, indent=2) + "\n").encode())


def _as_json(value: Any) -> Any:
    """As it comes back from a file."""
    return json.loads(json.dumps(value))


def _tell(progress: Callable[[int], object] | None, n: int) -> None:
    if progress is not None:
        progress(n)


def same_geometry(one: Atoms, other: Atoms, tolerance: float) -> bool:
    """The same elements at the same positions, within a tolerance in Angstrom."""
    return (
        len(one) == len(other)
        and bool((one.numbers == other.numbers).all())
        and float(np.abs(one.positions - other.positions).max(initial=0.0)) < tolerance
    )
