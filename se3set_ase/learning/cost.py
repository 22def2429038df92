"""What a run would cost, measured on its first geometry; nothing is written."""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from se3set_ase.label.protocol import Label
from se3set_ase.learning import defaults
from se3set_ase.learning.budget import Budget
from se3set_ase.learning.members import FEWEST_EPOCHS, fitted_energies, train_member
from se3set_ase.learning.models import Job
from se3set_ase.learning.state import write_frames

#: Copies of the first geometry in the two trainings whose times are compared.
COPIES = (4, 12)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Seconds of one label, and of the training on one geometry, each time it is processed."""

    label: float
    frame: float

    def training(self, job: Job, budget: Budget) -> float:
        """Seconds of all trainings, if all labels are used; shorter if a compiler is of use."""
        rounds = math.ceil(budget.labels / job.per_round) - 1  # the test has as many as a round
        frames = job.committee * job.recipe.n_frames * (rounds + defaults.FINAL)
        return frames * self.frame


def measured(job: Job) -> Cost:
    """Label the first geometry, and train on copies of it.

    Raises
    ------
    ValueError : the method gives no label.
    """
    atoms = job.start.frames[0]
    began = time.perf_counter()
    try:
        label = job.labeller(atoms)
    except Exception as error:  # of any program
        raise ValueError(
            f"{job.labeller.level_of_theory} gives no label for {job.start.formula}: {error}"
        ) from error
    seconds = time.perf_counter() - began
    few, more = (_training_time(job, atoms, label, copies) for copies in COPIES)
    frames = FEWEST_EPOCHS * (COPIES[1] - COPIES[0])
    return Cost(label=seconds, frame=max(0.0, more - few) / frames)


def _training_time(job: Job, atoms: Atoms, label: Label, copies: int) -> float:
    """Seconds of a training on copies of one geometry."""
    with tempfile.TemporaryDirectory() as folder:
        train = Path(folder) / "train.xyz"
        frame = Atoms(atoms.numbers, atoms.positions, info=dict(atoms.info))
        frame.calc = SinglePointCalculator(frame, energy=label.energy, forces=label.forces)
        write_frames(train, [frame] * copies)
        energies = fitted_energies(job.recipe, train, job.initial, Path(folder))
        began = time.perf_counter()
        train_member(
            replace(job.recipe, n_frames=1),
            train,
            train,
            Path(folder),
            name="trial",
            member=0,
            available=copies,
            longer=1,
            initial=job.initial,
            atomic_energies=energies,
        )
        return time.perf_counter() - began
