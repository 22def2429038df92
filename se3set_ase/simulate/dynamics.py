"""Molecular dynamics with ASE, and records of energies and events."""

from __future__ import annotations

import hashlib
import os
from array import array
from typing import Any, Literal

import numpy as np
from ase import Atoms, units

from se3set_ase.events.observe import EventObserver
from se3set_ase.simulate.results import DynamicsResult
from se3set_ase.simulate.steps import (
    LastStep,
    Progress,
    check_atoms,
    check_positive,
    check_steps,
    frame_writer,
    keeping_constraints,
    require,
)
from se3set_ase.simulate.velocities import degrees_of_freedom, draw_velocities, free_coordinates


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
    """Run molecular dynamics of an isolated molecule.  Ctrl-C ends the run and keeps all results.

    Parameters
    ----------
    atoms : Atoms with a calculator; changed in place.
    temperature_K : Temperature of the thermostat and of the initial velocities.
    timestep : fs, a plain number (ASE's own classes take ``0.5 * units.fs``).
    steps : Number of time steps.
    ensemble : ``"langevin"`` (constant temperature) or ``"nve"`` (velocity Verlet).
    friction : Friction of the thermostat, 1/fs, a plain number; not used for ``"nve"``.
    velocities : ``"maxwell"`` draws random velocities, scaled to ``temperature_K``, without total
        momentum and rotation (except for constraints); ``"keep"`` continues with those of
        ``atoms``.
    seed : Seed of all random numbers; the same seed gives the same run. To continue a run exactly,
        pass the same generator to both parts, and ``velocities="keep"`` to the second.
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
    free_coordinates(atoms)  # raises for constraints that cannot be kept
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
    rows = array("d")  # compact: a long run has many rows
    last_recorded, interrupted = -1, False
    with frame_writer(trajectory) as write:
        observer = EventObserver(dynamics, atoms, events)
        done = LastStep(atoms, rng)

        def add_row(step: int) -> None:
            nonlocal last_recorded
            last_recorded = step
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
                add_row(done.n_steps)
            if progress is not None and done.n_steps:
                progress(1)

        dynamics.attach(record)
        try:
            with keeping_constraints(atoms, done):
                dynamics.run(steps)
        except KeyboardInterrupt:
            interrupted = True
            done.restore()
            if last_recorded != done.n_steps:
                add_row(done.n_steps)
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
    # Parts of a run with the same noise would become copies of one another.
    state = hashlib.sha256(atoms.get_momenta().tobytes()).digest()
    return np.random.default_rng([seed, *state])
