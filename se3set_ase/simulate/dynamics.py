"""Molecular dynamics with ASE, and records of energies, events and doubt."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from array import array
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import CalculatorError

from se3set_ase.events.observe import EventObserver
from se3set_ase.simulate import defaults
from se3set_ase.simulate.doubt import DoubtWatch, doubt_in_info
from se3set_ase.simulate.results import DynamicsResult
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
from se3set_ase.simulate.velocities import degrees_of_freedom, draw_velocities, free_coordinates
from se3set_ase.uncertainty.doubt import Doubt

TIME = "time_ps"
"""Key of ``atoms.info`` for the time of a geometry, ps."""


def md(
    atoms: Atoms,
    *,
    temperature_K: float = defaults.TEMPERATURE_K,
    timestep: float = defaults.TIMESTEP,
    steps: int = defaults.MD_STEPS,
    ensemble: Literal["langevin", "nve"] = defaults.ENSEMBLE,
    friction: float = defaults.FRICTION,
    velocities: Literal["maxwell", "keep"] = defaults.VELOCITIES,
    seed: int | np.random.Generator | None = None,
    trajectory: str | os.PathLike[str] | None = None,
    events: str | os.PathLike[str] | None = None,
    interval: int = defaults.INTERVAL,
    progress: Progress | None = None,
) -> DynamicsResult:
    """Run molecular dynamics of an isolated molecule.  Ctrl-C ends the run and keeps all results.

    So does an error of the calculator after the first geometry, e.g. a baseline method that does
    not converge: the atoms return to the last complete step, the result has the error, and a
    warning is issued.

    Parameters
    ----------
    atoms : Atoms with a calculator; changed in place. Their ``info["time_ps"]`` is the time, as in
        the frames of the trajectory.
    temperature_K : Temperature of the thermostat and of the initial velocities.
    timestep : fs, a plain number (ASE's own classes take ``0.5 * units.fs``).
    steps : Number of time steps.
    ensemble : ``"langevin"`` (constant temperature) or ``"nve"`` (velocity Verlet).
    friction : Friction of the thermostat, 1/fs, a plain number; not used for ``"nve"``.
    velocities : ``"maxwell"`` draws random velocities, scaled to ``temperature_K``, without total
        momentum and rotation (except for constraints), and the time starts at 0; ``"keep"``
        continues with the velocities and the time of ``atoms`` (0 if they state none).
    seed : Seed of all random numbers; the same seed gives the same run. If it is not given, it is
        drawn at random, and the result reports it. To continue a run exactly, pass the same
        generator to both parts, and ``velocities="keep"`` to the second.
    trajectory : File for the recorded steps, replaced if it exists: ``.traj``, or another format to
        which ASE can append (``.xyz``, ``.extxyz``).
    events : File for the refragmentation log (JSON lines), replaced if it exists and written during
        the run; :func:`se3set_ase.events.files.read_events` reads it.
    interval : Steps between records; the last step is always recorded, and events at every step.
    progress : Called with 1 after each step.

    Raises
    ------
    ValueError : an argument is out of range, there are no velocities to keep, or constraints cannot
        be kept; the atoms are then at the last complete step.
    CalculatorError : the calculator fails for the first geometry.
    """
    from ase.md.langevin import Langevin
    from ase.md.verlet import VelocityVerlet

    check_atoms(atoms)
    check_positive(timestep=timestep, **({"friction": friction} if ensemble != "nve" else {}))
    check_steps(steps)
    require(0 <= temperature_K < np.inf, f"temperature_K of at least 0, got {temperature_K}")
    require(interval >= 1, f"an interval of at least 1 step, got {interval}")
    require(ensemble in ("langevin", "nve"), f"ensemble 'langevin' or 'nve', got {ensemble!r}")
    require(
        velocities in ("maxwell", "keep"), f"velocities 'maxwell' or 'keep', got {velocities!r}"
    )
    require(
        velocities == "maxwell" or atoms.has("momenta"),
        "atoms with momenta, to keep their velocities, got none (at rest they are zero)",
    )
    start = stated_time(atoms) if velocities == "keep" else 0.0
    free_coordinates(atoms)  # raises for constraints that cannot be kept
    if seed is None and (velocities == "maxwell" or ensemble == "langevin"):
        seed = secrets.randbits(32)
    rng = _random_numbers(seed, atoms, velocities)
    with keeping_constraints(atoms):
        atoms.get_forces()  # raises for unsupported atoms before any file is written
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
    clock = _Clock(dynamics, timestep, start)
    error: CalculatorError | None = None
    interrupted = False
    with frame_writer(trajectory) as write:
        observer = EventObserver(clock, atoms, events)
        done, records = LastStep(atoms, rng), _Records(atoms, clock, freedom, write)

        def record() -> None:
            done.keep(dynamics.nsteps)
            seen = len(observer.events)
            observer()
            last = done.n_steps == steps
            other_bonds = any(e.kind.startswith("bond") for e in observer.events[seen:])
            records.check(done.n_steps, other_bonds=other_bonds, last=last)
            if done.n_steps % interval == 0 or last:
                records.add(done.n_steps)
            if progress is not None and done.n_steps:
                progress(1)

        dynamics.attach(record)
        try:
            with keeping_constraints(atoms, done):
                dynamics.run(steps)
        except (KeyboardInterrupt, CalculatorError) as stopped:
            error = failure(stopped, done)
            interrupted = error is None
            # A method that has failed may fail again: then the last step has no record.
            with contextlib.suppress(CalculatorError):
                if records.last_step != done.n_steps:
                    records.check(done.n_steps, last=True)
                    records.add(done.n_steps)
    columns = np.array(records.rows).reshape(-1, len(records.columns)).T
    return DynamicsResult(
        ensemble=ensemble,
        seed=None if isinstance(seed, np.random.Generator) else seed,
        n_atoms=len(atoms),
        n_steps=done.n_steps,
        interrupted=interrupted,
        error=error,
        events=tuple(observer.events),
        event_times=tuple(clock.time_of(event.step) for event in observer.events),
        n_events=observer.n_events,
        level=records.level,
        doubts=tuple((time, reason) for reason, time in records.doubts.items()),
        **dict(zip(records.columns, columns, strict=True)),
    )


class _Clock:
    """The time of a run, which may start with that of an earlier one."""

    def __init__(self, dynamics: Any, timestep: float, start: float):
        self._dynamics, self._timestep, self._start = dynamics, timestep, start

    @property
    def nsteps(self) -> int:
        return int(self._dynamics.nsteps)

    def time_of(self, step: int) -> float:
        """Time of a step, ps."""
        return self._start + step * self._timestep / 1000.0

    def get_time(self) -> float:
        """The present time, in ASE's unit."""
        return self.time_of(self.nsteps) * 1000.0 * units.fs


class _Records:
    """What a run records: energies, and what is found of the doubt since the last record."""

    columns = (
        "time",
        "temperature",
        "potential",
        "kinetic",
        "total",
        "n_hyperedges",
        "energy_uncertainty",
        "forces_uncertainty",
    )

    def __init__(self, atoms: Atoms, clock: _Clock, freedom: int, write: Callable[[Atoms], object]):
        self._atoms, self._clock, self._freedom, self._write = atoms, clock, freedom, write
        self.rows = array("d")  # compact: a long run has many rows
        self.last_step = -1
        self.level = ""
        self.doubts: dict[str, float] = {}
        self._watch = DoubtWatch(atoms)
        self._doubt: Doubt | None = None
        self._largest = (np.nan, np.nan)

    def check(self, step: int, *, other_bonds: bool = False, last: bool) -> None:
        """Note the doubt of the present geometry, if it is checked."""
        self._doubt = found = self._watch.check(other_bonds=other_bonds, last=last)
        if found is None:
            return
        if found.energy is not None and found.forces is not None:
            self.level = found.level
            energy, forces = np.fmax(self._largest, (found.energy, found.forces))
            self._largest = float(energy), float(forces)
        for reason in found.reasons:
            self.doubts.setdefault(reason, self._clock.time_of(step))

    def add(self, step: int) -> None:
        """Add a row, and a frame with the doubt of this geometry if it was checked."""
        self.last_step = step
        atoms, time = self._atoms, self._clock.time_of(step)
        atoms.info[TIME] = time
        potential = float(atoms.get_potential_energy())
        kinetic = float(atoms.get_kinetic_energy())
        hyperedges = getattr(getattr(atoms.calc, "hypergraph", None), "n_hyperedges", np.nan)
        temperature = 2.0 * kinetic / (self._freedom * units.kB)
        energies = (temperature, potential, kinetic, potential + kinetic)
        self.rows.extend((time, *energies, hyperedges, *self._largest))
        self._largest = (np.nan, np.nan)
        with doubt_in_info(atoms, self._doubt):
            self._write(atoms)


def stated_time(atoms: Atoms) -> float:
    """The time that the atoms state, ps; 0 if they state none.

    Raises
    ------
    ValueError : it is not a finite number.
    """
    time = atoms.info.get(TIME, 0.0)
    number = isinstance(time, int | float | np.number) and not isinstance(time, bool)
    require(
        number and bool(np.isfinite(time)), f"a finite time (ps) in info[{TIME!r}], got {time!r}"
    )
    return float(time)


def _random_numbers(
    seed: int | np.random.Generator | None, atoms: Atoms, velocities: str
) -> np.random.Generator:
    if velocities == "maxwell" or seed is None or isinstance(seed, np.random.Generator):
        return np.random.default_rng(seed)
    # Parts of a run with the same noise would become copies of one another.
    state = hashlib.sha256(atoms.get_momenta().tobytes()).digest()
    return np.random.default_rng([seed, *state])
