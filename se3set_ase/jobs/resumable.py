"""Process many molecules with many processes into one file, resuming interrupted runs."""

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
    as_text,
    complete_frames,
    from_text,
    storable_info,
    unstorable_arrays,
)
from se3set_ase.io.files import write_atomically
from se3set_ase.system import declared_labels, entries_of_declarations

#: Largest number of tasks submitted to the executor and not finished.
MAX_PENDING = 256
#: Suffixes of the output; others mean another format.
SUFFIXES = (".xyz", ".extxyz")

Answer = tuple[int, Atoms | str]
"""Index of a molecule in the input, and its result or the reason of its failure."""


class Work(Protocol):
    """An operation on molecules. It is sent to other processes."""

    @property
    def index_key(self) -> str:
        """Key in the ``info`` of a result for the index of the molecule in the input."""

    def record(self) -> dict[str, Any]:
        """All settings as JSON: only a run with the same settings is resumed."""

    def __call__(self, molecules: Sequence[Atoms]) -> list[Atoms | str]:
        """Results, or reasons of failures, in the order of the molecules.

        Their ``info`` is added to that of the input. An exception ends the run.
        """

    def misfit(self, result: Atoms, given: Atoms | None) -> str:
        """Why an earlier result does not belong to this molecule and work; empty if it does."""

    def finished(self, result: Atoms) -> bool:
        """Whether repeating the work would leave this result unchanged."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """Summary of a run."""

    n_done: int
    """Number of results in the output."""
    n_kept: int
    """Number of results from an earlier run."""
    failures: dict[int, str]
    """Index of each failed molecule in the input, and the reason."""


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
    """Process the molecules and write the results as extended XYZ.

    ``OUTPUT.json`` has the settings and the failures. Each result is written when it is ready, so a
    run that is interrupted can be resumed. At the end the results are sorted in the order of the
    input. Failures are tried again only if they are deleted from ``OUTPUT.json`` or the molecule
    has changed. The ``info`` of the molecules is written as well; a warning names entries that
    extended XYZ cannot store.

    Parameters
    ----------
    output : ``.xyz`` or ``.extxyz``.
    executor : runs the tasks with processes, a dask cluster, MPI, ...
    per_task : number of molecules in a task.
    overwrite : start again, replacing the output.
    progress : called with the number of newly finished molecules.

    Raises
    ------
    ValueError : the output belongs to other molecules or other work.
    FileExistsError : the file is not the output of an earlier run, or another run is writing to it.
    FileNotFoundError : the folder does not exist.
    Exception : the executor has lost its processes; finished results are in the output.
    """
    record = output.with_name(output.name + ".json")
    _check_place(output, record, overwrite)
    with _locked(output):
        if overwrite:
            output.unlink(missing_ok=True)
            record.unlink(missing_ok=True)
        failures = _earlier_failures(record, molecules, work)
        kept = _earlier_results(output, molecules, work)
        _write_record(record, molecules, work, failures)
        todo = [i for i in range(len(molecules)) if i not in kept and i not in failures]
        unstored: set[str] = set()
        _report(progress, len(molecules) - len(todo))
        try:
            with output.open("a", encoding="utf-8") as file:
                for index, answer in _answers(molecules, todo, work, executor, per_task):
                    if isinstance(answer, str):
                        failures[index] = answer
                    else:
                        given, lost = storable_info(molecules[index].info)
                        for name in (lost_arrays := unstorable_arrays(answer)):
                            del answer.arrays[name]
                        unstored |= lost | lost_arrays
                        answer.info = given | answer.info | {work.index_key: index}
                        file.write(as_text([answer]))
                        file.flush()
                    _report(progress, 1)
        finally:
            _write_record(record, molecules, work, failures)
            if unstored:
                names = ", ".join(sorted(unstored))
                warnings.warn(
                    f"{output} cannot store these entries, which were left out: {names}",
                    stacklevel=2,
                )
        done = sorted(_earlier_results(output, molecules, work).items())
        write_atomically(output, as_text([atoms for _, atoms in done]).encode())
        return Done(n_done=len(done), n_kept=len(kept), failures=failures)


@contextlib.contextmanager
def _locked(output: Path) -> Iterator[None]:
    """Lock an output, because two runs writing to it would lose results."""
    path = output.with_name(f".{output.name}.lock")
    try:
        lock = FileLock(path).acquire(timeout=0)
    except Timeout as error:
        raise FileExistsError(
            f"another run is writing to {output}; wait for it, or give another name"
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
    """Yield answers as they come, with a limited number of tasks in the executor."""
    max_pending = 1 if isinstance(executor, SerialExecutor) else MAX_PENDING
    tasks = iter(todo[start : start + per_task] for start in range(0, len(todo), per_task))
    running: dict[Future[list[Answer]], Sequence[int]] = {}
    try:
        while True:
            for task in itertools.islice(tasks, max_pending - len(running)):
                jobs = [(i, molecules[i].copy()) for i in task]  # without a calculator
                running[executor.submit(_work_on_some, work, jobs)] = task
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task = running.pop(future)
                try:
                    answers = future.result()
                except Exception as error:
                    if type(error).__name__ != "KilledWorker":  # no process is left
                        raise
                    answers = [(i, reason(error)) for i in task]  # it killed its processes
                yield from answers
    finally:
        for future in running:
            future.cancel()


def _work_on_some(work: Work, jobs: Sequence[tuple[int, Atoms]]) -> list[Answer]:
    """Run a task in a worker process."""
    results = work([atoms for _, atoms in jobs])
    return [(index, result) for (index, _), result in zip(jobs, results, strict=True)]


def reason(error: Exception) -> str:
    """Text of an error, for the list of failures; with the name of a class that is not ours."""
    ours = type(error) is ValueError or type(error).__module__.startswith("se3set_ase.")
    return str(error) if ours and str(error) else f"{type(error).__name__}: {error}"


def _check_place(output: Path, record: Path, overwrite: bool) -> None:
    """Check that the output has a readable format and does not replace another file."""
    if output.suffix not in SUFFIXES:
        raise ValueError(f"expected an output named {' or '.join(SUFFIXES)}, got {output}")
    if not output.parent.is_dir():
        raise FileNotFoundError(f"no folder {output.parent} to write {output.name} into")
    if output.exists() and output.stat().st_size and not record.exists() and not overwrite:
        raise FileExistsError(
            f"{output} is not the output of an earlier run: {record.name} is missing; "
            "give another name"
        )


def _earlier_results(output: Path, molecules: Sequence[Atoms], work: Work) -> dict[int, Atoms]:
    """Earlier results by index; a last frame that is half written is removed from the file."""
    if not output.exists():
        return {}
    content = output.read_bytes()
    try:
        last = content.rfind(b"\n") + 1  # an incomplete line may end within a character
        text = content[:last].decode() + content[last:].decode(errors="replace")
        text = text.replace("\r\n", "\n")
        whole = complete_frames(text)
        frames = from_text(text[:whole])
    except Exception as error:  # ASE's reader raises any type of error
        raise ValueError(
            f"{output} is not the output of an earlier run, it cannot be read: {reason(error)}; "
            "give another name"
        ) from error
    earlier: dict[int, Atoms] = {}
    for atoms in frames:
        index = atoms.info.get(work.index_key)
        known = isinstance(index, int | np.integer) and 0 <= index < len(molecules)
        given = molecules[index] if known else None
        if misfit := work.misfit(atoms, given) or _damage(atoms):
            raise ValueError(
                f"expected {output} from an earlier run for the same molecules, got frame {index} "
                f"{misfit}; give another name"
            )
        if work.finished(atoms):
            earlier[index] = atoms
    if whole < len(text):
        write_atomically(output, text[:whole].encode())
    return earlier


def _damage(result: Atoms) -> str:
    """Why the results of a frame are lost or damaged; empty if they are not."""
    try:
        energy, forces = declared_labels(result)
    except ValueError as error:
        return str(error)
    if not np.isfinite(result.positions).all():
        return "without finite positions"
    return "without energy and forces" if energy is None or forces is None else ""


def _earlier_failures(record: Path, molecules: Sequence[Atoms], work: Work) -> dict[int, str]:
    """Earlier failures of molecules that have not changed, by index."""
    if not record.exists():
        return {}
    try:
        earlier = json.loads(record.read_text(encoding="utf-8"))
        failures = earlier.pop("failures")
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{record} is not the record of an earlier run ({reason(error)}); give another name"
        ) from error
    if other := _differences(_as_json(work.record()), earlier):
        raise ValueError(
            f"{record} is from a run with other settings: {', '.join(other)}; give another name"
        )
    return {
        int(index): failure["reason"]
        for index, failure in failures.items()
        if int(index) < len(molecules) and fingerprint(molecules[int(index)]) == failure["molecule"]
    }


def _differences(wanted: dict[str, Any], got: dict[str, Any]) -> list[str]:
    """Settings in which another run differs from this one."""
    found = []
    for key in sorted({*wanted, *got}):
        ours, theirs = wanted.get(key), got.get(key)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            found += _differences(ours, theirs)
        elif ours != theirs:
            found.append(f"{key} {theirs!r} instead of {ours!r}")
    return found


def _write_record(
    record: Path, molecules: Sequence[Atoms], work: Work, failures: dict[int, str]
) -> None:
    described = {
        index: {"reason": why, "molecule": fingerprint(molecules[index])}
        for index, why in sorted(failures.items())
    }
    content = {**work.record(), "failures": described}
    write_atomically(record, (json.dumps(content, indent=2) + "\n").encode())


def fingerprint(atoms: Atoms) -> str:
    """A hash of elements, positions, cell, declared charge and spin, and constraints."""
    declared = entries_of_declarations(atoms.info)
    arrays = [atoms.numbers.astype("<i8"), atoms.positions.astype("<f8")]
    arrays += [atoms.pbc, atoms.cell.array] if atoms.pbc.any() else []
    arrays += [atoms.arrays[k] for k in ("initial_charges", "initial_magmoms") if atoms.has(k)]
    digest = hashlib.sha256(repr((declared, [c.todict() for c in atoms.constraints])).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return "x" + digest.hexdigest()[:15]  # so that no reader takes it for a number


class SerialExecutor(Executor):
    """Runs each task in this process when it is submitted, so that Ctrl-C reaches it."""

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **more: Any) -> Future[Any]:
        """Run the call and return a finished future."""
        future: Future[Any] = Future()
        try:
            future.set_result(call(*arguments, **more))
        except Exception as error:
            future.set_exception(error)
        return future


def _as_json(value: Any) -> Any:
    """The value as read back from a file."""
    return json.loads(json.dumps(value))


def _report(progress: Callable[[int], object] | None, n: int) -> None:
    if progress is not None:
        progress(n)


def same_geometry(one: Atoms, other: Atoms, tolerance: float) -> bool:
    """The same elements at the same positions, within a tolerance in Angstrom."""
    return (
        len(one) == len(other)
        and bool((one.numbers == other.numbers).all())
        and float(np.abs(one.positions - other.positions).max(initial=0.0)) < tolerance
    )
