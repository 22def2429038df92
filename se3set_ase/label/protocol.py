"""The interface of all labellers, and the checks that they share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.geometry import get_distances

from se3set_ase.system import declared_charge_and_spin

#: Atoms closer than this multiple of the sum of their covalent radii overlap. In H2 it is 1.2.
OVERLAP = 0.5


class LabelError(RuntimeError):
    """The method gives no reliable label for a geometry."""


@dataclass(frozen=True, kw_only=True)
class Label:
    """Results of a method for one geometry.

    Attributes
    ----------
    energy : total energy, eV.
    forces : (N, 3), eV/Angstrom.
    dipole : (3,), e Angstrom; for ions, with respect to the origin of the positions. None if the
        method has no dipole.
    charges : (N,) partial charges, e; None if the method has none.
    info : further results, for ``atoms.info``.
    """

    energy: float
    forces: np.ndarray
    dipole: np.ndarray | None = None
    charges: np.ndarray | None = None
    info: dict[str, Any] = field(default_factory=dict)


class Labeller(Protocol):
    """A method of quantum chemistry with its settings. It can be sent to another process."""

    @property
    def level_of_theory(self) -> str:
        """Name that is stored with each label."""

    def settings(self) -> dict[str, Any]:
        """Return everything needed to reproduce the labels, including versions, for JSON."""

    def __call__(self, atoms: Atoms) -> Label:
        """Label one geometry; raises LabelError, or an exception of the program."""


def charge_and_spin(
    atoms: Atoms, charge: int | None, spin_multiplicity: int | None
) -> tuple[int, int]:
    """Decide the charge and spin multiplicity of a geometry.

    Parameters
    ----------
    charge, spin_multiplicity : as requested by the user. None takes what the atoms declare; atoms
        that declare nothing are a neutral singlet.

    Raises
    ------
    LabelError : the atoms declare other values than requested, or their number of electrons does
        not fit the spin multiplicity.
    """
    declared = declared_charge_and_spin(atoms)
    for name, requested in (("charge", charge), ("spin_multiplicity", spin_multiplicity)):
        if requested is not None and declared.get(name, requested) != requested:
            raise LabelError(
                f"expected {name} {requested}, as requested, but the molecule declares "
                f"{declared[name]}"
            )
    if charge is None:
        charge = declared.get("charge", 0)
    if spin_multiplicity is None:
        spin_multiplicity = declared.get("spin_multiplicity", 1)
    electrons = int(atoms.numbers.sum()) - charge
    if (electrons - spin_multiplicity) % 2 == 0:
        raise LabelError(
            f"expected a number of electrons that fits spin_multiplicity {spin_multiplicity}, got "
            f"{electrons} for {atoms.get_chemical_formula()} with charge {charge}"
        )
    return charge, spin_multiplicity


def check_overlap(atoms: Atoms) -> None:
    """Raise LabelError if two atoms overlap."""
    if len(atoms) < 2:
        return
    _, distances = get_distances(atoms.positions)
    radii = covalent_radii[atoms.numbers]
    ratios = distances / np.add.outer(radii, radii) + 10.0 * np.eye(len(atoms))
    i, j = np.unravel_index(ratios.argmin(), ratios.shape)
    if ratios[i, j] < OVERLAP:
        raise LabelError(
            f"expected no overlapping atoms, got {atoms.symbols[i]}{i} and {atoms.symbols[j]}{j} "
            f"at a distance of {distances[i, j]:.2f} A"
        )
