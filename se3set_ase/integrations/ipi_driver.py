"""The driver for i-PI: all the beads of a path integral in one pass, each refragmented.

Give i-PI's own driver this file, and i-PI's ``ffsocket`` a ``batch_size`` of as many as its beads:

    i-pi-driver-py -u -a ADDRESS -m custom -P se3set_ase/ipi_driver.py -o MOLECULE.xyz,model=acac
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from se3set_ase.integrations.replicas import Replicas
from se3set_ase.potential import Potential

_missing: ImportError | None = None
try:
    from ipi.pes import load_pes
    from ipi.utils.units import unit_to_internal

    ASEDriver: Any = load_pes("ase", None)
except ImportError as error:
    ASEDriver, _missing = object, error

# By these i-PI finds the class.
__DRIVER_NAME__ = "se3set"
__DRIVER_CLASS__ = "SE3SetDriver"

#: What i-PI takes for a structure, in atomic units: energy, forces (N, 3), virial (3, 3), extras.
Computed = tuple[float, np.ndarray, np.ndarray, str]


class SE3SetDriver(ASEDriver):
    """What i-PI calls for energies and forces; the options of its driver come as arguments.

    The cell that i-PI keeps is not looked at, and the virial is zero: no constant pressure.

    Parameters
    ----------
    template : file of the molecule, which ASE can read: elements in the order that i-PI has them,
        charge and spin if it tells them.
    model : name of a bundled model, or path of a model folder.
    verbose : for i-PI.
    **options : of :class:`se3set_ase.Potential`: ``device``, ``dtype``, ``compile``.

    Raises
    ------
    ImportError : i-PI is not installed.
    UnsupportedSystem : the model was not made for this molecule.
    FileNotFoundError, CheckpointError, ValueError : as :class:`se3set_ase.Potential`.
    """

    def __init__(
        self,
        template: str | os.PathLike[str],
        model: str | os.PathLike[str],
        *,
        verbose: bool = False,
        **options: Any,
    ):
        if _missing is not None:
            raise ImportError(
                'SE3SetDriver needs i-PI: pip install "se3set-ase[ipi]"'
            ) from _missing
        self.replicas = Replicas(Potential(model, **options))
        super().__init__(template, has_stress=False, verbose=verbose)

    def check_parameters(self) -> None:
        """Read the molecule, and refuse what the model does not know before i-PI begins."""
        super().check_parameters()
        self.replicas.potential.check_declared(self.template_ase, 0, 1)

    def compute(self, cell: Any, pos: Any) -> Any:
        """Of one structure, or of a list of them in one pass.

        Parameters
        ----------
        cell : (3, 3), or a list of such; not looked at.
        pos : (N, 3) in Bohr, or a list of such.

        Returns
        -------
        A :data:`Computed`, or a list of such.

        Raises
        ------
        ValueError : as :meth:`se3set_ase.Potential.predict`.
        """
        if isinstance(pos, list):
            return self._compute(cell, pos)
        return self._compute([cell], [pos])[0]

    def _compute(self, cells: list[np.ndarray], positions: list[np.ndarray]) -> list[Computed]:
        molecules = []
        for cell, pos in zip(cells, positions, strict=True):
            atoms = self.template_ase.copy()
            _, atoms.positions = self.convert_units(cell, pos)
            molecules.append(atoms)
        return [
            (
                unit_to_internal("energy", "electronvolt", found.energy),
                unit_to_internal("force", "ev/ang", found.forces),
                np.zeros((3, 3)),
                "",
            )
            for found in self.replicas.predict(molecules)
        ]
