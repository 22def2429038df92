"""Relaxation: ASE's own, with records of what happened on the way.

Nothing here is needed to use the calculator with ASE; it saves the usual twenty lines.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

from se3set_ase.events.observe import EventObserver
from se3set_ase.simulate.results import RelaxResult
from se3set_ase.simulate.steps import (
    LastStep,
    Progress,
    check_atoms,
    check_positive,
    check_steps,
    frame_writer,
    require,
)

if TYPE_CHECKING:
    from ase.optimize.optimize import Optimizer

__all__ = ["OPTIMIZERS", "relax"]

OPTIMIZERS = ("BFGS", "LBFGS", "BFGSLineSearch", "FIRE", "FIRE2", "MDMin", "GPMin")
"""Names that ``optimizer`` may have: classes of :mod:`ase.optimize`."""

SOFTEST = 0.5
"""Least curvature that a relaxation takes from a Hessian, eV/Angstrom^2: turns of single bonds have
about as much, and what is softer (the molecule as a whole) shall not be moved far by noise."""


def relax(
    atoms: Atoms,
    *,
    fmax: float = 0.01,
    steps: int = 500,
    optimizer: str | type[Optimizer] = "LBFGS",
    hessian: np.ndarray | None = None,
    trajectory: str | os.PathLike[str] | None = None,
    events: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> RelaxResult:
    """Move ``atoms`` to a minimum of its calculator's energy.  Ctrl-C keeps what was reached.

    Parameters
    ----------
    atoms : With a calculator; changed in place.
    fmax : Ends when no force is longer, eV/Angstrom.
    steps : Ends after as many steps of the optimiser.
    optimizer : One of :data:`OPTIMIZERS`, or a class that is made and run as they are.
    hessian : (3N, 3N), eV/Angstrom^2: what BFGS begins with instead of a multiple of one, as by
        :meth:`.SE3SetCalculator.get_hessian` at a minimum of the model, from where a dearer method
        then takes a few steps. Curvatures count without their sign, and as 0.5 at least.
    trajectory : File for every step, replaced if it is there: ``.traj``, or whatever else ASE can
        append to (``.xyz``, ``.extxyz``).
    events : File for the refragmentation log, replaced too: JSON lines, written as it happens;
        :func:`se3set_ase.events.files.read_events` reads it.
    progress : Called with 1 after each step.

    Raises
    ------
    ValueError : an argument is out of its range.
    """
    check_atoms(atoms)
    optimizer_class = checked_optimizer(optimizer, fmax, steps)
    start = None if hessian is None else _positive(hessian, len(atoms), optimizer_class)
    atoms.get_forces()  # of what the model does not know, before any file is touched
    rows: list[tuple[float, float]] = []
    converged = interrupted = False
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
            converged = bool(dynamics.run(fmax=fmax, steps=steps))
        except KeyboardInterrupt:
            interrupted = True
            done.go_back()
            atoms.get_forces()
    energies, longest_forces = np.array(rows).reshape(-1, 2).T
    return RelaxResult(
        converged=converged,
        interrupted=interrupted,
        n_steps=done.n_steps,
        energy=energies,
        fmax=longest_forces,
        events=tuple(observer.events),
        event_steps=tuple(event.step for event in observer.events),
    )


def checked_optimizer(optimizer: str | type[Optimizer], fmax: float, steps: int) -> type[Optimizer]:
    """The class that is meant, if the other arguments of a relaxation are in range too."""
    import ase.optimize
    from ase.optimize.optimize import Optimizer

    check_positive(fmax=fmax)
    check_steps(steps)
    if isinstance(optimizer, type) and issubclass(optimizer, Optimizer):
        return optimizer
    known = ", ".join(OPTIMIZERS)
    require(
        optimizer in OPTIMIZERS,
        f"an optimizer out of {known}, or a class like them, got {optimizer!r}",
    )
    found: type[Optimizer] = getattr(ase.optimize, str(optimizer))
    return found


def _positive(hessian: np.ndarray, n_atoms: int, optimizer: type[Optimizer]) -> np.ndarray:
    """The Hessian (3N, 3N), all of its curvatures at least :data:`SOFTEST`."""
    from ase.optimize import BFGS

    require(
        issubclass(optimizer, BFGS),
        f"BFGS as the optimizer that begins with a hessian, got {optimizer.__name__}",
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
