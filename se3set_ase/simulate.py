"""Relaxation and molecular dynamics: ASE's own, with records of what happened on the way.

Nothing here is needed to use the calculator with ASE; it saves the usual twenty lines.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from ase import Atoms, units
from ase.io import Trajectory
from ase.io import write as write_atoms

from se3set_ase.observe import EventObserver
from se3set_ase.velocities import degrees_of_freedom, draw_velocities

if TYPE_CHECKING:
    from ase.optimize.optimize import Optimizer

__all__ = ["OPTIMIZERS", "DynamicsResult", "RelaxResult", "md", "relax"]

OPTIMIZERS = ("BFGS", "LBFGS", "BFGSLineSearch", "FIRE", "FIRE2", "MDMin", "GPMin")
"""Names that ``optimizer`` may have: classes of :mod:`ase.optimize`."""

Progress = Callable[[int], object]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RelaxResult:
    """What a relaxation did; the relaxed positions are in the atoms that were given.

    Attributes
    ----------
    converged : Every force is shorter than ``fmax``.
    interrupted : Ended by Ctrl-C.
    n_steps : Steps of the optimiser.
    energy : Potential energy of each recorded step, eV, shape (S,).
    fmax : Longest force of each recorded step, eV/Angstrom, shape (S,).
    events : Refragmentation on the way, as the calculator logged it.
    event_steps : Optimiser step of each event.
    """

    converged: bool
    interrupted: bool
    n_steps: int
    energy: np.ndarray
    fmax: np.ndarray
    events: tuple[Any, ...]
    event_steps: tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DynamicsResult:
    """A recorded run of molecular dynamics; the last state is in the atoms that were given.

    Arrays are of shape (S,), one entry per recorded step, starting with step 0.

    Attributes
    ----------
    ensemble : ``"langevin"`` or ``"nve"``.
    time : ps.
    temperature : K, from the kinetic energy and 3 N degrees of freedom; without a thermostat less
        those that conserved momenta keep at rest (ASE's ``get_temperature`` counts 3 N always).
    potential, kinetic, total : Energies, eV.
    n_hyperedges : Hyperedges that the network saw; NaN where the calculator has none.
    n_atoms : Number of atoms.
    n_steps : Steps done.
    interrupted : Ended by Ctrl-C.
    events : Refragmentation on the way, as the calculator logged it.
    event_times : Time of each event, ps.
    """

    ensemble: Literal["langevin", "nve"]
    time: np.ndarray
    temperature: np.ndarray
    potential: np.ndarray
    kinetic: np.ndarray
    total: np.ndarray
    n_hyperedges: np.ndarray
    n_atoms: int
    n_steps: int
    interrupted: bool
    events: tuple[Any, ...]
    event_times: tuple[float, ...]

    def drift(self) -> float:
        """Slope of a straight line through the total energy, meV / atom / ps.

        NaN for fewer than two records.  It measures energy conservation for ``"nve"`` only.
        """
        if len(self.time) < 2:
            return float("nan")
        centred = self.time - self.time.mean()
        slope = float(centred @ (self.total - self.total.mean()) / (centred @ centred))
        return 1000.0 * slope / self.n_atoms


def relax(
    atoms: Atoms,
    *,
    fmax: float = 0.01,
    steps: int = 500,
    optimizer: str | type[Optimizer] = "LBFGS",
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
    trajectory : File for every step: ``.traj``, or whatever else ASE can append to
        (``.xyz``, ``.extxyz``).
    events : File for the refragmentation log, JSON lines, written as it happens;
        :func:`se3set_ase.records.read_events` reads it.
    progress : Called with 1 after each step.

    Raises
    ------
    ValueError : an argument is out of its range.
    """
    _check_atoms(atoms)
    optimizer_class = checked_optimizer(optimizer, fmax, steps)
    atoms.get_forces()  # of what the model does not know, before any file is touched
    rows: list[tuple[float, float]] = []
    converged = interrupted = False
    with _frame_writer(trajectory) as write:
        dynamics = optimizer_class(atoms, logfile=None)
        observer = EventObserver(dynamics, atoms, events)

        def record() -> None:
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
    energies, longest_forces = np.array(rows).reshape(-1, 2).T
    return RelaxResult(
        converged=converged,
        interrupted=interrupted,
        n_steps=int(dynamics.nsteps),
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
    _require(steps >= 0, f"a number of steps of at least 0, got {steps}")
    if isinstance(optimizer, type) and issubclass(optimizer, Optimizer):
        return optimizer
    known = ", ".join(OPTIMIZERS)
    _require(
        optimizer in OPTIMIZERS,
        f"an optimizer out of {known}, or a class like them, got {optimizer!r}",
    )
    found: type[Optimizer] = getattr(ase.optimize, str(optimizer))
    return found


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
        total momentum nor rotation; ``"keep"`` goes on with those of ``atoms``.
    seed : Of all random numbers: the same seed gives the same run. A generator is drawn from:
        given again, with ``velocities="keep"``, a run goes on as one run of all the steps.
    trajectory : File for the recorded steps: ``.traj``, or whatever else ASE can append to
        (``.xyz``, ``.extxyz``).
    events : File for the refragmentation log, JSON lines, written as it happens;
        :func:`se3set_ase.records.read_events` reads it.
    interval : Steps between two records; the last step is one, events are noted at every step.
    progress : Called with 1 after each step.

    Raises
    ------
    ValueError : an argument is out of its range.
    """
    from ase.md.langevin import Langevin
    from ase.md.verlet import VelocityVerlet

    _check_atoms(atoms)
    _check_positive(timestep=timestep)
    _require(steps >= 0, f"a number of steps of at least 0, got {steps}")
    _require(0 <= temperature_K < np.inf, f"temperature_K of at least 0, got {temperature_K}")
    _require(interval >= 1, f"an interval of at least 1 step, got {interval}")
    _require(ensemble in ("langevin", "nve"), f"ensemble 'langevin' or 'nve', got {ensemble!r}")
    _require(
        velocities in ("maxwell", "keep"), f"velocities 'maxwell' or 'keep', got {velocities!r}"
    )
    atoms.get_forces()  # of what the model does not know, before any file is touched
    rng = np.random.default_rng(seed)
    if velocities == "maxwell":
        draw_velocities(atoms, temperature_K, rng, conserved=ensemble == "nve")
    freedom = degrees_of_freedom(atoms) if ensemble == "nve" else 3 * len(atoms)
    dynamics: Any
    if ensemble == "nve":
        dynamics = VelocityVerlet(atoms, timestep * units.fs)
    else:
        _check_positive(friction=friction)
        dynamics = Langevin(
            atoms,
            timestep * units.fs,
            temperature_K=temperature_K,
            friction=friction / units.fs,
            # ASE's fixcm samples a wrong ensemble (ase!3986); an isolated molecule may drift.
            fixcm=False,
            rng=rng,
        )
    rows: list[tuple[float, ...]] = []
    observer = EventObserver(dynamics, atoms, events)
    interrupted = False
    with _frame_writer(trajectory) as write:

        def record() -> None:
            step = dynamics.nsteps
            observer()
            if step % interval == 0 or step == steps:
                potential = float(atoms.get_potential_energy())
                kinetic = float(atoms.get_kinetic_energy())
                hyperedges = getattr(getattr(atoms.calc, "hypergraph", None), "n_hyperedges", None)
                rows.append(
                    (
                        step * timestep / 1000.0,
                        2.0 * kinetic / (freedom * units.kB),
                        potential,
                        kinetic,
                        potential + kinetic,
                        float("nan") if hyperedges is None else float(hyperedges),
                    )
                )
                write(atoms)
            if progress is not None and step:
                progress(1)

        dynamics.attach(record)
        try:
            dynamics.run(steps)
        except KeyboardInterrupt:
            interrupted = True
    table = np.array(rows).reshape(-1, 6).T
    time, temperature, potential, kinetic, total, hyperedges = table
    return DynamicsResult(
        ensemble=ensemble,
        time=time,
        temperature=temperature,
        potential=potential,
        kinetic=kinetic,
        total=total,
        n_hyperedges=hyperedges,
        n_atoms=len(atoms),
        n_steps=int(dynamics.nsteps),
        interrupted=interrupted,
        events=tuple(observer.events),
        event_times=tuple(event.step * timestep / 1000.0 for event in observer.events),
    )


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


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        _require(bool(np.isfinite(value)) and value > 0, f"a positive {name}, got {value}")


def _require(condition: bool, expected: str) -> None:
    if not condition:
        raise ValueError(f"expected {expected}")
