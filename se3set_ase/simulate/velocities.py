"""Initial velocities of molecular dynamics, and degrees of freedom."""

from __future__ import annotations

import numpy as np
from ase import Atoms, units
from ase.md.velocitydistribution import Stationary, ZeroRotation, force_temperature

#: Total momenta this small relative to those of the atoms, and moments of inertia (u Angstrom^2)
#: this small, count as zero.
STILL = 1e-6


def free_coordinates(atoms: Atoms) -> int:
    """Number of coordinates that constraints do not hold.

    Raises
    ------
    ValueError : a constraint that molecular dynamics cannot keep.
    """
    # Atoms.get_number_of_degrees_of_freedom came with ASE 3.24.
    free = 3 * len(atoms)
    for constraint in atoms.constraints:
        try:
            free -= int(constraint.get_removed_dof(atoms))
        except (NotImplementedError, AttributeError) as error:
            raise ValueError(
                "expected constraints that molecular dynamics can keep, got "
                f"{type(constraint).__name__}, which does not say how many degrees of freedom it "
                "removes; remove it with atoms.set_constraint()"
            ) from error
    return free


def degrees_of_freedom(atoms: Atoms, conserved: bool) -> int:
    """Number of degrees of freedom that can move.

    conserved : there is no thermostat, so that zero total momenta stay zero.
    """
    free = free_coordinates(atoms)
    if not conserved or atoms.constraints:  # most constraints fix the molecule in space
        return max(1, free)
    momenta, away = atoms.get_momenta(), atoms.positions - atoms.get_center_of_mass()
    rest = STILL * np.abs(momenta).sum()
    resting = 3 if np.linalg.norm(momenta.sum(axis=0)) <= rest else 0
    turning = not atoms.pbc.any()  # a cell does not conserve angular momentum
    if turning and np.linalg.norm(np.cross(away, momenta).sum(axis=0)) <= rest * np.abs(away).max():
        # Rotations about axes with an extent: none for an isolated atom, two for a linear molecule.
        resting += int((atoms.get_moments_of_inertia() > STILL).sum())
    return max(1, free - resting)


def draw_velocities(
    atoms: Atoms, temperature_K: float, rng: np.random.Generator, conserved: bool
) -> None:
    """Set random momenta at a temperature, without translation and rotation of the molecule.

    The momenta of a periodic system may rotate.
    With constraints translation and rotation are kept, because constrained atoms stay in place.

    conserved : no thermostat excites translation and rotation, so the others get all the energy.
    """
    # Maxwell-Boltzmann: each momentum is Gaussian with variance m k T. The name of ASE's function
    # for this differs between versions.
    spread = np.sqrt(atoms.get_masses() * units.kB * temperature_K)[:, None]
    atoms.set_momenta(spread * rng.standard_normal((len(atoms), 3)))
    free = free_coordinates(atoms)
    if len(atoms) > 1 and not atoms.constraints:  # an isolated atom has only translation
        Stationary(atoms, preserve_temperature=False)
    if len(atoms) > 1 and not atoms.constraints and not atoms.pbc.any():
        with np.errstate(divide="ignore", invalid="ignore"):  # about the axis of a linear molecule
            ZeroRotation(atoms, preserve_temperature=False)
    if len(atoms) > 1 and free and temperature_K > 0:
        force_temperature(atoms, temperature_K)
        # If momenta are conserved, translation and rotation never get energy.
        share = degrees_of_freedom(atoms, conserved) / free
        atoms.set_momenta(atoms.get_momenta() * np.sqrt(share))
