"""Relaxations, normal modes and hot runs by GFN2-xTB."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import CalculationFailed
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.optimize import BFGS
from tblite.ase import TBLite
from tblite.exceptions import TBLiteRuntimeError
from tblite.interface import Calculator

#: eV/Angstrom^2/u. Softer modes are not used: they are torsions and motions of molecules in a
#: cluster, for which straight displacements are unsuitable.
SOFTEST = 0.02
#: Step of finite differences for the Hessian, Angstrom.
STEP = 2e-3
FRICTION = 0.02 / units.fs


def with_gfn2(atoms: Atoms, charge: int) -> Atoms:
    """Copy atoms and attach a new GFN2-xTB calculator."""
    copy = Atoms(atoms.numbers, atoms.positions)
    copy.calc = TBLite(method="GFN2-xTB", charge=charge, multiplicity=1, verbosity=0)
    return copy


def plain(atoms: Atoms) -> Atoms:
    """Copy numbers and positions only."""
    return Atoms(atoms.numbers, atoms.positions)


def relaxed(atoms: Atoms, charge: int, fmax: float = 0.05, steps: int = 80) -> Atoms | None:
    """Relax for at most ``steps`` steps; None if GFN2-xTB does not converge."""
    moving = with_gfn2(atoms, charge)
    try:
        BFGS(moving, logfile=None).run(fmax=fmax, steps=steps)
    except CalculationFailed:
        return None
    return plain(moving)


def energy(atoms: Atoms, charge: int) -> float:
    """Energy in eV, or infinity if GFN2-xTB does not converge."""
    try:
        return float(with_gfn2(atoms, charge).get_potential_energy())
    except CalculationFailed:
        return float("inf")


def force_and_gap(atoms: Atoms, charge: int) -> tuple[float, float]:
    """Largest force on an atom (eV/Angstrom) and HOMO-LUMO gap (eV).

    They are infinity and zero if GFN2-xTB does not converge.
    """
    method = Calculator("GFN2-xTB", atoms.numbers, atoms.positions / units.Bohr, float(charge))
    method.set("verbosity", 0)
    try:
        results = method.singlepoint()
    except TBLiteRuntimeError:
        return float("inf"), 0.0
    gradient = np.asarray(results.get("gradient")) * units.Hartree / units.Bohr
    levels = np.asarray(results.get("orbital-energies")) * units.Hartree
    occupied = round(float(np.asarray(results.get("orbital-occupations")).sum()) / 2.0)
    gap = levels[occupied] - levels[occupied - 1] if 0 < occupied < len(levels) else np.inf
    return float(np.linalg.norm(gradient, axis=1).max()), float(gap)


def normal_modes(atoms: Atoms, charge: int) -> tuple[np.ndarray, np.ndarray]:
    """Stiffness (M,), eV/Angstrom^2/u, and mass-weighted modes (3N, M), without the softest.

    The Hessian is from forward differences, which are accurate enough for displacements.

    Raises
    ------
    CalculationFailed : GFN2-xTB does not converge.
    """
    moving = with_gfn2(atoms, charge)
    start = moving.get_forces().ravel()
    rows = []
    for k in range(start.size):
        positions = atoms.positions.copy()
        positions.flat[k] += STEP
        moving.positions = positions
        rows.append((start - moving.get_forces().ravel()) / STEP)
    weight = np.repeat(atoms.get_masses(), 3) ** -0.5
    hessian = 0.5 * (np.array(rows) + np.array(rows).T) * np.outer(weight, weight)
    stiffness, modes = np.linalg.eigh(hessian)
    return stiffness[stiffness > SOFTEST], modes[:, stiffness > SOFTEST]


def along_modes(
    atoms: Atoms, charge: int, kelvin: tuple[float, float], number: int, rng: np.random.Generator
) -> Iterator[Atoms]:
    """Classical harmonic displacements at temperatures drawn from a range.

    As in ANI-1 (Smith, Isayev, Roitberg, arXiv:1610.08935).
    """
    try:
        stiffness, modes = normal_modes(atoms, charge)
    except CalculationFailed:
        return
    weight = np.repeat(atoms.get_masses(), 3) ** -0.5
    for _ in range(number):
        width = np.sqrt(units.kB * rng.uniform(*kelvin) / stiffness)
        shift = weight * (modes @ (width * rng.standard_normal(len(width))))
        yield Atoms(atoms.numbers, atoms.positions + shift.reshape(-1, 3))


def hot(
    atoms: Atoms, charge: int, kelvin: float, stops: list[int], rng: np.random.Generator
) -> Iterator[Atoms]:
    """Frames of a Langevin run after given numbers of steps of 1 fs.

    The initial momenta have twice the temperature, because half of their energy becomes potential
    energy.
    """
    moving = with_gfn2(atoms, charge)
    thermalize_momenta(moving, temperature_K=2 * kelvin, rng=rng)
    dynamics = Langevin(
        moving, units.fs, temperature_K=kelvin, friction=FRICTION, fixcm=False, rng=rng
    )
    with suppress(CalculationFailed):  # atoms collide
        for stop in stops:
            dynamics.run(stop - dynamics.nsteps)
            yield plain(moving)
