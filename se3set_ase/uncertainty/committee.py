"""How far models that were trained alike disagree, and what they never saw: measures of doubt.

A model folder may have a committee beside its own weights::

    organic/
      model.json, weights.safetensors, README.md
      committee.json          its members, what they were calibrated to, what they saw
      member-1/ ...           model folders
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
from ase.calculators.calculator import PropertyNotImplementedError
from ase.data import chemical_symbols

from se3set_ase.checkpoint.files import METADATA_FILE
from se3set_ase.checkpoint.metadata import CheckpointError, ModelMetadata
from se3set_ase.checkpoint.registry import COMMITTEE_FILE
from se3set_ase.checkpoint.store import load_metadata
from se3set_ase.hypergraph.weighted import WeightedHypergraph
from se3set_ase.io.files import sha256_of, write_atomically
from se3set_ase.io.text import formula
from se3set_ase.prediction import Evaluator, Prediction
from se3set_ase.uncertainty.novelty import Followed, Lookout

Uncertainty = tuple[float, np.ndarray]

FORMAT = "se3set-ase committee"
SCHEMA_VERSION = 1
#: Bonds of an atom that has as many as it can.
FULL = {"H": 1, "C": 4, "N": 3, "O": 2, "F": 1, "S": 2, "Cl": 1}


class NoCommittee(PropertyNotImplementedError, AttributeError):
    """A model that cannot tell how sure it is: also to ``hasattr``, which then says no."""


class Member(pydantic.BaseModel):
    """One further model, by the hash of its description, which has that of its weights."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    folder: str
    metadata_sha256: str


class Calibration(pydantic.BaseModel):
    """The content of ``committee.json``."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    format: str = FORMAT
    schema_version: int = SCHEMA_VERSION
    members: tuple[Member, ...] = pydantic.Field(min_length=1)
    energy_factor: float = pydantic.Field(default=1.0, gt=0, allow_inf_nan=False)
    """What the spread of the energies is multiplied by, to be the error that is expected."""
    energy_floor: float = pydantic.Field(default=0.0, ge=0, allow_inf_nan=False)
    """eV: expected, too, where all members agree, of molecules of several atoms."""
    forces_factor: float = pydantic.Field(default=1.0, gt=0, allow_inf_nan=False)
    forces_floor: float = pydantic.Field(default=0.0, ge=0, allow_inf_nan=False)
    """eV/Angstrom: likewise."""
    familiar_forces: float = pydantic.Field(gt=0, allow_inf_nan=False)
    """eV/Angstrom: an uncertainty of forces beyond this is of no geometry like those it saw."""
    environments: tuple[str, ...] = ()
    """Each atom with its neighbours that was in the training data, see :func:`environments`."""
    sha256: str = ""
    """Of all the others, see :attr:`digest`."""

    @property
    def digest(self) -> str:
        """Hash of the other fields, so that a digit that was changed is found.

        Defaults are left out: a field that is added some day changes no hash.
        """
        told = self.model_dump(exclude={"sha256"}, exclude_defaults=True)
        content = json.dumps(told, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


class Committee:
    """A model and others of its kind, trained on parts of the same data.

    Parameters
    ----------
    folder : of the model.
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
                    f"{file} is missing, or not the one that {COMMITTEE_FILE} names. "
                    "Take the model again from where it came from."
                )
            self._check_alike(load_metadata(file.parent), file)
        # At once: a calculator may be taken to where its folder is not.
        self.others = [first.like(folder / m.folder) for m in self.calibration.members]
        self._known = frozenset(self.calibration.environments)

    def _check_alike(self, other: ModelMetadata, file: Path) -> None:
        """CheckpointError for a member whose predictions cannot be compared with the first's."""
        first = self.first.metadata
        for what in ("elements", "hypergraph", "atomic_energies", "level_of_theory"):
            if getattr(other, what) != getattr(first, what):
                raise CheckpointError(f"{file}: expected the {what} of the first member")

    def uncertainties(self, predictions: Sequence[Prediction]) -> list[Uncertainty]:
        """Errors to expect of predictions of the first member.

        Returns
        -------
        Of each, that of the energy (eV), and of the force on each atom (N,), length of the error
        (eV/Angstrom). Both are standard deviations among the members times a factor, with a floor
        (root of the sum of squares) where there are several atoms.
        """
        structures = [p.hypergraph.structure for p in predictions]
        positions = [p.hypergraph.positions for p in predictions]
        found = [predictions, *(other.evaluate(structures, positions) for other in self.others)]
        return [self._expected(of_one) for of_one in zip(*found, strict=True)]

    def _expected(self, predictions: Sequence[Prediction]) -> Uncertainty:
        """From the predictions of all members for one molecule."""
        energy, forces = disagreement(predictions)
        c = self.calibration
        several = len(forces) > 1  # an isolated atom is exact
        return (
            float(np.hypot(c.energy_factor * energy, several * c.energy_floor)),
            np.hypot(c.forces_factor * forces, several * c.forces_floor),
        )

    def doubts(
        self, lookouts: Sequence[Lookout], predictions: Sequence[Prediction]
    ) -> list[tuple[list[str], Uncertainty | None]]:
        """Why predictions of the first member are a guess; of a molecule each reason once.

        The uncertainty is looked at where a molecule is new (of other atoms, or somewhere else than
        a step would have brought it), higher in energy than before, or has moved since the last
        look (its 1st, 4th, 16th, ... geometry, then every thousandth); the bonds whenever they
        change.

        Parameters
        ----------
        lookouts : what each prediction was preceded by.

        Returns
        -------
        Of each, the reasons, and the uncertainty if it was looked at.
        """
        reasons, asked = [], []
        for k, (lookout, p) in enumerate(zip(lookouts, predictions, strict=True)):
            molecule = lookout.follow(p.hypergraph)
            reasons.append(self._unseen_bonds(molecule, p.hypergraph))
            if molecule.is_worth_a_look(p.hypergraph.positions, p.energy):
                asked.append(k)
        found = self.uncertainties([predictions[k] for k in asked]) if asked else []
        answers = dict(zip(asked, found, strict=True))
        for k, (_, forces) in answers.items():
            reasons[k] += self._large_errors(forces, predictions[k].hypergraph)
        return [(said, answers.get(k)) for k, said in enumerate(reasons)]

    def _unseen_bonds(self, molecule: Followed, hypergraph: WeightedHypergraph) -> list[str]:
        isolated = len(hypergraph.numbers) == 1  # its energy is exact
        if not molecule.has_other_bonds(hypergraph) or isolated:
            return []
        unseen = sorted(environments(hypergraph) - self._known - molecule.told)
        molecule.told.update(unseen)
        lacking = " (* lacks a bond)" if any(u.endswith("*") for u in unseen) else ""
        return unseen and [
            f"model {self.first.metadata.name!r} never saw atoms bonded as {', '.join(unseen)}"
            f"{lacking}: energies and forces of this {formula(hypergraph.numbers)} are a guess"
        ]

    def _large_errors(self, forces: np.ndarray, hypergraph: WeightedHypergraph) -> list[str]:
        worst, limit = int(forces.argmax()), self.calibration.familiar_forces
        if forces[worst] <= limit:
            return []
        return [
            f"model {self.first.metadata.name!r} may be wrong by {forces[worst]:.1f} eV/Angstrom "
            f"at {chemical_symbols[hypergraph.numbers[worst]]}{worst} of this geometry of "
            f"{formula(hypergraph.numbers)}, more than {limit:.1f} for anything like its training "
            "data"
        ]


def disagreement(predictions: Sequence[Prediction]) -> tuple[float, np.ndarray]:
    """Standard deviations among several models' predictions of one geometry.

    Returns
    -------
    Of the energy (eV), and of the force on each atom (N,), all components together (eV/Angstrom).
    """
    energies = np.array([p.energy for p in predictions])
    forces = np.array([p.forces for p in predictions])  # member m, atom i, x
    return float(energies.std(ddof=1)), np.sqrt(forces.var(axis=0, ddof=1).sum(axis=-1))


def committee_of(path: str | os.PathLike[str], first: Evaluator) -> Committee | None:
    """The committee of a model folder (or of a file in it); None if it has none."""
    folder = Path(path)
    folder = folder if folder.is_dir() else folder.parent
    return Committee(folder, first) if (folder / COMMITTEE_FILE).exists() else None


def read_calibration(file: Path) -> Calibration:
    """Read and check ``committee.json``; CheckpointError if it cannot be used."""
    try:
        values = json.loads(file.read_bytes())
        # First, since another version may have other fields.
        kind = values.get("format"), values.get("schema_version")
        if kind != (FORMAT, SCHEMA_VERSION):
            raise CheckpointError(
                f"{file}: expected {FORMAT!r}, schema version {SCHEMA_VERSION}, got {kind[0]!r}, "
                f"{kind[1]!r}"
            )
        content = Calibration.model_validate(values)
    except (OSError, ValueError, AttributeError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{file} is damaged: {error}") from error
    if content.sha256 != content.digest:
        raise CheckpointError(
            f"{file} is damaged: expected the content that its hash {content.sha256!r} is of, got "
            f"that of {content.digest!r}. Take the model again from where it came from, or write "
            "the file anew by write_calibration()."
        )
    for member in content.members:
        # The names come out of a file that may be anybody's: they must not lead elsewhere.
        if Path(member.folder).name != member.folder or member.folder in ("", ".", ".."):
            raise CheckpointError(
                f"{file}: expected the plain name of a folder, got {member.folder!r}"
            )
    return content


def write_calibration(folder: Path, members: Sequence[str], **values: Any) -> Calibration:
    """Write ``committee.json`` beside a model for the model folders that lie in its folder.

    Parameters
    ----------
    values : the other fields of :class:`Calibration`.
    """
    for member in members:
        load_metadata(folder / member)  # raises if it is none
    content = Calibration(
        members=tuple(
            Member(folder=name, metadata_sha256=sha256_of(folder / name / METADATA_FILE))
            for name in members
        ),
        **values,
    )
    content = content.model_copy(update={"sha256": content.digest})
    text = json.dumps(content.model_dump(), indent=1) + "\n"
    write_atomically(folder / COMMITTEE_FILE, text.encode())
    return content


def environments(hypergraph: WeightedHypergraph) -> set[str]:
    """Every atom with its bonded neighbours, as ``S(C,O,O)``: the chemistry of a geometry.

    A bond counts where its weight is above 1/2.
    """
    symbols = [chemical_symbols[z] for z in hypergraph.structure.numbers]
    return environments_of(symbols, hypergraph.decided_bonds)


def environments_of(symbols: Sequence[str], bonds: Iterable[tuple[int, int]]) -> set[str]:
    """Of atoms and the pairs of them that are bonded.

    An atom is marked, as ``C(C,H,H)*``, that could have another bond, but no neighbour that could:
    that of a carbene or a radical, with the neighbours that an atom of an alkene has.
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
