"""Relaxation of many molecules together: ASE's optimisers, one pass of the network per step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes
from ase.calculators.singlepoint import SinglePointCalculator

from se3set_ase.pipeline import Batch, Replica, numbered, step
from se3set_ase.potential import Potential, Prediction, check_several
from se3set_ase.prediction import PROPERTIES
from se3set_ase.simulate import defaults
from se3set_ase.simulate.relaxation import checked_optimizer
from se3set_ase.simulate.results import Relaxations, RelaxResult
from se3set_ase.uncertainty.doubt import Doubt, doubts_of

if TYPE_CHECKING:
    from ase.optimize.optimize import Optimizer


def relax_many(
    molecules: Sequence[Atoms],
    potential: Potential,
    *,
    fmax: float = defaults.FMAX,
    steps: int = defaults.RELAX_STEPS,
    optimizer: str | type[Optimizer] = defaults.OPTIMIZER,
    charge: int = 0,
    spin_multiplicity: int = 1,
    progress: Callable[[int], object] | None = None,
) -> Relaxations:
    """Relax many molecules together, each with an ASE optimiser of its own.

    Converged molecules leave the batch. If a molecule fails, the others continue. At the end the
    committee of the model, if it has one, is evaluated for each.

    Parameters
    ----------
    molecules : molecules of any sizes, which are not changed. Constraints are kept.
    potential : e.g. ``Potential("acac")``, or ``calc.potential`` of a calculator.
    fmax : convergence criterion of each molecule, largest force, eV/Angstrom.
    steps : maximum number of steps of each optimiser.
    optimizer : one of :data:`se3set_ase.simulate.OPTIMIZERS`, or a class with their interface.
        Those that evaluate several points per step do so for one molecule at a time.
    charge, spin_multiplicity : for molecules that declare none.
    progress : called with 1 for each finished molecule.

    Raises
    ------
    TypeError : not a list of molecules, or not a :class:`Potential`.
    UnsupportedSystem, ValueError : before the relaxation, see :meth:`Potential.predict`.
    CalculationFailed : the baseline of the model has no result for a first geometry.
    """
    molecules = check_several(molecules)
    if not isinstance(potential, Potential):
        raise TypeError(f"expected a Potential, e.g. Potential('acac'), got {potential!r}")
    optimizer_class = checked_optimizer(optimizer, fmax, steps)
    runs = []
    for index, atoms in enumerate(molecules):
        replica = Replica(
            potential,
            charge=charge,
            spin_multiplicity=spin_multiplicity,
            name=f"molecule {index}" if len(molecules) > 1 else "",
        )
        with numbered(index, len(molecules)):
            runs.append(_Run(atoms, replica, optimizer_class, fmax, steps))
    active, batch = runs, Batch([])
    while active:
        for run, prediction in zip(active, _evaluated(active), strict=True):
            if prediction is not None:
                run.step(prediction)
        moved = [run for run in active if not run.done]
        batch.replicas = [run.calc.replica for run in moved]
        for index in batch.changed([run.atoms for run in moved]):
            moved[index].refragment()
        still = [run for run in moved if not run.done]
        if progress is not None and len(still) < len(active):
            progress(len(active) - len(still))
        active = still
    found = doubts_of(potential, [run.prediction for run in runs])
    return Relaxations(run.result(doubt) for run, doubt in zip(runs, found, strict=True))


def _evaluated(runs: Sequence[_Run]) -> list[Prediction | None]:
    """Predictions for all molecules; None, and the error of its run, where the baseline fails."""
    try:
        return list(step([run.calc.replica for run in runs]))
    except CalculationFailed:
        return [run.evaluated() for run in runs]


class _Run:
    """One molecule during its relaxation, with a hypergraph for its present positions."""

    def __init__(
        self,
        atoms: Atoms,
        replica: Replica,
        optimizer_class: type[Optimizer],
        fmax: float,
        steps: int,
    ):
        self.atoms = atoms.copy()
        self.calc = self.atoms.calc = _StoredResults(replica)
        replica.refragment(self.atoms)
        self.optimizer = optimizer_class(self.atoms, logfile=None)
        self.optimizer.fmax = fmax  # as in its run()
        self.fmax, self.steps = fmax, steps
        self.converged = self.done = False
        self.n_steps = 0
        self.error: ValueError | RuntimeError | None = None
        self.known = self.atoms
        self.prediction: Prediction
        self.records: list[tuple[float, float]] = []

    def step(self, prediction: Prediction) -> None:
        """Record a prediction for the present positions, and make a step if needed."""
        self.known, self.prediction = self.calc.store(self.atoms, prediction), prediction
        forces = self.atoms.get_forces()  # constraints applied
        longest = float(np.sqrt((forces**2).sum(axis=1).max()))
        self.records.append((prediction.energy, longest))
        self.converged = longest < self.fmax
        if self.converged or self.n_steps >= self.steps:
            self.done = True
            return
        try:
            self.optimizer.step()
            self.n_steps += 1
        # An invalid geometry that it evaluates, or an optimiser that fails.
        except (ValueError, RuntimeError) as error:
            self.error, self.done = error, True

    def refragment(self) -> None:
        """List the hypergraph at the new positions; an invalid geometry ends the relaxation."""
        try:
            self.calc.replica.refragment(self.atoms)
        except ValueError as error:
            self.error, self.done = error, True

    def evaluated(self) -> Prediction | None:
        """Evaluate this molecule alone; CalculationFailed if it fails at the first geometry."""
        try:
            return step([self.calc.replica])[0]
        except CalculationFailed as error:
            if not self.records:
                raise
            self.error, self.done = error, True
            return None

    def result(self, doubt: Doubt) -> RelaxResult:
        energies, longest_forces = np.array(self.records).T
        self.known.calc = SinglePointCalculator(self.known, **self.prediction.results)
        return RelaxResult(
            atoms=self.known,
            converged=self.converged,
            n_steps=self.n_steps,
            energy=energies,
            fmax=longest_forces,
            error=self.error,
            events=tuple(self.calc.replica.log.events),
            doubt=doubt,
        )


class _StoredResults(Calculator):
    """Returns stored results, and evaluates other positions that an optimiser requests."""

    implemented_properties: Sequence[str] = PROPERTIES

    def __init__(self, replica: Replica):
        super().__init__()
        self.replica = replica

    def store(self, atoms: Atoms, prediction: Prediction) -> Atoms:
        """Store the prediction for these positions; a copy of the atoms, which does not change."""
        self.atoms = atoms.copy()
        self.results = prediction.results
        return self.atoms

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        self.replica.refragment(self.atoms)
        (prediction,) = step([self.replica])
        self.store(self.atoms, prediction)
