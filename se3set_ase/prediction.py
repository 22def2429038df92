"""Prediction for one molecule, and the interface of potentials."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from se3set_ase.checkpoint.metadata import ModelMetadata
from se3set_ase.hypergraph.structure import Hypergraph
from se3set_ase.hypergraph.weighted import WeightedHypergraph


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Results for one molecule of N atoms.

    Attributes
    ----------
    energy : eV.
    energies : (N,) eV, contributions of the atoms, which add up to it.
    forces : (N, 3) eV/Angstrom, its negative gradient.
    hypergraph : the weighted hypergraph.
    """

    energy: float
    energies: np.ndarray
    forces: np.ndarray
    hypergraph: WeightedHypergraph

    @property
    def results(self) -> dict[str, Any]:
        """Copies of the results by their names in ASE."""
        return {
            "energy": self.energy,
            "free_energy": self.energy,
            "energies": self.energies.copy(),
            "forces": self.forces.copy(),
        }


class Evaluator(Protocol):
    """What a committee needs of a :class:`se3set_ase.Potential`."""

    metadata: ModelMetadata

    def evaluate(
        self, hypergraphs: Sequence[Hypergraph], positions: Sequence[np.ndarray]
    ) -> list[Prediction]: ...

    def like(self, model: str | os.PathLike[str]) -> Evaluator: ...
