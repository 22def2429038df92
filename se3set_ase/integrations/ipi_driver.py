"""A driver for i-PI that evaluates all beads of a path integral in one pass, each refragmented.

Pass this file to i-PI's own driver, and set ``batch_size`` of its ``ffsocket`` to the number of
beads:

    i-pi-driver-py -u -a ADDRESS -m custom -P se3set_ase/integrations/ipi_driver.py \
        -o MOLECULE.xyz,model=acac
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from se3set_ase.integrations.replicas import Replicas
from se3set_ase.potential import Potential
from se3set_ase.system import UnsupportedSystem

_missing: ImportError | None = None
try:
    from ipi.pes import load_pes
    from ipi.utils.units import unit_to_internal

    ASEDriver: Any = load_pes("ase", None)
except ImportError as error:
    ASEDriver, _missing = object, error

# i-PI finds the class by these names.
__DRIVER_NAME__ = "se3set"
__DRIVER_CLASS__ = "SE3SetDriver"

#: Results for i-PI in atomic units: energy, forces (N, 3), virial (3, 3), extras.
Computed = tuple[float, np.ndarray, np.ndarray, str]


class SE3SetDriver(ASEDriver):
    """Energies and forces for i-PI; the arguments are options of its driver.

    The cell of i-PI is ignored, and the virial is zero, so constant pressure is not possible.

    Parameters
    ----------
    template : file that ASE reads, with the elements in the order of i-PI, and charge and spin if
        they are declared.
    model : name of a bundled model, or path of a model folder.
    verbose : for i-PI.
    **options : options of :class:`se3set_ase.Potential`: ``device``, ``dtype``, ``compile``.

    Raises
    ------
    ImportError : i-PI is not installed.
    UnsupportedSystem : the model does not support this molecule.
    FileNotFoundError, CheckpointError, ValueError : see :class:`se3set_ase.Potential`.
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
        """Read the molecule, and refuse unsupported ones before i-PI starts."""
        super().check_parameters()
        if (pbc := self.template_ase.pbc).any():
            raise UnsupportedSystem(
                f"expected an isolated molecule, got periodic boundaries {pbc.tolist()}: the "
                "driver has no virial; write the template without a cell"
            )
        self.replicas.potential.check_declared(self.template_ase, 0, 1)

    def compute(self, cell: Any, pos: Any) -> Any:
        """Results for one structure, or for a list of structures in one pass.

        Parameters
        ----------
        cell : (3, 3), or a list; ignored.
        pos : (N, 3) in Bohr, or a list.

        Returns
        -------
        A :data:`Computed`, or a list.

        Raises
        ------
        ValueError : see :meth:`se3set_ase.Potential.predict`.
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
