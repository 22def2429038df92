"""Many geometries labelled by many processes; a run that was stopped goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from se3set_ase.files import write_atomically
from se3set_ase.label.labellers import Label, LabelError, Labeller

#: Of a frame: its number in the input, which a run that goes on finds it by.
INDEX = "label_index"
#: Positions are written with eight decimals, Angstrom.
ROUNDING = 1e-7
#: Longest force that is a label, eV/Angstrom: beyond it atoms lie on top of each other.
LONGEST_FORCE = 1e3
#: Tasks given to the executor and not yet done.
WAITING = 256

Job = tuple[int, Atoms]
Answer = tuple[int, Label | str]


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """What a run did."""

    n_labelled: int
    """Geometries in the output."""
    n_kept: int
    """Of them, those of an earlier run."""
    failures: dict[int, str]
    """Number of the frame in the input, and why it has no label."""


def label(
    frames: Sequence[Atoms],
    labeller: Labeller,
    output: Path,
    *,
    executor: Executor,
    frames_per_task: int = 1,
    progress: Callable[[int], object] | None = None,
) -> Labelled:
    """Label geometries and write those that could be, as extended XYZ.

    Each frame keeps its ``info`` and gets its energy (eV), forces (eV/Angstrom), level of theory
    and number in the input; ``OUTPUT.json`` has the settings and the failures. Labels are written
    as they come, so what was done when a run is stopped is there when the same run is started
    again. At the end the frames stand in the order of the input. Failures are not tried again
    unless they are deleted from ``OUTPUT.json``.

    Parameters
    ----------
    frames : molecules. labeller : see :func:`se3set_ase.label.make_labeller`.
    executor : runs the tasks: of processes, of a dask cluster, of MPI...
    frames_per_task : more than one where a label takes milliseconds.
    progress : called with the number of frames done.

    Raises
    ------
    ValueError : a periodic frame; an output that is of other frames or of another method.
    BrokenExecutor : the executor lost its processes and can't replace them.
    """
    for index, atoms in enumerate(frames):
        if atoms.pbc.any():
            raise ValueError(f"expected molecules, got a periodic cell in frame {index}")
    record = output.with_name(output.name + ".json")
    failures = _earlier_failures(record, labeller)
    kept = _earlier_labels(output, frames, labeller)
    _write_record(record, labeller, failures)
    todo = [i for i in range(len(frames)) if i not in kept and i not in failures]
    _tell(progress, len(frames) - len(todo))
    try:
        with output.open("a", encoding="utf-8") as file:
            for index, answer in _answers(frames, todo, labeller, executor, frames_per_task):
                if isinstance(answer, str):
                    failures[index] = answer
                else:
                    file.write(_as_text([_labelled(frames[index], index, answer, labeller)]))
                    file.flush()
                _tell(progress, 1)
    finally:
        _write_record(record, labeller, failures)
    done = sorted(_earlier_labels(output, frames, labeller).items())
    write_atomically(output, _as_text([atoms for _, atoms in done]).encode())
    return Labelled(n_labelled=len(done), n_kept=len(kept), failures=failures)


def _answers(
    frames: Sequence[Atoms],
    todo: Sequence[int],
    labeller: Labeller,
    executor: Executor,
    frames_per_task: int,
) -> Iterator[Answer]:
    """As they come. The executor never holds more than some tasks: frames may be many."""
    tasks = iter(
        todo[start : start + frames_per_task] for start in range(0, len(todo), frames_per_task)
    )
    running: dict[Future[list[Answer]], Sequence[int]] = {}
    try:
        while True:
            for task in islice(tasks, WAITING - len(running)):
                jobs = [(i, _bare(frames[i])) for i in task]
                running[executor.submit(_label_some, labeller, jobs)] = task
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task = running.pop(future)
                try:
                    answers = future.result()
                except BrokenExecutor:  # nothing else will come either
                    raise
                except Exception as error:  # it killed one worker after another
                    answers = [(i, f"{type(error).__name__}: {error}") for i in task]
                yield from answers
    finally:
        for future in running:
            future.cancel()


def _label_some(labeller: Labeller, jobs: Sequence[Job]) -> list[Answer]:
    """In a worker: a geometry that fails costs the others nothing."""
    answers: list[Answer] = []
    for index, atoms in jobs:
        try:
            answers.append((index, _checked(labeller(atoms), len(atoms))))
        except Exception as error:  # programs fail in ways of their own; the reason is kept
            answers.append((index, f"{type(error).__name__}: {error}"))
    return answers


def _checked(label: Label, n_atoms: int) -> Label:
    """LabelError for what no model should learn."""
    energy, forces = label
    if np.shape(forces) != (n_atoms, 3):
        raise LabelError(f"expected forces of shape ({n_atoms}, 3), got {np.shape(forces)}")
    if not (np.isfinite(energy) and np.isfinite(forces).all()):
        raise LabelError("expected finite energy and forces, got NaN or infinity")
    longest = float(np.linalg.norm(forces, axis=1).max(initial=0.0))
    if longest > LONGEST_FORCE:
        raise LabelError(f"expected forces of at most {LONGEST_FORCE:g} eV/A, got {longest:.3g}")
    return label


def _bare(atoms: Atoms) -> Atoms:
    """Elements and positions alone: what goes to the workers."""
    return Atoms(atoms.numbers, atoms.positions)


def _labelled(atoms: Atoms, index: int, label: Label, labeller: Labeller) -> Atoms:
    new = _bare(atoms)
    new.info = {**atoms.info, "level_of_theory": labeller.level_of_theory, INDEX: index}
    new.calc = SinglePointCalculator(new, energy=label.energy, forces=label.forces)
    return new


def _as_text(frames: Sequence[Atoms]) -> str:
    text = StringIO()
    write(text, list(frames), format="extxyz")
    return text.getvalue()


def _earlier_labels(output: Path, frames: Sequence[Atoms], labeller: Labeller) -> dict[int, Atoms]:
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
        index = int(atoms.info.get(INDEX, -1))
        level = atoms.info.get("level_of_theory")
        same = 0 <= index < len(frames) and _same_geometry(atoms, frames[index])
        if not same or level != labeller.level_of_theory:
            raise ValueError(
                f"expected {output} to hold labels of these geometries by "
                f"{labeller.level_of_theory}, got frame {index} by {level}"
                f"{'' if same else ', another geometry'}; give another name"
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


def _same_geometry(one: Atoms, other: Atoms) -> bool:
    return (
        len(one) == len(other)
        and bool((one.numbers == other.numbers).all())
        and float(np.abs(one.positions - other.positions).max(initial=0.0)) < ROUNDING
    )


def _earlier_failures(record: Path, labeller: Labeller) -> dict[int, str]:
    if not record.exists():
        return {}
    earlier = json.loads(record.read_text())
    if earlier["settings"] != _as_json(labeller.settings()):
        raise ValueError(
            f"expected {record} to be of a run with the settings {labeller.settings()}, got "
            f"{earlier['settings']}; give another name"
        )
    return {int(index): why for index, why in earlier["failures"].items()}


def _write_record(record: Path, labeller: Labeller, failures: dict[int, str]) -> None:
    content = {
        "level_of_theory": labeller.level_of_theory,
        "settings": labeller.settings(),
        "failures": dict(sorted(failures.items())),
    }
    write_atomically(record, (json.dumps(content, indent=2) + "\n").encode())


def _as_json(value: Any) -> Any:
    """As it comes back from a file."""
    return json.loads(json.dumps(value))


def _tell(progress: Callable[[int], object] | None, n: int) -> None:
    if progress is not None:
        progress(n)
