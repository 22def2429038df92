"""Uncertainty of predictions, from a committee of similarly trained models.

A model folder may contain a committee next to its own weights::

    organic/
      model.json, weights.safetensors, README.md
      committee.json          members, calibration, environments of the training data
      member-1/ ...           model folders
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from ase.calculators.calculator import PropertyNotImplementedError
from ase.data import chemical_symbols

from se3set_ase.checkpoint.files import METADATA_FILE
from se3set_ase.checkpoint.metadata import CheckpointError, ModelMetadata
from se3set_ase.checkpoint.registry import COMMITTEE_FILE
from se3set_ase.checkpoint.store import load_metadata
from se3set_ase.hypergraph.valences import VALENCES
from se3set_ase.hypergraph.weighted import WeightedHypergraph
from se3set_ase.io.files import sha256_of
from se3set_ase.io.text import formula
from se3set_ase.prediction import Evaluator, Prediction
from se3set_ase.uncertainty.calibration import read_calibration
from se3set_ase.uncertainty.novelty import AllReports, NoveltyTracker, Reports, follow_all

Uncertainty = tuple[float, np.ndarray]

#: Number of bonds of a saturated atom without charge, hypervalent atoms aside.
FULL = {chemical_symbols[z]: valences[0] for z, valences in VALENCES.items()}


class NoCommittee(PropertyNotImplementedError, AttributeError):
    """The model has no committee; an AttributeError as well, so that ``hasattr`` is False."""


class Committee:
    """A model and similar models that were trained on parts of the same data.

    Parameters
    ----------
    folder : folder of the model.
    first : the model itself.

    Raises
    ------
    CheckpointError : ``committee.json`` is damaged, or a member is not the one it names.
    """

    def __init__(self, folder: Path, first: Evaluator):
        self.folder = folder
        self.first = first
        self.calibration = read_calibration(folder / COMMITTEE_FILE)
        for member in self.calibration.members:
            file = folder / member.folder / METADATA_FILE
            if not file.exists() or sha256_of(file) != member.metadata_sha256:
                raise CheckpointError(
                    f"{file} is missing, or is not the file that {COMMITTEE_FILE} lists. "
                    "Download or copy the model again."
                )
            self._check_alike(load_metadata(file.parent), file)
        # Load members immediately, because the folder may not exist later.
        self.others = [first.like(folder / m.folder) for m in self.calibration.members]
        self._known = frozenset(self.calibration.environments)

    def _check_alike(self, other: ModelMetadata, file: Path) -> None:
        """Raise CheckpointError if the predictions of a member cannot be compared."""
        first = self.first.metadata
        for what in (
            "elements",
            "hypergraph",
            "atomic_energies",
            "level_of_theory",
            "baseline",
            "charges",
        ):
            if getattr(other, what) != getattr(first, what):
                raise CheckpointError(f"{file}: expected the {what} of the first member")

    def uncertainties(self, predictions: Sequence[Prediction]) -> list[Uncertainty]:
        """Expected errors of predictions of the first member.

        Returns
        -------
        For each prediction, expected error of the energy (eV), and length of the expected error of
        the force on each atom, (N,) eV/Angstrom. Both are standard deviations of the members times
        a factor, combined with a minimum (root of the sum of squares) for molecules of several
        atoms.
        """
        structures = [p.hypergraph.structure for p in predictions]
        positions = [p.hypergraph.positions for p in predictions]
        cells = [p.hypergraph.cell for p in predictions]
        charges = [p.charge for p in predictions]
        first = [p.correction for p in predictions]
        others = (other.evaluate(structures, positions, charges, cells) for other in self.others)
        found = [first, *others]
        return [self._expected(of_one) for of_one in zip(*found, strict=True)]

    def _expected(self, predictions: Sequence[Prediction]) -> Uncertainty:
        """Expected errors, from the predictions of all members for one molecule."""
        energy, forces = disagreement(predictions)
        first = predictions[0]
        scale = self.calibration.scale(first.hypergraph, first.charge)
        # An isolated atom is exact.
        several = len(forces) > 1 or first.hypergraph.cell is not None
        return (
            float(np.hypot(scale.energy_factor * energy, several * scale.energy_floor)),
            np.hypot(scale.forces_factor * forces, several * scale.forces_floor),
        )

    def reasons(self, prediction: Prediction, uncertainty: Uncertainty | None) -> list[str]:
        """All reasons not to trust a prediction, whether or not they were reported before.

        Parameters
        ----------
        uncertainty : see :meth:`uncertainties`; None if it was not evaluated.
        """
        reports: AllReports = defaultdict(Reports)
        found = self._unseen_bonds(prediction.hypergraph, reports)
        if uncertainty is not None:
            found += self._large_errors(uncertainty, prediction, reports)
        return found

    def surprises(
        self, trackers: Sequence[NoveltyTracker], predictions: Sequence[Prediction]
    ) -> list[tuple[list[str], Uncertainty | None]]:
        """Reasons not to trust predictions.

        A tracker reports each bonding environment once for all molecules of a formula, and a large
        uncertainty again only if it is twice as large as the one reported before.

        The uncertainty is checked if a molecule is new (other atoms, or further away than one
        step), if its energy is higher than before, or from time to time (1st, 4th, 16th, ...
        geometry, then every thousandth) if it has moved. Bonds are checked whenever they change.

        Parameters
        ----------
        trackers : the tracker of each prediction, which knows the earlier geometries.

        Returns
        -------
        For each prediction, the reasons, and the uncertainty if it was checked.
        """
        reasons, checked = [], []
        molecules = follow_all(trackers, [p.hypergraph for p in predictions])
        for k, (tracker, p) in enumerate(zip(trackers, predictions, strict=True)):
            other_bonds = molecules[k].has_other_bonds(p.hypergraph)
            reasons.append(self._unseen_bonds(p.hypergraph, tracker.reports) if other_bonds else [])
            if molecules[k].needs_check(p.hypergraph.positions, p.energy):
                checked.append(k)
        found = self.uncertainties([predictions[k] for k in checked]) if checked else []
        answers = dict(zip(checked, found, strict=True))
        for k, uncertainty in answers.items():
            reports = trackers[k].reports
            reasons[k] += self._large_errors(uncertainty, predictions[k], reports)
        return [(of_one, answers.get(k)) for k, of_one in enumerate(reasons)]

    def _unseen_bonds(self, hypergraph: WeightedHypergraph, reports: AllReports) -> list[str]:
        unseen = environments(hypergraph) - self._known
        alone = len(hypergraph.numbers) == 1 and hypergraph.cell is None
        if not unseen or alone:  # the energy of an isolated atom is exact
            return []
        of = formula(hypergraph.numbers)
        new = sorted(unseen - reports[of].environments)
        reports[of].environments.update(new)
        valence = " (* has an open valence)" if any(u.endswith("*") for u in new) else ""
        return new and [
            f"model {self.first.metadata.name!r} was not trained on atoms bonded as "
            f"{', '.join(new)}{valence}: energies and forces of this {of} are not reliable"
        ]

    def _large_errors(
        self, uncertainty: Uncertainty, prediction: Prediction, reports: AllReports
    ) -> list[str]:
        energy, forces = uncertainty
        hypergraph = prediction.hypergraph
        scale = self.calibration.scale(hypergraph, prediction.charge)
        worst, found = int(forces.argmax()), []
        name, of = self.first.metadata.name, formula(hypergraph.numbers)
        before = reports[of]
        familiar = scale.familiar_energy
        if familiar is not None and energy > max(familiar, 2 * before.energy):
            before.energy = energy
            found.append(
                f"model {name!r} may be wrong by {energy:.2f} eV in the energy of this geometry of "
                f"{of}; geometries like its training data stay below {familiar:.2f}"
            )
        if forces[worst] > max(scale.familiar_forces, 2 * before.forces):
            before.forces = float(forces[worst])
            found.append(
                f"model {name!r} may be wrong by {forces[worst]:.1f} eV/Angstrom "
                f"at {chemical_symbols[hypergraph.numbers[worst]]}{worst} of this geometry of "
                f"{of}; geometries like its training data stay below "
                f"{scale.familiar_forces:.1f}"
            )
        return found


def disagreement(predictions: Sequence[Prediction]) -> tuple[float, np.ndarray]:
    """Standard deviations of the predictions of several models for one geometry.

    Returns
    -------
    Energy (eV), and force on each atom over all components, (N,) eV/Angstrom.
    """
    energies = np.array([p.energy for p in predictions])
    forces = np.array([p.forces for p in predictions])  # member m, atom i, x
    return float(energies.std(ddof=1)), np.sqrt(forces.var(axis=0, ddof=1).sum(axis=-1))


def committee_of(path: str | os.PathLike[str], first: Evaluator) -> Committee | None:
    """The committee of a model folder (or of a file in it); None if it has none."""
    folder = Path(path)
    folder = folder if folder.is_dir() else folder.parent
    return Committee(folder, first) if (folder / COMMITTEE_FILE).exists() else None


def environments(hypergraph: WeightedHypergraph) -> set[str]:
    """Bonding environment of every atom, such as ``S(C,O,O)``.

    Bonds with a weight above 1/2 count.
    """
    symbols = [chemical_symbols[z] for z in hypergraph.structure.numbers]
    return environments_of(symbols, (bond for bond, w in hypergraph.bonds if w > 0.5))


def environments_of(symbols: Sequence[str], bonds: Iterable[tuple[int, int]]) -> set[str]:
    """Bonding environments of atoms, given their symbols and bonded pairs.

    An atom is marked, as in ``C(C,H,H)*``, if it has an open valence and none of its neighbours
    has: the atom of a carbene or a radical, whose neighbours are those of an atom in an alkene.
    """
    around: list[list[int]] = [[] for _ in symbols]
    for i, j in bonds:
        around[i].append(j)
        around[j].append(i)
    open_ = [len(a) < FULL.get(s, 0) for s, a in zip(symbols, around, strict=True)]
    return {
        f"{symbols[i]}({','.join(sorted(symbols[j] for j in others))})"
        + "*" * (open_[i] and not any(open_[j] for j in others))
        for i, others in enumerate(around)
    }
