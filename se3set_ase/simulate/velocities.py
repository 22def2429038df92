"""First velocities of molecular dynamics, and how many of them there are."""

from __future__ import annotations

import numpy as np
from ase import Atoms, units
from ase.md.velocitydistribution import Stationary, ZeroRotation, force_temperature

#: Momenta of all atoms together that are so small beside their own, or moments of inertia (u
#: Angstrom^2), are zero.
STILL = 1e-6


def free_coordinates(atoms: Atoms) -> int:
    """Coordinates that constraints leave to move."""
    # Atoms.get_number_of_degrees_of_freedom came with ASE 3.24.
    return 3 * len(atoms) - sum(int(held.get_removed_dof(atoms)) for held in atoms.constraints)


def degrees_of_freedom(atoms: Atoms, conserved: bool) -> int:
    """That can move: not what constraints hold.

    conserved : no thermostat moves it, so total momenta that are zero stay so.
    """
    free = free_coordinates(atoms)
    if not conserved or atoms.constraints:  # which hold it in its place, most of them
        return max(1, free)
    momenta, away = atoms.get_momenta(), atoms.positions - atoms.get_center_of_mass()
    rest = STILL * np.abs(momenta).sum()
    resting = 3 if np.linalg.norm(momenta.sum(axis=0)) <= rest else 0
    if np.linalg.norm(np.cross(away, momenta).sum(axis=0)) <= rest * np.abs(away).max():
        # About as many axes as it has an extent around: of a lone atom none, of a line two.
        resting += int((atoms.get_moments_of_inertia() > STILL).sum())
    return max(1, free - resting)


def draw_velocities(
    atoms: Atoms, temperature_K: float, rng: np.random.Generator, conserved: bool
) -> None:
    """Momenta at a temperature, of no translation and no rotation, into the atoms.

    Constraints hold; what they hold does not fly away, and keeps its translation and rotation.

    conserved : a thermostat will not bring these back, so all of the energy goes to the others.
    """
    # Maxwell-Boltzmann: each momentum is Gaussian with variance m k T.  ASE's function for it
    # has another name in each of its recent versions.
    spread = np.sqrt(atoms.get_masses() * units.kB * temperature_K)[:, None]
    atoms.set_momenta(spread * rng.standard_normal((len(atoms), 3)))
    free = free_coordinates(atoms)
    if len(atoms) > 1 and not atoms.constraints:  # a lone atom has no motion but of its centre
        Stationary(atoms, preserve_temperature=False)
        with np.errstate(divide="ignore", invalid="ignore"):  # about the axis of a straight one
            ZeroRotation(atoms, preserve_temperature=False)
    if len(atoms) > 1 and free and temperature_K > 0:
        force_temperature(atoms, temperature_K)
        # Where it is conserved, none of it will ever go into translation and rotation.
        share = degrees_of_freedom(atoms, conserved) / free
        atoms.set_momenta(atoms.get_momenta() * np.sqrt(share))
