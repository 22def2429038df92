"""Prediction for one molecule, and the interface of potentials."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from ase.stress import full_3x3_to_voigt_6_stress

from se3set_ase.baseline import BaselineResult
from se3set_ase.checkpoint.metadata import ModelMetadata
from se3set_ase.hypergraph.structure import Hypergraph
from se3set_ase.hypergraph.weighted import WeightedHypergraph
from se3set_ase.nn.graph import slices
from se3set_ase.nn.outputs import ROWS

#: Names in ASE of what every model predicts; the stress only in periodic cells.
PROPERTIES = ("energy", "free_energy", "energies", "forces", "stress")


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Results for one molecule of N atoms.

    Attributes
    ----------
    energy : eV.
    energies : (N,) eV, contributions of the atoms, which add up to it; those of the correction
        alone if the model has a baseline without energies of atoms.
    forces : (N, 3) eV/Angstrom, its negative gradient.
    stress : (6,) eV/Angstrom^3, xx, yy, zz, yz, xz, xy, positive if the cell would contract, as in
        ASE; None without a periodic cell of three vectors.
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
    stress: np.ndarray | None = None

    @property
    def dipole(self) -> np.ndarray | None:
        """(3,) e Angstrom, of the predicted charges; relative to the origin, for ions.

        None in a cell, where it depends on which images of the atoms are taken.
        """
        if self.charges is None or self.hypergraph.cell is not None:
            return None
        found: np.ndarray = self.charges @ self.hypergraph.positions  # i, ix -> x
        return found

    @property
    def results(self) -> dict[str, Any]:
        """Copies of the results by their names in ASE."""
        found = {"energy": self.energy, "free_energy": self.energy, "forces": self.forces.copy()}
        if self.stress is not None:
            found["stress"] = self.stress.copy()
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


def predictions_of(
    found: Mapping[str, np.ndarray],
    hypergraphs: Sequence[Hypergraph],
    charges: Sequence[int],
    cells: Sequence[np.ndarray | None],
    stresses: Sequence[np.ndarray | None],
) -> list[Prediction]:
    """Separate the outputs of a pass by molecules.

    Parameters
    ----------
    found : outputs (:class:`se3set_ase.nn.model.Outputs`) without padding or with it at the end,
        and positions (N, 3) Angstrom; charges only if the model has them.
    charges, cells, stresses : of each molecule, as in :class:`Prediction` and its hypergraph.
    """
    per, rows = {**ROWS, "positions": "atoms"}, slices(hypergraphs)
    parts = {name: [values[at] for at in rows[per[name]]] for name, values in found.items()}
    return [
        Prediction(
            energy=float(parts["energy"][m][0]),
            energies=parts["energies"][m],
            forces=parts["forces"][m],
            charge=charges[m],
            charges=parts["charges"][m] if "charges" in parts else None,
            hypergraph=WeightedHypergraph(
                structure=hypergraph,
                positions=parts["positions"][m],
                bond_weights=parts["bond"][m],
                fragment_weights=parts["fragment"][m],
                hyperedge_weights=parts["hyperedge"][m],
                hyperedge_reach=parts["reach"][m],
                cell=cells[m],
            ),
            stress=stresses[m],
        )
        for m, hypergraph in enumerate(hypergraphs)
    ]


def stress_of(virials: np.ndarray, cells: Sequence[np.ndarray | None]) -> list[np.ndarray | None]:
    """Stress (6,), eV/Angstrom^3, in ASE's order and sign; None where the volume is unknown.

    Parameters
    ----------
    virials : (M, 3, 3) eV, derivatives of the energies with respect to strain.
    cells : (3, 3) Angstrom; None for an isolated molecule.
    """
    return [
        None
        if cell is None or np.linalg.matrix_rank(cell) < 3
        else full_3x3_to_voigt_6_stress(virial / abs(np.linalg.det(cell)))
        for virial, cell in zip(virials, cells, strict=True)
    ]


class Evaluator(Protocol):
    """What a committee needs of a :class:`se3set_ase.Potential`."""

    metadata: ModelMetadata

    def evaluate(
        self,
        hypergraphs: Sequence[Hypergraph],
        positions: Sequence[np.ndarray],
        charges: Sequence[int],
        cells: Sequence[np.ndarray | None] | None = None,
    ) -> list[Prediction]: ...

    def like(self, model: str | os.PathLike[str]) -> Evaluator: ...
