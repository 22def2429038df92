"""A method of ``se3set-ase label`` as an ASE calculator."""

from __future__ import annotations

from collections.abc import Sequence

from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes

from se3set_ase.label import LabelError, make_labeller


class LabelCalculator(Calculator):
    """Energy and forces by a labeller; charge and multiplicity are those of ``atoms.info``."""

    implemented_properties: Sequence[str] = ("energy", "forces")

    def __init__(self, method: str) -> None:
        super().__init__()
        self._label = make_labeller(method)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        try:
            label = self._label(self.atoms)
        except LabelError as error:
            raise CalculationFailed(str(error)) from error
        self.results = {"energy": label.energy, "forces": label.forces}
