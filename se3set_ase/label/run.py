"""Label many geometries with several processes; the same call resumes an interrupted run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from se3set_ase.jobs.resumable import Done, reason, same_geometry, work_on
from se3set_ase.label.protocol import Label, LabelError, Labeller

#: Angstrom. Files store positions with eight decimals.
ROUNDING = 1e-7
#: eV/Angstrom. With a longer force, atoms overlap and the geometry gets no label.
LONGEST_FORCE = 1e3


def label(
    frames: Sequence[Atoms],
    labeller: Labeller,
    output: Path,
    *,
    executor: Executor,
    frames_per_task: int = 1,
    progress: Callable[[int], object] | None = None,
) -> Done:
    """Label geometries, and write those with a label as extended XYZ.

    Each frame keeps its ``info`` and gets its energy (eV), forces (eV/Angstrom), level of theory
    and index in the input. ``OUTPUT.json`` has the settings and the failures. The same call
    resumes an interrupted run, see :func:`se3set_ase.jobs.work_on`, which also lists the errors.

    Parameters
    ----------
    frames : molecules.
    labeller : see :func:`se3set_ase.label.make_labeller`.
    executor : runs the tasks, with processes, a dask cluster, MPI, ...
    frames_per_task : more than 1 is faster if a label takes milliseconds.
    progress : called with the number of finished frames.

    Raises
    ------
    ValueError : a frame is periodic; or as in ``work_on``.
    """
    for index, atoms in enumerate(frames):
        if atoms.pbc.any():
            raise ValueError(f"expected molecules, got a periodic cell in frame {index}")
    return work_on(
        frames,
        _Labelling(labeller),
        output,
        executor=executor,
        per_task=frames_per_task,
        progress=progress,
    )


@dataclass(frozen=True)
class _Labelling:
    """The work on each geometry: energy and forces, without moving an atom."""

    labeller: Labeller
    index_key: str = "label_index"

    def record(self) -> dict[str, Any]:
        return {
            "level_of_theory": self.labeller.level_of_theory,
            "settings": self.labeller.settings(),
        }

    def __call__(self, molecules: Sequence[Atoms]) -> list[Atoms | str]:
        """Label geometries; a failure does not affect the others."""
        answers: list[Atoms | str] = []
        for atoms in molecules:
            try:
                answers.append(self._labelled(atoms, _checked(self.labeller(atoms), len(atoms))))
            except Exception as error:  # programs raise any type of error; the reason is recorded
                answers.append(reason(error))
        return answers

    def _labelled(self, atoms: Atoms, label: Label) -> Atoms:
        new = Atoms(atoms.numbers, atoms.positions)
        if atoms.has("masses"):  # isotopes
            new.set_masses(atoms.get_masses())
        new.info = {"level_of_theory": self.labeller.level_of_theory, **label.info}
        results = {"dipole": label.dipole, "charges": label.charges}
        results = {name: value for name, value in results.items() if value is not None}
        new.calc = SinglePointCalculator(new, energy=label.energy, forces=label.forces, **results)
        return new

    def misfit(self, result: Atoms, given: Atoms | None) -> str:
        level = result.info.get("level_of_theory")
        same = given is not None and same_geometry(result, given, ROUNDING)
        if same and level == self.labeller.level_of_theory:
            return ""
        return f"by {level}{'' if same else ', another geometry'}"

    def finished(self, result: Atoms) -> bool:
        return True


def _checked(label: Label, n_atoms: int) -> Label:
    """Return the label, or raise LabelError if no model should learn it."""
    energy, forces = label.energy, label.forces
    if np.shape(forces) != (n_atoms, 3):
        raise LabelError(f"expected forces of shape ({n_atoms}, 3), got {np.shape(forces)}")
    if not (np.isfinite(energy) and np.isfinite(forces).all()):
        raise LabelError("expected finite energy and forces, got NaN or infinity")
    longest = float(np.linalg.norm(forces, axis=1).max(initial=0.0))
    if longest > LONGEST_FORCE:
        raise LabelError(f"expected forces of at most {LONGEST_FORCE:g} eV/A, got {longest:.3g}")
    return label
