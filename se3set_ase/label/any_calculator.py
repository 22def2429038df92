"""Any ASE calculator as a labeller."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from ase import Atoms

from se3set_ase.label.protocol import Label, charge_and_spin, check_overlap


@dataclass(frozen=True, kw_only=True)
class AnyCalculator:
    """Makes a new ASE calculator for each geometry, so that labels do not affect each other.

    Attributes
    ----------
    calculator : ``module:Class``.
    level_of_theory : name that is stored with each label.
    arguments : keyword arguments of the calculator.
    charge, spin_multiplicity : the same for all molecules, or None for what each molecule declares.
    names : keyword arguments of the calculator for charge and spin multiplicity; empty if
        ``arguments`` already has them.
    """

    calculator: str
    level_of_theory: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    charge: int | None = None
    spin_multiplicity: int | None = None
    names: tuple[str, ...] = ()

    def settings(self) -> dict[str, Any]:
        """Return the program with its version, and all attributes."""
        package = self.calculator.split(".")[0].split(":")[0]
        try:
            program = f"{package} {version(package)}"
        except PackageNotFoundError:
            program = f"{package} of unknown version"
        return {"program": program, **asdict(self)}

    def __call__(self, atoms: Atoms) -> Label:
        """Label one geometry; exceptions of the calculator are passed on."""
        state = charge_and_spin(atoms, self.charge, self.spin_multiplicity)
        check_overlap(atoms)
        atoms = Atoms(atoms.numbers, atoms.positions)  # without magnetic moments and the like
        atoms.calc = self.make()(**self.arguments, **dict(zip(self.names, state, strict=False)))
        energy, forces = float(atoms.get_potential_energy()), atoms.get_forces()
        found: dict[str, Any] = {
            name: np.array(atoms.calc.results[name])
            for name in ("dipole", "charges")
            if name in atoms.calc.results
        }
        return Label(energy=energy, forces=forces, **found)

    def make(self) -> Any:
        """Import the class of the calculator; ValueError if that fails."""
        module, _, name = self.calculator.partition(":")
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(
                f"expected MODULE:CLASS of an ASE calculator, got {self.calculator!r}: {error}"
            ) from error
