"""Relaxation with ASE's optimisers, and records of energies and events.

The calculator works with ASE's optimisers directly; this saves the usual twenty lines.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculatorError

from se3set_ase.events.observe import EventObserver
from se3set_ase.simulate import defaults
from se3set_ase.simulate.doubt import present_doubt
from se3set_ase.simulate.results import RelaxResult
from se3set_ase.simulate.steps import (
    LastStep,
    Progress,
    check_atoms,
    check_positive,
    check_steps,
    failure,
    frame_writer,
    keeping_constraints,
    require,
)

if TYPE_CHECKING:
    from ase.optimize.optimize import Optimizer

__all__ = ["OPTIMIZERS", "relax"]

OPTIMIZERS = ("BFGS", "LBFGS", "BFGSLineSearch", "FIRE", "FIRE2", "MDMin", "GPMin")
"""Names of optimisers: classes of :mod:`ase.optimize`."""

SOFTEST = 0.5
"""Smallest curvature used from a Hessian, eV/Angstrom^2: that of the torsion of a single bond.
Noise must not move softer modes (the whole molecule) far."""


def relax(
    atoms: Atoms,
    *,
    fmax: float = defaults.FMAX,
    steps: int = defaults.RELAX_STEPS,
    optimizer: str | type[Optimizer] = defaults.OPTIMIZER,
    hessian: np.ndarray | None = None,
    trajectory: str | os.PathLike[str] | None = None,
    events: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> RelaxResult:
    """Relax ``atoms`` to a minimum of its calculator.  Ctrl-C keeps the last complete step.

    So does an error of the calculator after the first geometry, e.g. a baseline method that does
    not converge: the result has the error, and a warning is issued.

    Parameters
    ----------
    atoms : Atoms with a calculator; changed in place.
    fmax : Convergence criterion, largest force, eV/Angstrom.
    steps : Maximum number of steps of the optimiser.
    optimizer : One of :data:`OPTIMIZERS`, or a class with the same interface.
    hessian : (3N, 3N) eV/Angstrom^2, initial Hessian of BFGS instead of a multiple of one. With
        :meth:`.SE3SetCalculator.get_hessian` at a minimum of the model, a more expensive method
        needs only a few steps from there. Absolute curvatures of at least 0.5 are used.
    trajectory : File for every step, replaced if it exists: ``.traj``, or another format to which
        ASE can append (``.xyz``, ``.extxyz``).
    events : File for the refragmentation log (JSON lines), replaced if it exists and written during
        the run; :func:`se3set_ase.events.files.read_events` reads it.
    progress : Called with 1 after each step.

    Raises
    ------
    ValueError : an argument is out of range, or constraints cannot be kept; the atoms are then at
        the last complete step.
    CalculatorError : the calculator fails for the first geometry.
    """
    check_atoms(atoms)
    optimizer_class = checked_optimizer(optimizer, fmax, steps)
    start = None if hessian is None else _positive(hessian, len(atoms), optimizer_class)
    with keeping_constraints(atoms):
        atoms.get_forces()  # raises for unsupported atoms before any file is written
    rows: list[tuple[float, float]] = []
    converged = interrupted = False
    error: CalculatorError | None = None
    with frame_writer(trajectory) as write:
        dynamics = optimizer_class(atoms, logfile=None)
        if start is not None:
            dynamics.H0 = start
        observer = EventObserver(dynamics, atoms, events)
        done = LastStep(atoms)

        def record() -> None:
            done.keep(dynamics.nsteps)
            forces = atoms.get_forces()
            longest = float(np.sqrt((forces**2).sum(axis=1).max()))
            rows.append((float(atoms.get_potential_energy()), longest))
            write(atoms)
            observer()
            if progress is not None and dynamics.nsteps:
                progress(1)

        dynamics.attach(record)
        try:
            with keeping_constraints(atoms, done):
                converged = bool(dynamics.run(fmax=fmax, steps=steps))
        except (KeyboardInterrupt, CalculatorError) as stopped:
            error = failure(stopped, done)
            interrupted = error is None
    doubt = None
    with contextlib.suppress(CalculatorError):  # it may fail again
        doubt = present_doubt(atoms)
    energies, longest_forces = np.array(rows).reshape(-1, 2).T
    return RelaxResult(
        atoms=atoms,
        converged=converged,
        interrupted=interrupted,
        n_steps=done.n_steps,
        energy=energies,
        fmax=longest_forces,
        events=tuple(observer.events),
        error=error,
        doubt=doubt,
    )


def checked_optimizer(optimizer: str | type[Optimizer], fmax: float, steps: int) -> type[Optimizer]:
    """The class of an optimiser; ValueError if it is unknown or an argument is out of range."""
    import ase.optimize
    from ase.optimize.optimize import Optimizer

    check_positive(fmax=fmax)
    check_steps(steps)
    if isinstance(optimizer, type) and issubclass(optimizer, Optimizer):
        return optimizer
    known = ", ".join(OPTIMIZERS)
    require(
        optimizer in OPTIMIZERS,
        f"an optimizer out of {known}, or a class with their interface, got {optimizer!r}",
    )
    found: type[Optimizer] = getattr(ase.optimize, str(optimizer))
    return found


def _positive(hessian: np.ndarray, n_atoms: int, optimizer: type[Optimizer]) -> np.ndarray:
    """The Hessian (3N, 3N) with absolute curvatures of at least :data:`SOFTEST`."""
    from ase.optimize import BFGS

    require(
        issubclass(optimizer, BFGS),
        f"BFGS as the optimizer for an initial hessian, got {optimizer.__name__}",
    )
    hessian = np.asarray(hessian, dtype=float)
    n = 3 * n_atoms
    require(
        hessian.shape == (n, n) and bool(np.isfinite(hessian).all()),
        f"a hessian of finite numbers, shape ({n}, {n}), got {hessian.shape}",
    )
    curvatures, modes = np.linalg.eigh((hessian + hessian.T) / 2)
    kept: np.ndarray = (modes * np.maximum(np.abs(curvatures), SOFTEST)) @ modes.T  # ik,k,jk->ij
    return kept
