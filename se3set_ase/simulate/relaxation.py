"""Relaxation and molecular dynamics: ASE's own, with records of what happened on the way.

Nothing here is needed to use the calculator with ASE; it saves the usual twenty lines.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from ase import Atoms, units
from ase.io import Trajectory
from ase.io import write as write_atoms

from se3set_ase.events.observe import EventObserver
from se3set_ase.simulate.results import DynamicsResult, RelaxResult
from se3set_ase.simulate.velocities import degrees_of_freedom, draw_velocities

if TYPE_CHECKING:
    from ase.optimize.optimize import Optimizer

__all__ = ["OPTIMIZERS", "DynamicsResult", "RelaxResult", "md", "relax"]

OPTIMIZERS = ("BFGS", "LBFGS", "BFGSLineSearch", "FIRE", "FIRE2", "MDMin", "GPMin")
"""Names that ``optimizer`` may have: classes of :mod:`ase.optimize`."""

SOFTEST = 0.5
"""Least curvature that a relaxation takes from a Hessian, eV/Angstrom^2: turns of single bonds have
about as much, and what is softer (the molecule as a whole) shall not be moved far by noise."""

Progress = Callable[[int], object]


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
    _check_atoms(atoms)
    optimizer_class = checked_optimizer(optimizer, fmax, steps)
    start = None if hessian is None else _positive(hessian, len(atoms), optimizer_class)
    atoms.get_forces()  # of what the model does not know, before any file is touched
    rows: list[tuple[float, float]] = []
    converged = interrupted = False
    with _frame_writer(trajectory) as write:
        dynamics = optimizer_class(atoms, logfile=None)
        if start is not None:
            dynamics.H0 = start
        observer = EventObserver(dynamics, atoms, events)
        done = _LastStep(atoms)

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

    _check_positive(fmax=fmax)
    _check_steps(steps)
    if isinstance(optimizer, type) and issubclass(optimizer, Optimizer):
        return optimizer
    known = ", ".join(OPTIMIZERS)
    _require(
        optimizer in OPTIMIZERS,
        f"an optimizer out of {known}, or a class like them, got {optimizer!r}",
    )
    found: type[Optimizer] = getattr(ase.optimize, str(optimizer))
    return found


def _positive(hessian: np.ndarray, n_atoms: int, optimizer: type[Optimizer]) -> np.ndarray:
    """The Hessian (3N, 3N), all of its curvatures at least :data:`SOFTEST`."""
    from ase.optimize import BFGS

    _require(
        issubclass(optimizer, BFGS),
        f"BFGS as the optimizer that begins with a hessian, got {optimizer.__name__}",
    )
    hessian = np.asarray(hessian, dtype=float)
    n = 3 * n_atoms
    _require(
        hessian.shape == (n, n) and bool(np.isfinite(hessian).all()),
        f"a hessian of finite numbers, shape ({n}, {n}), got {hessian.shape}",
    )
    curvatures, modes = np.linalg.eigh((hessian + hessian.T) / 2)
    kept: np.ndarray = (modes * np.maximum(np.abs(curvatures), SOFTEST)) @ modes.T  # ik,k,jk->ij
    return kept


def md(
    atoms: Atoms,
    *,
    temperature_K: float = 300.0,
    timestep: float = 0.5,
    steps: int = 1000,
    ensemble: Literal["langevin", "nve"] = "langevin",
    friction: float = 0.01,
    velocities: Literal["maxwell", "keep"] = "maxwell",
    seed: int | np.random.Generator = 0,
    trajectory: str | os.PathLike[str] | None = None,
    events: str | os.PathLike[str] | None = None,
    interval: int = 1,
    progress: Progress | None = None,
) -> DynamicsResult:
    """Run molecular dynamics of an isolated molecule.  Ctrl-C keeps what was done.

    Parameters
    ----------
    atoms : With a calculator; changed in place.
    temperature_K : Of the thermostat, and of the first velocities.
    timestep : fs, a plain number (ASE's own classes take ``0.5 * units.fs``).
    steps : Number of time steps.
    ensemble : ``"langevin"`` (constant temperature) or ``"nve"`` (velocity Verlet).
    friction : Of the thermostat, 1/fs, a plain number too; not used for ``"nve"``.
    velocities : ``"maxwell"`` draws them anew, scaled to ``temperature_K``, with neither
        total momentum nor rotation (but for constraints); ``"keep"`` goes on with those of
        ``atoms``.
    seed : Of all random numbers: the same seed, and velocities that are kept, give the same run. A
        generator is drawn from: given again, with ``velocities="keep"``, a run goes on as one run
        of all the steps.
    trajectory : File for the recorded steps, replaced if it is there: ``.traj``, or whatever else
        ASE can append to (``.xyz``, ``.extxyz``).
    events : File for the refragmentation log, replaced too: JSON lines, written as it happens;
        :func:`se3set_ase.events.files.read_events` reads it.
    interval : Steps between two records; the last step is one, events are noted at every step.
    progress : Called with 1 after each step.

    Raises
    ------
    ValueError : an argument is out of its range; velocities to keep where there are none.
    """
    from ase.md.langevin import Langevin
    from ase.md.verlet import VelocityVerlet

    _check_atoms(atoms)
    _check_positive(timestep=timestep, **({"friction": friction} if ensemble != "nve" else {}))
    _check_steps(steps)
    _require(0 <= temperature_K < np.inf, f"temperature_K of at least 0, got {temperature_K}")
    _require(interval >= 1, f"an interval of at least 1 step, got {interval}")
    _require(ensemble in ("langevin", "nve"), f"ensemble 'langevin' or 'nve', got {ensemble!r}")
    _require(
        velocities in ("maxwell", "keep"), f"velocities 'maxwell' or 'keep', got {velocities!r}"
    )
    _require(
        velocities == "maxwell" or atoms.has("momenta"),
        "atoms with momenta, to keep their velocities, got none (at rest they are zero)",
    )
    atoms.get_forces()  # of what the model does not know, before any file is touched
    rng = _random_numbers(seed, atoms, velocities)
    if velocities == "maxwell":
        draw_velocities(atoms, temperature_K, rng, conserved=ensemble == "nve")
    freedom = degrees_of_freedom(atoms, conserved=ensemble == "nve")
    dynamics: Any
    if ensemble == "nve":
        dynamics = VelocityVerlet(atoms, timestep * units.fs)
    else:
        dynamics = Langevin(
            atoms,
            timestep * units.fs,
            temperature_K=temperature_K,
            friction=friction / units.fs,
            # ASE's fixcm samples a wrong ensemble (ase!3986); an isolated molecule may drift.
            fixcm=False,
            rng=rng,
        )
    rows = array("d")  # a long run has many
    noted, interrupted = -1, False
    with _frame_writer(trajectory) as write:
        observer = EventObserver(dynamics, atoms, events)
        done = _LastStep(atoms, rng)

        def note(step: int) -> None:
            nonlocal noted
            noted = step
            potential = float(atoms.get_potential_energy())
            kinetic = float(atoms.get_kinetic_energy())
            hyperedges = getattr(getattr(atoms.calc, "hypergraph", None), "n_hyperedges", np.nan)
            temperature = 2.0 * kinetic / (freedom * units.kB)
            time = step * timestep / 1000.0
            rows.extend((time, temperature, potential, kinetic, potential + kinetic, hyperedges))
            write(atoms)

        def record() -> None:
            done.keep(dynamics.nsteps)
            observer()
            if done.n_steps % interval == 0 or done.n_steps == steps:
                note(done.n_steps)
            if progress is not None and done.n_steps:
                progress(1)

        dynamics.attach(record)
        try:
            dynamics.run(steps)
        except KeyboardInterrupt:
            interrupted = True
            done.go_back()
            if noted != done.n_steps:
                note(done.n_steps)
    time, temperature, potential, kinetic, total, hyperedges = np.array(rows).reshape(-1, 6).T
    return DynamicsResult(
        ensemble=ensemble,
        time=time,
        temperature=temperature,
        potential=potential,
        kinetic=kinetic,
        total=total,
        n_hyperedges=hyperedges,
        n_atoms=len(atoms),
        n_steps=done.n_steps,
        interrupted=interrupted,
        events=tuple(observer.events),
        event_times=tuple(event.step * timestep / 1000.0 for event in observer.events),
        n_events=observer.n_events,
    )


def _random_numbers(
    seed: int | np.random.Generator, atoms: Atoms, velocities: str
) -> np.random.Generator:
    if velocities == "maxwell" or isinstance(seed, np.random.Generator):
        return np.random.default_rng(seed)
    # Parts of a run that had all the same noise would become copies of one another.
    state = hashlib.sha256(atoms.get_momenta().tobytes()).digest()
    return np.random.default_rng([seed, *state])


class _LastStep:
    """The last step that was done: a run that is stopped in the middle of the next ends there."""

    def __init__(self, atoms: Atoms, rng: np.random.Generator | None = None):
        self._atoms, self._rng = atoms, rng
        self.keep(0)

    def keep(self, n_steps: int) -> None:
        self.n_steps = int(n_steps)
        self._positions = self._atoms.get_positions()
        self._momenta = self._atoms.get_momenta() if self._atoms.has("momenta") else None
        self._state = None if self._rng is None else self._rng.bit_generator.state

    def go_back(self) -> None:
        self._atoms.set_positions(self._positions, apply_constraint=False)
        if self._momenta is not None:
            self._atoms.set_momenta(self._momenta, apply_constraint=False)
        if self._rng is not None and self._state is not None:
            self._rng.bit_generator.state = self._state


@contextlib.contextmanager
def _frame_writer(path: str | os.PathLike[str] | None) -> Iterator[Callable[[Atoms], object]]:
    """A function that appends a frame to the file; the file is closed whatever happens."""
    if path is None:
        yield lambda atoms: None
    elif Path(path).suffix == ".traj":
        with Trajectory(os.fspath(path), "w") as trajectory:
            try:
                yield trajectory.write
            finally:
                trajectory.backend.data = {}  # of a frame cut short, which closing would write
    else:
        Path(path).unlink(missing_ok=True)
        yield lambda atoms: write_atoms(path, atoms, append=True)


def _check_atoms(atoms: Atoms) -> None:
    _require(atoms.calc is not None, "atoms with a calculator, got none: set atoms.calc first")
    _require(len(atoms) > 0, "at least one atom, got an empty Atoms object")


def _check_steps(steps: int) -> None:
    whole = isinstance(steps, int | np.integer) and steps >= 0
    _require(whole, f"a whole number of steps of at least 0, got {steps!r}")


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        _require(bool(np.isfinite(value)) and value > 0, f"a positive {name}, got {value}")


def _require(condition: bool, expected: str) -> None:
    if not condition:
        raise ValueError(f"expected {expected}")
