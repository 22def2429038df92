"""First velocities of molecular dynamics, and how many of them there are."""

from __future__ import annotations

import numpy as np
from ase import Atoms, units
from ase.md.velocitydistribution import Stationary, ZeroRotation, force_temperature

#: Momenta of all atoms together that are so small beside their own, or moments of inertia (u
#: Angstrom^2), are zero.
STILL = 1e-6


def degrees_of_freedom(atoms: Atoms) -> int:
    """That can move without a thermostat: total momenta that are zero stay so."""
    momenta, away = atoms.get_momenta(), atoms.positions - atoms.get_center_of_mass()
    rest = STILL * np.abs(momenta).sum()
    resting = 3 if np.linalg.norm(momenta.sum(axis=0)) <= rest else 0
    if np.linalg.norm(np.cross(away, momenta).sum(axis=0)) <= rest * np.abs(away).max():
        # About as many axes as it has an extent around: of a lone atom none, of a line two.
        resting += int((atoms.get_moments_of_inertia() > STILL).sum())
    return max(1, 3 * len(atoms) - resting)


def draw_velocities(
    atoms: Atoms, temperature_K: float, rng: np.random.Generator, conserved: bool
) -> None:
    """Momenta at a temperature, of no translation and no rotation, into the atoms.

    conserved : a thermostat will not bring these back, so all of the energy goes to the others.
    """
    # Maxwell-Boltzmann: each momentum is Gaussian with variance m k T.  ASE's function for it
    # has another name in each of its recent versions.
    spread = np.sqrt(atoms.get_masses() * units.kB * temperature_K)[:, None]
    atoms.set_momenta(spread * rng.standard_normal((len(atoms), 3)))
    if len(atoms) > 1:  # a lone atom has no motion but that of its centre
        Stationary(atoms, preserve_temperature=False)
        with np.errstate(divide="ignore", invalid="ignore"):  # about the axis of a straight one
            ZeroRotation(atoms, preserve_temperature=False)
        if temperature_K > 0:
            force_temperature(atoms, temperature_K)
            if conserved:  # none of it will ever go into translation and rotation
                share = degrees_of_freedom(atoms) / (3 * len(atoms))
                atoms.set_momenta(atoms.get_momenta() * np.sqrt(share))
