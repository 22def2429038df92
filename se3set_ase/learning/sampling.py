"""Makes geometries that may be labelled: dynamics, torsions and contacts on the present surface."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import CalculatorError
from ase.data import vdw_radii
from ase.md.langevin import Langevin
from ase.optimize import FIRE
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from se3set_ase.learning.geometry import n_fragments, overlapping
from se3set_ase.learning.surfaces import Surface, without_warnings
from se3set_ase.learning.torsions import rotatable_bonds, rotated
from se3set_ase.simulate.velocities import draw_velocities

#: Time step and time between recorded geometries, fs; friction of the thermostat, 1/fs.
TIMESTEP, EVERY, FRICTION = 1.0, 20.0, 0.02
#: Shortest run, fs: the first half of a run is not at its temperature yet.
SHORTEST = 200.0
#: Geometries made for each one that will be labelled.
CANDIDATES = 5
#: Steps of the relaxation after a rotation about bonds.
RELAX_STEPS = 25
#: Displacement of each coordinate at 300 K, Angstrom, where no surface moves the atoms.
DISPLACEMENT = 0.05
#: A run is stopped if it is hotter than this many times its temperature, at least 1000 K.
HOT = 4.0
#: Contacts: distance of the closest atoms in units of the sum of their van der Waals radii.
CONTACT = (0.75, 1.2)
#: Share of the geometries that are contacts, on request.
CONTACTS = 0.25


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to sample.

    Attributes
    ----------
    temperatures_K : of the dynamics.
    n : number of geometries to choose from.
    torsions : begin half of the runs after rotations about single bonds.
    dimers : also make contacts of two molecules.
    may_dissociate : keep runs whose molecule falls apart, as reactions do.
    charge : e.
    """

    temperatures_K: tuple[float, ...]
    n: int
    torsions: bool
    dimers: bool
    may_dissociate: bool
    charge: int


def sample(
    surface: Surface,
    starts: Sequence[Atoms],
    plan: Plan,
    rng: np.random.Generator,
    progress: Callable[[], object] = lambda: None,
) -> list[Atoms]:
    """Geometries with ``info["kind"]`` and ``info["temperature_K"]``.

    ``info["settled"]`` marks those from the second half of a run, which has its temperature.

    Parameters
    ----------
    starts : geometries of the molecule that runs may begin with.
    progress : called from time to time.
    """
    n_contacts = math.ceil(CONTACTS * plan.n) if plan.dimers else 0
    n_runs = len(plan.temperatures_K) * (2 if plan.torsions else 1)
    n_frames = max(math.ceil((plan.n - n_contacts) / n_runs), math.ceil(SHORTEST / EVERY))
    bonds = rotatable_bonds(starts[0], plan.charge) if plan.torsions else []
    found: list[Atoms] = []
    for run in range(n_runs):
        temperature = plan.temperatures_K[run % len(plan.temperatures_K)]
        start = starts[int(rng.integers(len(starts)))].copy()
        turned = run >= len(plan.temperatures_K) and bool(bonds)
        if turned:
            start = rotated(start, bonds, rng, plan.charge)
        if surface.make is None:
            frames = displaced(start, temperature, n_frames, rng, settled=True)
        else:
            with without_warnings():
                if turned:
                    start = relaxed(start, surface.make(), steps=RELAX_STEPS)
                frames = dynamics(start, surface.make(), temperature, n_frames, rng, plan, progress)
        for frame in frames:
            frame.info["kind"] = "torsion" if turned else frame.info["kind"]
        # A run that ended early: there are geometries to label on any surface.
        found += [*frames, *displaced(start, temperature, n_frames - len(frames), rng)]
    molecules = [*starts, *found]
    found += [contact(molecules, rng) for _ in range(n_contacts)]
    return [atoms for atoms in found if not overlapping(atoms)]


def dynamics(
    start: Atoms,
    calculator: Any,
    temperature_K: float,
    n_frames: int,
    rng: np.random.Generator,
    plan: Plan,
    progress: Callable[[], object] = lambda: None,
) -> list[Atoms]:
    """Langevin dynamics; ends early if the molecule breaks, with the first broken geometry."""
    atoms = bare(start)
    atoms.calc = calculator
    parts = n_fragments(atoms)
    frames: list[Atoms] = []
    try:
        draw_velocities(atoms, temperature_K, rng, conserved=False)
        moving: Any = Langevin(
            atoms,
            TIMESTEP * units.fs,
            temperature_K=temperature_K,
            friction=FRICTION / units.fs,
            fixcm=False,
            rng=rng,
        )
        for index in range(n_frames):
            moving.run(round(EVERY / TIMESTEP))
            progress()
            hottest = max(HOT * temperature_K, 1000.0)
            broken = not np.isfinite(atoms.positions).all() or atoms.get_temperature() > hottest
            if broken or overlapping(atoms):
                break
            settled = index >= n_frames // 2
            frames.append(noted(atoms, "dynamics", temperature_K, settled=settled))
            if n_fragments(atoms) > parts and not plan.may_dissociate:
                break
    except (CalculatorError, ValueError, FloatingPointError):
        pass  # a surface that fails for a geometry; those before it are kept
    return frames


def displaced(
    start: Atoms,
    temperature_K: float,
    n_frames: int,
    rng: np.random.Generator,
    *,
    settled: bool = False,
) -> list[Atoms]:
    """Random displacements, larger at higher temperatures."""
    width = DISPLACEMENT * math.sqrt(temperature_K / 300.0)
    frames = []
    for _ in range(n_frames):
        atoms = bare(start)
        atoms.positions += rng.normal(0.0, width, atoms.positions.shape)
        frames.append(noted(atoms, "displaced", temperature_K, settled=settled))
    return frames


def relaxed(start: Atoms, calculator: Any, *, steps: int, fmax: float = 0.05) -> Atoms:
    """The geometry after some steps of a relaxation; the given one if the calculator fails."""
    atoms = bare(start)
    atoms.calc = calculator
    try:
        FIRE(atoms, logfile=None).run(fmax=fmax, steps=steps)
    except (CalculatorError, ValueError):
        return start
    if not np.isfinite(atoms.positions).all() or overlapping(atoms):
        return start
    return bare(atoms)


def contact(molecules: Sequence[Atoms], rng: np.random.Generator) -> Atoms:
    """Two molecules in random orientations, in contact."""
    one, other = (bare(molecules[i]) for i in rng.integers(len(molecules), size=2))
    one.positions -= one.positions.mean(axis=0)
    other.positions = Rotation.random(random_state=rng).apply(
        other.positions - other.positions.mean(axis=0)
    )
    direction = Rotation.random(random_state=rng).apply([1.0, 0.0, 0.0])
    radii = [np.nan_to_num(vdw_radii[a.numbers], nan=2.0) for a in (one, other)]
    sums, factor = np.add.outer(*radii), rng.uniform(*CONTACT)
    for distance in np.arange(1.0, 60.0, 0.05):  # moved apart until no atoms are too close
        if (cdist(one.positions, other.positions + distance * direction) >= factor * sums).all():
            break
    other.positions += distance * direction
    both = one + other
    both.info = {**one.info}
    return noted(both, "contact", 0.0, settled=False)


def bare(atoms: Atoms) -> Atoms:
    """A copy with nothing but positions, masses and declared charge and spin."""
    new = Atoms(atoms.numbers, atoms.positions, masses=atoms.get_masses())
    new.info = {name: atoms.info[name] for name in ("charge", "spin_multiplicity")}
    return new


def noted(atoms: Atoms, kind: str, temperature_K: float, *, settled: bool) -> Atoms:
    """A bare copy that says how it was made."""
    new = bare(atoms)
    new.info |= {"kind": kind, "temperature_K": temperature_K, "settled": settled}
    return new
