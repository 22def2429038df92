"""The content of ``committee.json``: members, and from disagreement to expected errors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydantic
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from se3set_ase.checkpoint.files import METADATA_FILE
from se3set_ase.checkpoint.metadata import CheckpointError
from se3set_ase.checkpoint.registry import COMMITTEE_FILE
from se3set_ase.checkpoint.store import load_metadata
from se3set_ase.hypergraph.weighted import WeightedHypergraph
from se3set_ase.io.files import sha256_of, write_atomically

FORMAT = "se3set-ase committee"
SCHEMA_VERSION = 1
#: Kinds of systems whose errors are of different sizes, see :func:`kind_of`.
Kind = Literal["molecule", "contact", "ion", "reaction"]
#: Weights of a bond that is neither there nor not.
PARTIAL = (0.05, 0.95)


def kind_of(hypergraph: WeightedHypergraph, charge: int) -> Kind:
    """Reaction (a bond is partially broken), ion, contact (several molecules), or molecule."""
    low, high = PARTIAL
    if any(low < weight < high for _, weight in hypergraph.bonds):
        return "reaction"
    if charge:
        return "ion"
    n = len(hypergraph.numbers)
    bonds = np.array([bond for bond, weight in hypergraph.bonds if weight >= high]).reshape(-1, 2)
    graph = coo_array((np.ones(len(bonds)), bonds.T), shape=(n, n))
    n_molecules, _ = connected_components(graph, directed=False)
    return "contact" if n_molecules > 1 else "molecule"


class Scale(pydantic.BaseModel):
    """From the disagreement of the members to expected errors."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    energy_factor: float = pydantic.Field(default=1.0, gt=0, allow_inf_nan=False)
    """Factor from the standard deviation of the energies to the expected error."""
    energy_floor: float = pydantic.Field(default=0.0, ge=0, allow_inf_nan=False)
    """eV: expected error if all members agree, for molecules of several atoms."""
    forces_factor: float = pydantic.Field(default=1.0, gt=0, allow_inf_nan=False)
    forces_floor: float = pydantic.Field(default=0.0, ge=0, allow_inf_nan=False)
    """eV/Angstrom: the same for forces."""
    familiar_forces: float = pydantic.Field(gt=0, allow_inf_nan=False)
    """eV/Angstrom: largest force uncertainty of geometries similar to the training data."""
    familiar_energy: float | None = pydantic.Field(default=None, gt=0, allow_inf_nan=False)
    """eV: the same for energies; None if it was not determined."""


class Member(pydantic.BaseModel):
    """A further model, identified by the hash of its metadata, which has that of its weights."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    folder: str
    metadata_sha256: str


class Calibration(Scale):
    """The content of ``committee.json``; its own scale is that of systems of no other kind."""

    format: str = FORMAT
    schema_version: int = SCHEMA_VERSION
    members: tuple[Member, ...] = pydantic.Field(min_length=1)
    kinds: Mapping[Kind, Scale] = {}
    """Scales of some kinds of systems."""
    environments: tuple[str, ...] = ()
    """Bonding environments of the training data, see :func:`.environments`."""
    sha256: str = ""
    """Checksum of the other fields, see :attr:`digest`."""

    def scale(self, hypergraph: WeightedHypergraph, charge: int) -> Scale:
        """The scale of a system."""
        return self.kinds.get(kind_of(hypergraph, charge), self) if self.kinds else self

    @property
    def digest(self) -> str:
        """Checksum of the other fields, which detects a changed digit.

        Defaults are left out, so that new fields with defaults do not change it.
        """
        fields = self.model_dump(exclude={"sha256"}, exclude_defaults=True)
        content = json.dumps(fields, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


def read_calibration(file: Path) -> Calibration:
    """Read and check ``committee.json``; CheckpointError if it cannot be used."""
    try:
        values = json.loads(file.read_bytes())
        # Checked first, because another version may have other fields.
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
            f"{file} is damaged: checksum mismatch, recorded {content.sha256!r}, contents hash to "
            f"{content.digest!r}. Download or copy the model again, or rewrite the file with "
            "write_calibration()."
        )
    for member in content.members:
        # The names come from a file of unknown origin and must not lead to other folders.
        if Path(member.folder).name != member.folder or member.folder in ("", ".", ".."):
            raise CheckpointError(
                f"{file}: expected the plain name of a folder, got {member.folder!r}"
            )
    return content


def write_calibration(folder: Path, members: Sequence[str], **values: Any) -> Calibration:
    """Write ``committee.json`` into the folder of a model, for member folders in the same folder.

    Parameters
    ----------
    folder : folder of the model.
    members : names of the member folders.
    values : the other fields of :class:`Calibration`.
    """
    for member in members:
        load_metadata(folder / member)  # raises if it is not a model
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
