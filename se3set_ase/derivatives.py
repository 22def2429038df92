"""Derivatives beyond the forces, of the calculator."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError

from se3set_ase._lock import Lock
from se3set_ase.pipeline import Replica
from se3set_ase.potential import Potential, Prediction


class Derivatives(Calculator):
    """A calculator with second derivatives of the energy, and derivatives of the dipole."""

    potential: Potential
    _replica: Replica
    _prediction: Prediction | None
    _lock: Lock

    def get_hessian(self, atoms: Atoms | None = None) -> np.ndarray:
        """Second derivatives of the energy, analytical but for those of a baseline.

        Parameters
        ----------
        atoms : by default those of the last calculation.

        Returns
        -------
        (3N, 3N) eV/Angstrom^2, x y z of the first atom, then of the second, ..., for
        :meth:`ase.vibrations.VibrationsData.from_2d`.

        Raises
        ------
        InputError : see the class docstring.
        """
        with self._lock:
            self.get_potential_energy(atoms)
            assert self._prediction is not None
            hypergraph = self._prediction.hypergraph
            charge = self._prediction.charge
            correction = self.potential.hessian(
                hypergraph.structure, hypergraph.positions, charge, hypergraph.cell
            )
            return correction + self._replica.baseline_hessian()

    def get_dipole_derivatives(self, atoms: Atoms | None = None) -> np.ndarray:
        """Derivatives of the dipole with respect to the positions, as for infrared intensities.

        Parameters
        ----------
        atoms : by default those of the last calculation.

        Returns
        -------
        (3N, 3) e, rows as in :meth:`get_hessian`, columns x y z of the dipole.

        Raises
        ------
        PropertyNotImplementedError : neither the model nor its baseline has a dipole.
        InputError : see the class docstring.
        """
        with self._lock:
            self.get_potential_energy(atoms)
            assert self._prediction is not None
            found = self._replica.baseline_dipole_derivatives()
            h, charge = self._prediction.hypergraph, self._prediction.charge
            if h.cell is not None:
                raise PropertyNotImplementedError("a cell has no dipole")
            if self._replica.baseline is None and self.potential.model.has_charges:
                found = self.potential.dipole_derivatives(h.structure, h.positions, charge)
        if found is None:
            raise PropertyNotImplementedError(
                f"model {self.potential.metadata.name!r} has no charges, hence no dipole"
            )
        return found
