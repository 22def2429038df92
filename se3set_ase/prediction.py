"""Prediction for one molecule, and the interface of potentials."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from se3set_ase.baseline import BaselineResult
from se3set_ase.checkpoint.metadata import ModelMetadata
from se3set_ase.hypergraph.structure import Hypergraph
from se3set_ase.hypergraph.weighted import WeightedHypergraph


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Results for one molecule of N atoms.

    Attributes
    ----------
    energy : eV.
    energies : (N,) eV, contributions of the atoms, which add up to it; those of the correction
        alone if the model has a baseline without energies of atoms.
    forces : (N, 3) eV/Angstrom, its negative gradient.
    hypergraph : the weighted hypergraph.
    charge : e, total charge of the molecule.
    charges : (N,) e, predicted charges of the atoms, which add up to it; None if the model has
        none. Those of a baseline are in ``baseline``.
    baseline : results of the baseline method, which are included; None if the model has none.
    """

    energy: float
    energies: np.ndarray
    forces: np.ndarray
    hypergraph: WeightedHypergraph
    charge: int = 0
    charges: np.ndarray | None = None
    baseline: BaselineResult | None = None

    @property
    def dipole(self) -> np.ndarray | None:
        """(3,) e Angstrom, of the predicted charges; relative to the origin, for ions."""
        if self.charges is None:
            return None
        found: np.ndarray = self.charges @ self.hypergraph.positions  # i, ix -> x
        return found

    @property
    def results(self) -> dict[str, Any]:
        """Copies of the results by their names in ASE."""
        found = {"energy": self.energy, "free_energy": self.energy, "forces": self.forces.copy()}
        base = self.baseline
        if base is None or base.energies is not None:
            found["energies"] = self.energies.copy()
        # A method that was made for them has better charges than a correction to it.
        source = self if base is None else base
        values = {"charges": source.charges, "dipole": source.dipole}
        return found | {name: value.copy() for name, value in values.items() if value is not None}

    @property
    def correction(self) -> Prediction:
        """Contribution of the network, without the baseline."""
        base = self.baseline
        if base is None:
            return self
        energies = self.energies if base.energies is None else self.energies - base.energies
        return replace(
            self,
            energy=self.energy - base.energy,
            energies=energies,
            forces=self.forces - base.forces,
            baseline=None,
        )

    def on(self, base: BaselineResult) -> Prediction:
        """The sum of this correction and a baseline."""
        energies = self.energies if base.energies is None else self.energies + base.energies
        return replace(
            self,
            energy=self.energy + base.energy,
            energies=energies,
            forces=self.forces + base.forces,
            baseline=base,
        )


class Evaluator(Protocol):
    """What a committee needs of a :class:`se3set_ase.Potential`."""

    metadata: ModelMetadata

    def evaluate(
        self,
        hypergraphs: Sequence[Hypergraph],
        positions: Sequence[np.ndarray],
        charges: Sequence[int],
    ) -> list[Prediction]: ...

    def like(self, model: str | os.PathLike[str]) -> Evaluator: ...
