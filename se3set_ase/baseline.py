"""The baseline method of a model that is a correction: GFN2-xTB, or any ASE calculator."""

from __future__ import annotations

import importlib
import importlib.metadata
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator

from se3set_ase.checkpoint.metadata import BaselineMethod

#: Returns an ASE calculator for the options of a baseline method, charge and spin multiplicity.
CalculatorFactory = Callable[..., Calculator]

#: Options of tblite. At its default accuracy, second differences of forces are noise of
#: 1e-3 eV/Angstrom.
TBLITE = {"accuracy": 0.01, "verbosity": 0}
#: Methods whose calculator is made from the name alone.
KNOWN: Mapping[str, BaselineMethod] = {
    name: BaselineMethod(
        name=name,
        calculator="tblite.ase:TBLite",
        options={"method": name, **TBLITE},
        state_arguments=("charge", "multiplicity"),
        package="tblite",
    )
    for name in ("GFN1-xTB", "GFN2-xTB")
}
#: Displacement for second derivatives, Angstrom.
DISPLACEMENT = 1e-3


@dataclass(frozen=True, kw_only=True)
class BaselineResult:
    """Results of the baseline method for one molecule of N atoms.

    Attributes
    ----------
    energy : eV.
    forces : (N, 3) eV/Angstrom.
    energies : (N,) eV, contributions of the atoms; None if the method has none.
    charges : (N,) e; None if the method has none.
    dipole : (3,) e Angstrom; None if the method has none.
    """

    energy: float
    forces: np.ndarray
    energies: np.ndarray | None = None
    charges: np.ndarray | None = None
    dipole: np.ndarray | None = None


class Baseline:
    """The baseline method, following one moving molecule.

    Parameters
    ----------
    method : what the model was trained on.
    make : the class of the calculator, or a function that returns one. It is needed for methods
        other than :data:`KNOWN`, because the file of a model must not choose what is imported.

    Raises
    ------
    ImportError : the program is not installed.
    ValueError : a method without a known calculator, and no ``make``.
    """

    def __init__(self, method: BaselineMethod, make: CalculatorFactory | None = None):
        self.method = method
        if make is None:
            known = KNOWN.get(method.name)
            if known is None or known.calculator != method.calculator:
                raise ValueError(
                    f"expected the calculator of {method.name}, which this model corrects, as "
                    f"baseline (it was trained with {method.calculator}), got none"
                )
            make = imported(method)
        self.make = make
        self._calculators: dict[tuple[int, int], Calculator] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Calculators of compiled programs cannot be copied; they are made again when needed.
        return {**self.__dict__, "_calculators": {}}

    def another(self) -> Baseline:
        """Make a copy for another molecule."""
        return Baseline(self.method, self.make)

    def evaluate(
        self, numbers: np.ndarray, positions: np.ndarray, charge: int, spin_multiplicity: int
    ) -> BaselineResult:
        """Energy and forces of one geometry.

        Parameters
        ----------
        numbers, positions : (N,) atomic numbers and (N, 3) Angstrom.
        charge, spin_multiplicity : of the molecule. An isolated atom has the lowest multiplicity
            that its electrons allow, because the model's atomic energy is relative to that.

        Raises
        ------
        CalculationFailed : the method has no result; the text names it.
        """
        if len(numbers) == 1:
            spin_multiplicity = 1 + (int(numbers[0]) - charge) % 2
        atoms = Atoms(numbers, positions)
        state = charge, spin_multiplicity
        if charge and not self.method.state_arguments:
            raise CalculationFailed(
                f"expected a neutral molecule, because {self.method.name}, the baseline of the "
                f"model, takes no charge, got charge {charge}"
            )
        try:
            if state not in self._calculators:
                names = dict(zip(self.method.state_arguments, state, strict=False))
                self._calculators[state] = self.make(**{**self.method.options, **names})
            atoms.calc = self._calculators[state]
            energy, forces = float(atoms.get_potential_energy()), atoms.get_forces()
        except Exception as error:  # of any program
            self._calculators.pop(state, None)  # it may start from the failed state
            raise CalculationFailed(
                f"{self.method.name}, the baseline of the model, failed for "
                f"{atoms.get_chemical_formula()} with charge {charge}: {error}"
            ) from error
        found = {
            name: np.array(atoms.calc.results[name])
            for name in ("energies", "charges", "dipole")
            if name in atoms.calc.results
        }
        if not np.isfinite([energy, *np.ravel(forces)]).all():
            raise CalculationFailed(
                f"expected finite energies and forces of {self.method.name}, the baseline of the "
                f"model, got NaN or infinity for {atoms.get_chemical_formula()}"
            )
        shift = charge * self.method.energy_per_charge
        if "energies" in found:
            found["energies"] += shift / len(atoms)
        return BaselineResult(energy=energy + shift, forces=np.array(forces), **found)

    def hessian(
        self, numbers: np.ndarray, positions: np.ndarray, charge: int, spin_multiplicity: int
    ) -> np.ndarray:
        """Second derivatives (3N, 3N) eV/Angstrom^2, by central differences of forces."""
        forces = self._differences(numbers, positions, charge, spin_multiplicity, "forces")
        assert forces is not None
        return -(forces + forces.T) / 2.0

    def dipole_derivatives(
        self, numbers: np.ndarray, positions: np.ndarray, charge: int, spin_multiplicity: int
    ) -> np.ndarray | None:
        """Derivatives of the dipole (3N, 3) e, by central differences; None without dipoles."""
        return self._differences(numbers, positions, charge, spin_multiplicity, "dipole")

    def _differences(
        self,
        numbers: np.ndarray,
        positions: np.ndarray,
        charge: int,
        spin_multiplicity: int,
        name: str,
    ) -> np.ndarray | None:
        """Derivatives (3N, ...) of a result with respect to the positions; None without it."""
        rows = []
        for k in range(positions.size):
            found = []
            for sign in (1.0, -1.0):
                moved = positions.copy()
                moved.flat[k] += sign * DISPLACEMENT
                result = self.evaluate(numbers, moved, charge, spin_multiplicity)
                if (value := getattr(result, name)) is None:
                    return None
                found.append(np.ravel(value))
            rows.append((found[0] - found[1]) / (2.0 * DISPLACEMENT))
        return np.array(rows)


def imported(method: BaselineMethod) -> CalculatorFactory:
    """Import the calculator of a method, and compare the version of its program.

    Raises
    ------
    ImportError : the program is not installed.
    """
    module, _, name = method.calculator.partition(":")
    try:
        make: CalculatorFactory = getattr(importlib.import_module(module), name)
    except AttributeError as error:
        raise ImportError(f"expected the class {name} in {module}: {error}") from error
    except ImportError as error:
        extra = ": pip install 'se3set-ase[xtb]'" if method.name in KNOWN else ""
        raise ImportError(
            f"this model is a correction to {method.name}, which needs {module}{extra}"
        ) from error
    installed = version_of(method.package)
    if method.version and installed != method.version:
        warnings.warn(
            f"the model was trained with {method.package} {method.version} as its baseline, and "
            f"version {installed} is installed: energies may differ",
            UserWarning,
            stacklevel=2,
        )
    return make


def version_of(package: str) -> str:
    """Version of an installed package; empty if unknown."""
    try:
        return importlib.metadata.version(package)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return ""
