"""GFN2-xTB as a function of positions, and relaxations on it."""

from __future__ import annotations

import numpy as np
import tblite.interface
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes
from ase.data import covalent_radii
from ase.optimize import BFGS
from ase.units import Bohr, Hartree

#: Displacement of finite differences, A.
STEP = 0.002
#: Force constant of restraints, eV/A^2.
STIFFNESS = 40.0
#: Damping factors of the self-consistent field, tried in order, and the most iterations with each.
DAMPING, ITERATIONS = (0.4, 0.2), 70
#: Longest bond, in units of the sum of covalent radii.
BONDED = 1.3
#: Atoms closer than this overlap, in the same units.
OVERLAP = 0.65


class Surface:
    """GFN2-xTB energy and gradient of one set of atoms, as functions of the positions.

    Raises
    ------
    CalculationFailed : when called, if the self-consistent field does not converge.
    """

    def __init__(self, numbers: np.ndarray, charge: int) -> None:
        self.numbers = np.asarray(numbers)
        self.charge = charge
        self._calculator: tblite.interface.Calculator | None = None
        self._results: tblite.interface.Result | None = None

    def __call__(self, positions: np.ndarray, *, near: bool = False) -> tuple[float, np.ndarray]:
        """Compute the energy (eV) and the gradient (N, 3), eV/A.

        Parameters
        ----------
        near : start from the density of the last call. This is faster, but if two electronic states
            are close, the energy depends on the history. For small displacements only.
        """
        last, self._results = self._results, None
        attempts = [(damping, last if near else None) for damping in DAMPING]
        if last is not None and not near:  # some ions converge only from a similar density
            attempts.append((DAMPING[0], last))
        for damping, start in attempts:
            try:
                if self._calculator is None:
                    self._calculator = tblite.interface.Calculator(
                        "GFN2-xTB", self.numbers, positions / Bohr, charge=self.charge
                    )
                    self._calculator.set("verbosity", 0)
                    self._calculator.set("max-iter", ITERATIONS)
                self._calculator.set("mixer-damping", damping)
                self._calculator.update(positions / Bohr)
                results = self._calculator.singlepoint(start)
                break
            except RuntimeError as error:
                reason = str(error)
        else:
            raise CalculationFailed(reason)
        self._results = results
        return float(results["energy"]) * Hartree, results["gradient"] * (Hartree / Bohr)

    def hessian(self, positions: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Compute second derivatives (3N, 3N) by forward differences, eV/A^2.

        Parameters
        ----------
        gradient : (N, 3) at these positions, eV/A.
        """
        rows = []
        for index in range(positions.size):
            shift = np.zeros(positions.size)
            shift[index] = STEP
            shifted = self(positions + shift.reshape(positions.shape), near=True)[1]
            rows.append((shifted - gradient).ravel() / STEP)
        hessian = np.array(rows)
        return (hessian + hessian.T) / 2


class _Restrained(Calculator):
    """A surface with harmonic restraints on some distances."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 (ASE's own convention)

    def __init__(self, surface: Surface, lengths: dict[tuple[int, int], float]) -> None:
        super().__init__()
        self.surface, self.lengths = surface, lengths

    def calculate(
        self, atoms: Atoms, properties: list[str], system_changes: list[str] = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        energy, gradient = self.surface(self.atoms.positions)
        gradient = gradient.copy()
        for (i, j), length in self.lengths.items():
            vector = self.atoms.positions[i] - self.atoms.positions[j]
            distance = np.linalg.norm(vector)
            energy += float(STIFFNESS / 2 * (distance - length) ** 2)
            pull = STIFFNESS * (distance - length) * vector / distance
            gradient[i] += pull
            gradient[j] -= pull
        self.results = {"energy": energy, "forces": -gradient}


def restrained(
    surface: Surface, positions: np.ndarray, lengths: dict[tuple[int, int], float]
) -> tuple[float, np.ndarray]:
    """Relax with restraints; returns the energy with these (eV) and the positions (A)."""
    atoms = Atoms(surface.numbers, positions)
    atoms.calc = _Restrained(surface, lengths)
    BFGS(atoms, logfile=None, maxstep=0.15).run(fmax=0.4, steps=30)
    return atoms.get_potential_energy(), atoms.positions.copy()


def descend(surface: Surface, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Relax downhill, and return the positions and energies of all steps."""
    atoms = Atoms(surface.numbers, positions)
    atoms.calc = _Restrained(surface, {})
    images, energies = [], []
    # ASE's BFGS uses absolute values of curvatures, so it does not return to the saddle point.
    for _ in BFGS(atoms, logfile=None, maxstep=0.08).irun(fmax=0.06, steps=120):
        images.append(atoms.positions.copy())
        energies.append(atoms.get_potential_energy())
    return np.array(images), np.array(energies)


def bonded_atoms(numbers: np.ndarray, positions: np.ndarray) -> np.ndarray | None:
    """(N, N) whether atoms are close enough for a bond; None if two atoms overlap."""
    radii = covalent_radii[numbers]
    ratio = np.linalg.norm(positions[:, None] - positions, axis=-1) / (radii[:, None] + radii)
    np.fill_diagonal(ratio, np.inf)
    return None if ratio.min() < OVERLAP else ratio < BONDED
