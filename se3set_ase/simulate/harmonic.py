"""Harmonic vibrations: frequencies, infrared intensities, thermochemistry, modes."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import PropertyNotImplementedError
from ase.thermochemistry import IdealGasThermo

from se3set_ase.calculator import SE3SetCalculator
from se3set_ase.io.text import table
from se3set_ase.simulate.steps import check_atoms, check_positive, require
from se3set_ase.system import declared_charge_and_spin

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["VibrationsResult", "vibrations"]

#: km/mol for (D/Angstrom)^2/u, as in :mod:`ase.vibrations.infrared`.
KM_PER_MOL = 42.255
#: eV/Angstrom: with a longer force the molecule is not at a stationary point.
STATIONARY = 0.02
#: Ratio of the smallest to the largest moment of inertia below which a molecule is linear.
LINEAR = 1e-4


@dataclass(frozen=True, kw_only=True, eq=False)
class VibrationsResult:
    """Harmonic vibrations of an isolated molecule, without translations and rotations.

    V = 3N - 6 modes, or 3N - 5 of a linear molecule, in ascending order; imaginary frequencies are
    negative numbers.

    Attributes
    ----------
    atoms : the molecule.
    frequencies : (V,) cm^-1, times ``scale``.
    modes : (V, N, 3) displacements in Angstrom u^(1/2), mass-weighted and of length 1, divided by
        the square roots of the masses.
    intensities : (V,) km/mol, infrared; None if the model has no dipole.
    scale : factor of the frequencies.
    longest_force : eV/Angstrom.
    linear : whether the molecule is linear.
    spin_multiplicity : of the molecule.
    """

    atoms: Atoms
    frequencies: np.ndarray
    modes: np.ndarray
    intensities: np.ndarray | None
    scale: float
    longest_force: float
    linear: bool
    spin_multiplicity: int = 1

    @property
    def n_imaginary(self) -> int:
        """Number of imaginary frequencies: 0 at a minimum, 1 at a saddle point."""
        return int((self.frequencies < 0).sum())

    @property
    def zero_point_energy(self) -> float:
        """eV, of the real frequencies."""
        real = self.frequencies[self.frequencies > 0]
        return 0.5 * float(real.sum()) * units.invcm

    def thermo(self, *, symmetry_number: int = 1) -> IdealGasThermo:
        """Thermochemistry of an ideal gas of rigid rotors and harmonic oscillators.

        ``thermo().get_gibbs_energy(298.15, 101325)`` is the Gibbs energy in eV.

        Raises
        ------
        ValueError : an imaginary frequency, or an isolated atom.
        """
        require(
            self.n_imaginary == 0,
            f"a minimum for thermochemistry, got {self.n_imaginary} imaginary frequencies",
        )
        require(len(self.atoms) > 1, "a molecule for thermochemistry, got an atom")
        require(bool((self.frequencies > 0).all()), "frequencies above 0 for thermochemistry")
        return IdealGasThermo(
            vib_energies=self.frequencies * units.invcm,
            geometry="linear" if self.linear else "nonlinear",
            potentialenergy=float(self.atoms.get_potential_energy()),
            atoms=self.atoms,
            symmetrynumber=symmetry_number,
            spin=(self.spin_multiplicity - 1) / 2,
        )

    def frames(self, mode: int, *, amplitude: float = 0.3, n_frames: int = 24) -> Iterator[Atoms]:
        """Yield one period of a mode, for a viewer.

        Parameters
        ----------
        mode : number of the mode, from 0.
        amplitude : Angstrom, largest displacement of an atom.
        """
        displacement = self.modes[mode] / np.linalg.norm(self.modes[mode], axis=1).max()
        for phase in np.arange(n_frames) * 2.0 * np.pi / n_frames:
            moved = self.atoms.copy()
            moved.positions += amplitude * np.sin(phase) * displacement
            yield moved

    def plot(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        width: float = 10.0,
        title: str = "",
    ) -> Figure:
        """Draw the infrared spectrum, or lines at the frequencies if there are no intensities.

        Parameters
        ----------
        path : picture to write.
        width : cm^-1, full width at half maximum of the bands.
        """
        from se3set_ase.simulate.plots import check_format, spectrum_figure

        if path is not None:
            check_format(path)
        figure = spectrum_figure(self, width, title)
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write frequencies and intensities; an imaginary frequency is negative."""
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["mode", "frequency_cm-1", "intensity_km_mol"])
            for k, frequency in enumerate(self.frequencies):
                strength = "" if self.intensities is None else f"{self.intensities[k]:.6g}"
                writer.writerow([k, f"{frequency:.6g}", strength])

    def write_modes(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write a trajectory of each mode, ``mode-000.xyz`` and so on, into an existing folder.

        Other files with such names are removed.
        """
        from ase.io import write

        for old in Path(folder).glob("mode-[0-9][0-9][0-9].xyz"):
            old.unlink()
        paths = []
        for k in range(len(self.frequencies)):
            paths.append(Path(folder) / f"mode-{k:03d}.xyz")
            write(paths[-1], list(self.frames(k)))
        return paths

    def __str__(self) -> str:
        rows = [
            [str(k), f"{f:.1f}" if f >= 0 else f"{-f:.1f}i"]
            + ([] if self.intensities is None else [f"{self.intensities[k]:.1f}"])
            for k, f in enumerate(self.frequencies)
        ]
        header = ["mode", "cm^-1"] + ([] if self.intensities is None else ["km/mol"])
        lines = [table(header, rows)] if rows else []
        return "\n".join([*lines, self.summary()])

    def summary(self) -> str:
        """Kind of the stationary point and zero-point energy, in one line."""
        kind = {0: "minimum", 1: "saddle point"}.get(
            self.n_imaginary, f"{self.n_imaginary} imaginary frequencies"
        )
        if self.longest_force > STATIONARY:
            kind = f"NOT at a stationary point (longest force {self.longest_force:.3f} eV/A)"
        scaled = "" if self.scale == 1.0 else f", frequencies times {self.scale:g}"
        return f"{kind}; zero-point energy {self.zero_point_energy:.4f} eV{scaled}"


def vibrations(atoms: Atoms, *, scale: float = 1.0) -> VibrationsResult:
    """Harmonic vibrations of a molecule from its second derivatives.

    Translations and rotations are projected out, and constraints are ignored. Relax the molecule
    first (``fmax=0.001``), or find the saddle point.

    Parameters
    ----------
    atoms : an isolated molecule with a :class:`se3set_ase.SE3SetCalculator`, and its masses; not
        changed.
    scale : factor of the frequencies, e.g. 0.95 to compare with experiment.

    Raises
    ------
    ValueError : no such calculator, a periodic cell, or a scale out of range.
    CalculatorError : see the calculator.
    """
    check_atoms(atoms)
    check_positive(scale=scale)
    require(not atoms.pbc.any(), "an isolated molecule, got a periodic cell")
    calc = atoms.calc
    require(
        isinstance(calc, SE3SetCalculator),
        f"atoms with an SE3SetCalculator, got {type(calc).__name__}",
    )
    hessian = calc.get_hessian(atoms)
    longest = float(np.linalg.norm(atoms.get_forces(apply_constraint=False), axis=1).max())
    basis, linear = internal_basis(atoms)
    root = np.repeat(np.sqrt(atoms.get_masses()), 3)  # ix
    weighted = basis.T @ (hessian / np.outer(root, root)) @ basis
    curvatures, vectors = np.linalg.eigh(weighted)
    # sqrt(eV / Angstrom^2 / u) is the frequency unit of ASE, times hbar an energy.
    energies = np.sign(curvatures) * np.sqrt(np.abs(curvatures)) * units._hbar * 1e10
    energies *= 1.0 / np.sqrt(units._e * units._amu)
    cartesian = (basis @ vectors) / root[:, None]  # ix, v
    intensities = None
    try:
        derivatives = calc.get_dipole_derivatives(atoms)
    except PropertyNotImplementedError:
        pass
    else:
        changes = (cartesian.T @ derivatives) / units.Debye  # v, x: D / Angstrom / u^(1/2)
        intensities = KM_PER_MOL * (changes**2).sum(axis=1)
    return VibrationsResult(
        atoms=_with_results(atoms),
        frequencies=scale * energies / units.invcm,
        modes=cartesian.T.reshape(-1, len(atoms), 3),
        intensities=intensities,
        scale=float(scale),
        longest_force=longest,
        linear=linear,
        spin_multiplicity=declared_charge_and_spin(atoms).get(
            "spin_multiplicity", int(calc.parameters["spin_multiplicity"])
        ),
    )


def internal_basis(atoms: Atoms) -> tuple[np.ndarray, bool]:
    """Mass-weighted directions without translation and rotation, (3N, V), and whether linear."""
    masses = atoms.get_masses()
    centred = atoms.positions - atoms.get_center_of_mass()
    root = np.sqrt(masses)
    moves = [np.outer(root, axis).ravel() for axis in np.eye(3)]
    moves += [(root[:, None] * np.cross(axis, centred)).ravel() for axis in np.eye(3)]
    inertia = np.linalg.svd(np.array(moves[3:]), compute_uv=False)
    linear = len(atoms) > 1 and bool(inertia[-1] ** 2 < LINEAR * inertia[0] ** 2)
    n_outer = 3 if len(atoms) == 1 else 5 if linear else 6
    left, _, _ = np.linalg.svd(np.array(moves).T, full_matrices=True)
    return left[:, n_outer:], linear


def _with_results(atoms: Atoms) -> Atoms:
    from ase.calculators.singlepoint import SinglePointCalculator

    copy = atoms.copy()
    copy.set_constraint()
    calc = atoms.calc
    results = {"energy": calc.get_potential_energy(atoms), "forces": calc.get_forces(atoms)}
    copy.calc = SinglePointCalculator(copy, **results)
    return copy
