"""What every method takes and gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.geometry import get_distances

from se3set_ase.system import declared_charge_and_spin

#: Atoms nearer than this share of the sum of their covalent radii overlap; H2 has 1.2.
OVERLAP = 0.5


class LabelError(RuntimeError):
    """A geometry that the method gives no trustworthy label for."""


@dataclass(frozen=True, kw_only=True)
class Label:
    """Results of a method for one geometry; ``dipole`` and ``charges`` are None where it has none.

    Attributes
    ----------
    energy : total, eV.
    forces : (N, 3), eV/Angstrom.
    dipole : (3,), e Angstrom; of an ion about the origin of the positions.
    charges : (N,), partial charges, e.
    info : further results, written into ``atoms.info``.
    """

    energy: float
    forces: np.ndarray
    dipole: np.ndarray | None = None
    charges: np.ndarray | None = None
    info: dict[str, Any] = field(default_factory=dict)


class Labeller(Protocol):
    """A method of quantum chemistry with its settings. Can be sent to another process."""

    @property
    def level_of_theory(self) -> str:
        """Written with each label."""

    def settings(self) -> dict[str, Any]:
        """All that is needed to make the labels again, versions included; JSON."""

    def __call__(self, atoms: Atoms) -> Label:
        """Label one geometry; LabelError, or what the program raises, where there is no label."""


def charge_and_spin(
    atoms: Atoms, charge: int | None, spin_multiplicity: int | None
) -> tuple[int, int]:
    """Charge and spin multiplicity of a geometry that is about to be labelled.

    Parameters
    ----------
    charge, spin_multiplicity : that the user asked for; None takes what the atoms declare, and a
        neutral singlet where they declare nothing.

    Raises
    ------
    LabelError : the atoms declare something else than was asked for, or have a number of electrons
        that cannot have this spin.
    """
    declared = declared_charge_and_spin(atoms)
    for name, asked in (("charge", charge), ("spin_multiplicity", spin_multiplicity)):
        if asked is not None and declared.get(name, asked) != asked:
            raise LabelError(f"expected {name} {asked}, which was asked for, got {declared[name]}")
    if charge is None:
        charge = declared.get("charge", 0)
    if spin_multiplicity is None:
        spin_multiplicity = declared.get("spin_multiplicity", 1)
    electrons = int(atoms.numbers.sum()) - charge
    if (electrons - spin_multiplicity) % 2 == 0:
        raise LabelError(
            "expected a number of electrons that allows spin_multiplicity "
            f"{spin_multiplicity}, got {electrons} for {atoms.get_chemical_formula()} with charge "
            f"{charge}"
        )
    return charge, spin_multiplicity


def check_overlap(atoms: Atoms) -> None:
    """Raise LabelError where atoms lie on top of each other."""
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
