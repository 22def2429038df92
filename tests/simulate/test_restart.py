"""Interrupted runs resume from files exactly: dynamics and optimisers.

A new calculator lists its hypergraphs at other steps than the one that was interrupted, so sums are
taken in another order: the runs agree to rounding, which grows as trajectories part.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.optimize
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.io import read
from ase.io.trajectory import Trajectory
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet
from untrained import Make

SAME_POSITIONS = 1e-9  # Angstrom, after 20 fs
SAME_MOMENTA = 1e-9  # sqrt(u eV)
SAME_ENERGY = 1e-9  # eV
OTHER_POSITIONS = 1e-3  # Angstrom, the least by which another run differs
EVERY, STOPPED, STEPS = 5, 23, 40

#: Makes ASE's dynamics of atoms, and of the thermostat's random numbers.
Dynamics = Callable[[Atoms, np.random.Generator], Any]

DYNAMICS: dict[str, Dynamics] = {
    "langevin": lambda atoms, rng: Langevin(
        atoms,
        0.5 * units.fs,
        temperature_K=500,
        friction=0.02 / units.fs,
        fixcm=False,
        rng=rng,
    ),
    "nve": lambda atoms, rng: VelocityVerlet(atoms, 0.5 * units.fs),
}


class Stopped(Exception):
    """The machine goes down."""


def moving() -> Atoms:
    atoms = molecule("CH3OH")
    atoms.rattle(0.03, seed=1)
    atoms.set_velocities(0.03 * np.random.default_rng(4).normal(size=(6, 3)))
    return atoms


def run(
    atoms: Atoms,
    kind: str,
    rng: np.random.Generator,
    path: Path,
    *,
    first: int = 0,
    stop: int | None = None,
) -> None:
    """Steps ``first`` to STEPS, every EVERYth written with the state of the random numbers."""
    dynamics = DYNAMICS[kind](atoms, rng)
    dynamics.nsteps = first

    def stopping() -> None:
        if dynamics.nsteps == stop:
            raise Stopped

    dynamics.attach(lambda: atoms.info.update(rng=rng.bit_generator.state))
    with Trajectory(path, "a" if first else "w", atoms) as trajectory:
        dynamics.attach(trajectory.write, interval=EVERY)
        dynamics.attach(stopping)
        dynamics.run(STEPS - first)


def resume(path: Path, make: Make, kind: str, *, without: str = "") -> None:
    """From the last frame of the file, ``without`` something that it keeps."""
    atoms = read(path)
    atoms.calc = make()
    rng = np.random.default_rng(2)
    if without != "random numbers":
        rng.bit_generator.state = atoms.info["rng"]
    if without == "momenta":
        atoms.set_momenta(np.zeros((6, 3)))
    run(atoms, kind, rng, path, first=EVERY * (len(read(path, ":")) - 1))


def differences(frames: list[Atoms], expected: list[Atoms]) -> tuple[float, float, float]:
    """The largest ones of positions, momenta and energies; the frames must be as many."""
    pairs = list(zip(frames, expected, strict=True))
    return (
        max(np.abs(a.positions - b.positions).max() for a, b in pairs),
        max(np.abs(a.get_momenta() - b.get_momenta()).max() for a, b in pairs),
        max(abs(a.get_potential_energy() - b.get_potential_energy()) for a, b in pairs),
    )


@pytest.mark.parametrize(
    ("kind", "needed"),
    [("langevin", "random numbers"), ("langevin", "momenta"), ("nve", "momenta")],
)
def test_dynamics_resume_from_the_last_frame(
    make: Make, tmp_path: Path, kind: str, needed: str
) -> None:
    whole, stopped, control = (
        tmp_path / f"{name}.traj" for name in ("whole", "stopped", "control")
    )
    for path, stop in ((whole, None), (stopped, STOPPED)):
        atoms = moving()
        atoms.calc = make()
        with pytest.raises(Stopped) if stop else contextlib.nullcontext():
            run(atoms, kind, np.random.default_rng(1), path, stop=stop)
    expected = read(whole, ":")
    kept = len(read(stopped, ":"))
    assert kept == 1 + STOPPED // EVERY < len(expected) == 1 + STEPS // EVERY
    shutil.copy(stopped, control)

    resume(stopped, make, kind)
    positions, momenta, energies = differences(read(stopped, ":"), expected)
    assert positions < SAME_POSITIONS
    assert momenta < SAME_MOMENTA
    assert energies < SAME_ENERGY

    resume(control, make, kind, without=needed)
    assert differences(read(control, ":"), expected)[0] > OTHER_POSITIONS


# --- Optimisers ------------------------------------------------------------------------------


# ASE's FIRE keeps only a part of its state.
@pytest.mark.parametrize("name", ["BFGS", "LBFGS", "MDMin"])
def test_optimisers_resume_from_their_restart_file(make: Make, tmp_path: Path, name: str) -> None:
    """What ASE keeps by ``restart=`` and the positions are enough."""
    optimizer = getattr(ase.optimize, name)
    first = moving()
    first.set_momenta(None)
    atoms = first.copy()
    atoms.calc = make()
    optimizer(atoms, logfile=None).run(fmax=1e-6, steps=12)
    positions = []
    for restart in ("state.json", "control.json"):
        going = first.copy()
        for step, file in ((0, "state.json"), (6, restart)):
            going = going.copy()  # as from a file, without a calculator
            going.calc = make()
            path = tmp_path / file
            if not step:
                path.unlink(missing_ok=True)
            optimizer(going, logfile=None, restart=str(path)).run(fmax=1e-6, steps=6)
        positions.append(going.positions)
    assert np.abs(positions[0] - atoms.positions).max() < SAME_POSITIONS
    assert np.abs(positions[1] - atoms.positions).max() > OTHER_POSITIONS
