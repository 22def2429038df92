"""Many molecules worked on by many processes, into one file; a run that was stopped goes on."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from ase import Atoms
from filelock import FileLock, Timeout

from se3set_ase.io.extended_xyz import (
    arrays_that_text_loses,
    as_text,
    of_text,
    that_text_keeps,
    whole_frames,
)
from se3set_ase.io.files import write_atomically
from se3set_ase.system import NAMES, declared_labels

#: Tasks given to the executor and not yet done.
WAITING = 256
#: What the output may be called: others mean another format.
SUFFIXES = (".xyz", ".extxyz")

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

        What it raises ends the run.
        """

    def misfit(self, result: Atoms, given: Atoms | None) -> str:
        """What shows that an earlier result is not of this molecule by this work; else empty."""

    def finished(self, result: Atoms) -> bool:
        """Whether more of the same work would leave such a result as it is."""


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
    overwrite: bool = False,
    progress: Callable[[int], object] | None = None,
) -> Done:
    """Do the work and write the results as extended XYZ.

    ``OUTPUT.json`` has the settings and the failures. Results are written as they come, so what
    was done when a run is stopped is there when the same run is started again. At the end they
    stand in the order of the input. Failures are not tried again unless they are deleted from
    ``OUTPUT.json``, or the molecule is another one now. What the molecules carry in ``info`` is
    written too, if extended XYZ can keep it; a warning names what it cannot.

    Parameters
    ----------
    output : ``.xyz`` or ``.extxyz``.
    executor : runs the tasks: of processes, of a dask cluster, of MPI...
    per_task : molecules that go to a process at once.
    overwrite : begin anew, whatever is in the output.
    progress : called with the number of molecules done.

    Raises
    ------
    ValueError : an output that is of other molecules or of other work.
    FileExistsError : a file that is no output of an earlier run, or one that is at work on it.
    FileNotFoundError : no folder.
    Exception : whatever the executor raises once it has lost its processes; what was done by then
        is in the output.
    """
    record = output.with_name(output.name + ".json")
    _check_place(output, record, overwrite)
    with _alone(output):
        if overwrite:
            output.unlink(missing_ok=True)
            record.unlink(missing_ok=True)
        failures = _earlier_failures(record, molecules, work)
        kept = _earlier_results(output, molecules, work)
        _write_record(record, molecules, work, failures)
        todo = [i for i in range(len(molecules)) if i not in kept and i not in failures]
        unkept: set[str] = set()
        _tell(progress, len(molecules) - len(todo))
        try:
            with output.open("a", encoding="utf-8") as file:
                for index, answer in _answers(molecules, todo, work, executor, per_task):
                    if isinstance(answer, str):
                        failures[index] = answer
                    else:
                        given, lost = that_text_keeps(molecules[index].info)
                        for name in (lost_arrays := arrays_that_text_loses(answer)):
                            del answer.arrays[name]
                        unkept |= lost | lost_arrays
                        answer.info = given | answer.info | {work.index_key: index}
                        file.write(as_text([answer]))
                        file.flush()
                    _tell(progress, 1)
        finally:
            _write_record(record, molecules, work, failures)
            if unkept:
                told = f"{output} cannot keep these, and lacks them: {', '.join(sorted(unkept))}"
                warnings.warn(told, stacklevel=2)
        done = sorted(_earlier_results(output, molecules, work).items())
        write_atomically(output, as_text([atoms for _, atoms in done]).encode())
        return Done(n_done=len(done), n_kept=len(kept), failures=failures)


@contextlib.contextmanager
def _alone(output: Path) -> Iterator[None]:
    """Two runs that write into one file would lose what they found."""
    path = output.with_name(f".{output.name}.lock")
    try:
        lock = FileLock(path).acquire(timeout=0)
    except Timeout as error:
        raise FileExistsError(
            f"expected {output} for one run, got another at work on it"
        ) from error
    with lock:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _answers(
    molecules: Sequence[Atoms],
    todo: Sequence[int],
    work: Work,
    executor: Executor,
    per_task: int,
) -> Iterator[Answer]:
    """As they come. The executor never holds more than some tasks: molecules may be many."""
    waiting = 1 if isinstance(executor, Here) else WAITING
    tasks = iter(todo[start : start + per_task] for start in range(0, len(todo), per_task))
    running: dict[Future[list[Answer]], Sequence[int]] = {}
    try:
        while True:
            for task in itertools.islice(tasks, waiting - len(running)):
                jobs = [(i, molecules[i].copy()) for i in task]  # without a calculator
                running[executor.submit(_work_on_some, work, jobs)] = task
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task = running.pop(future)
                try:
                    answers = future.result()
                except Exception as error:
                    if type(error).__name__ != "KilledWorker":  # nothing else will come either
                        raise
                    answers = [(i, reason(error)) for i in task]  # it killed one after another
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


def _check_place(output: Path, record: Path, overwrite: bool) -> None:
    """Nobody's other file is touched, and what is written can be read again."""
    if output.suffix not in SUFFIXES:
        raise ValueError(f"expected an output named {' or '.join(SUFFIXES)}, got {output}")
    if not output.parent.is_dir():
        raise FileNotFoundError(f"no folder {output.parent} to write {output.name} into")
    if output.exists() and output.stat().st_size and not record.exists() and not overwrite:
        raise FileExistsError(
            f"expected {output} to be of an earlier run, got it without {record.name}; "
            "give another name"
        )


def _earlier_results(output: Path, molecules: Sequence[Atoms], work: Work) -> dict[int, Atoms]:
    """By number; a frame that was half written when the run was stopped is cut off the file."""
    if not output.exists():
        return {}
    content = output.read_bytes()
    try:
        torn = content.rfind(b"\n") + 1  # perhaps inside a letter
        text = content[:torn].decode() + content[torn:].decode(errors="replace")
        text = text.replace("\r\n", "\n")
        whole = whole_frames(text)
        frames = of_text(text[:whole])
    except Exception as error:  # ASE's reader fails with whatever its parser ran into
        raise ValueError(
            f"expected {output} to be of an earlier run, cannot read it: "
            f"{type(error).__name__}: {error}; give another name"
        ) from error
    earlier: dict[int, Atoms] = {}
    for atoms in frames:
        index = atoms.info.get(work.index_key)
        known = isinstance(index, int | np.integer) and 0 <= index < len(molecules)
        given = molecules[index] if known else None
        if misfit := work.misfit(atoms, given) or _lack(atoms):
            raise ValueError(
                f"expected {output} to be of an earlier run for the same molecules, got frame "
                f"{index} {misfit}; give another name"
            )
        if work.finished(atoms):
            earlier[index] = atoms
    if whole < len(text):
        write_atomically(output, text[:whole].encode())
    return earlier


def _lack(result: Atoms) -> str:
    """What shows that the results of a frame were lost or damaged."""
    try:
        energy, forces = declared_labels(result)
    except ValueError as error:
        return str(error)
    if not np.isfinite(result.positions).all():
        return "without finite positions"
    return "without energy and forces" if energy is None or forces is None else ""


def _earlier_failures(record: Path, molecules: Sequence[Atoms], work: Work) -> dict[int, str]:
    """Those of molecules that are still the same."""
    if not record.exists():
        return {}
    try:
        earlier = json.loads(record.read_text(encoding="utf-8"))
        failures = earlier.pop("failures")
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"expected {record} to be of an earlier run, got {type(error).__name__}: {error}; "
            "give another name"
        ) from error
    if other := _differences(_as_json(work.record()), earlier):
        raise ValueError(
            f"expected {record} to be of a run with the same settings, got {', '.join(other)}; "
            "give another name"
        )
    return {
        int(index): failure["reason"]
        for index, failure in failures.items()
        if int(index) < len(molecules) and fingerprint(molecules[int(index)]) == failure["molecule"]
    }


def _differences(wanted: dict[str, Any], got: dict[str, Any]) -> list[str]:
    """What another run has, and this one."""
    told = []
    for key in sorted({*wanted, *got}):
        ours, theirs = wanted.get(key), got.get(key)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            told += _differences(ours, theirs)
        elif ours != theirs:
            told.append(f"{key} {theirs!r} instead of {ours!r}")
    return told


def _write_record(
    record: Path, molecules: Sequence[Atoms], work: Work, failures: dict[int, str]
) -> None:
    told = {
        index: {"reason": why, "molecule": fingerprint(molecules[index])}
        for index, why in sorted(failures.items())
    }
    content = {**work.record(), "failures": told}
    write_atomically(record, (json.dumps(content, indent=2) + "\n").encode())


def fingerprint(atoms: Atoms) -> str:
    """The same only for the same elements, positions, charges, spins and constraints."""
    said = [atoms.info.get(key) for key in itertools.chain(*NAMES.values())]
    arrays = [atoms.numbers.astype("<i8"), atoms.positions.astype("<f8")]
    arrays += [atoms.arrays[k] for k in ("initial_charges", "initial_magmoms") if atoms.has(k)]
    digest = hashlib.sha256(repr((said, [c.todict() for c in atoms.constraints])).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return "x" + digest.hexdigest()[:15]  # no number for a reader of files


class Here(Executor):
    """Tasks are done at once, where they are submitted: Ctrl-C reaches them."""

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **more: Any) -> Future[Any]:
        """The future is done."""
        future: Future[Any] = Future()
        try:
            future.set_result(call(*arguments, **more))
        except Exception as error:
            future.set_exception(error)
        return future


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
