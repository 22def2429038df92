"""Metadata of a checkpoint: the content of ``model.json``.

All fields of that file are defined here. Reading is strict: a missing, unknown or ill-typed key
raises an error that names it, because a number read under the wrong name gives silently wrong
results.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

import pydantic

__all__ = [
    "DEFAULT_MODEL",
    "FORMAT",
    "MODEL_UNITS",
    "SCHEMA_VERSION",
    "BaselineMethod",
    "CheckpointError",
    "DataFile",
    "Measurement",
    "ModelMetadata",
    "WeightsFile",
]

DEFAULT_MODEL = "organic"
"""Name of the default model."""

FORMAT = "se3set-ase checkpoint"
"""Identifies JSON files of this package."""

SCHEMA_VERSION = 1
"""Incremented when the meaning or the set of keys of ``model.json`` changes."""

MODEL_UNITS: Mapping[str, str] = {"energy": "eV", "length": "Angstrom", "forces": "eV/Angstrom"}
"""The units of a checkpoint of schema 1, which are those of ASE."""

DECIDING = (
    "elements",
    "network",
    "hypergraph",
    "atomic_energies",
    "shifts",
    "scale",
    "units",
    "charges",
    "multiplicities",
)
"""Entries of ``model.json`` that decide a number, or whether there is one."""

OPTIONAL = {"baseline", "long_range"}
"""Entries that are absent where they are None, as in older files."""

_STRICT = pydantic.ConfigDict(extra="forbid", strict=False)


class CheckpointError(ValueError):
    """A checkpoint, or the registry of bundled models, cannot be used; the text says why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """The tensor file next to ``model.json``; filled in when saving."""

    __pydantic_config__ = _STRICT

    file: str
    sha256: str
    n_bytes: int
    dtype: Literal["float32", "float64"]
    n_parameters: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataFile:
    """A data file for training, validation or testing.

    ``role`` is ``"train"``, ``"validation"`` or ``"test"``; ``n_frames`` is the number of frames
    used in that role; ``sha256`` is the checksum of the whole file.
    """

    __pydantic_config__ = _STRICT

    file: str
    sha256: str
    n_frames: int
    role: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measurement:
    """Errors on one set of frames, as :func:`se3set_ase.evaluate.evaluate` returns them.

    Units are in the names; ``None`` if the frames have no such label.
    """

    __pydantic_config__ = _STRICT

    data: DataFile
    energy_mae_meV: float | None
    energy_rmse_meV: float | None
    energy_mae_meV_per_atom: float | None
    forces_mae_meV_A: float | None
    forces_rmse_meV_A: float | None
    dipole_mae_e_A: float | None = None
    dipole_rmse_e_A: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class BaselineMethod:
    """The method that a model corrects: results are the sum of both.

    ``calculator`` is the ``module:Class`` of an ASE calculator, ``options`` are its arguments, and
    ``state_arguments`` are the names of its arguments for charge and spin multiplicity. ``package``
    and ``version`` are those of the program that the training used. ``energy_per_charge`` (eV/e)
    times the total charge is added to its energy, see
    :meth:`se3set_ase.train.baseline_labels.CachedBaseline.subtract`.
    """

    __pydantic_config__ = _STRICT

    name: str
    calculator: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    state_arguments: tuple[str, ...] = ()
    energy_per_charge: float = 0.0
    package: str = ""
    version: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelMetadata:
    """Everything in ``model.json`` except its format name and schema version.

    The author of a model gives the first block of fields. The second block is filled in from the
    model by :func:`se3set_ase.checkpoint.save_checkpoint`.

    Attributes
    ----------
    name : Name of the model, which states system, scope or level of theory.
    level_of_theory : Method and basis of the training labels.
    baseline : The method that the model corrects to this level; None for a model that predicts
        whole energies.
    charges : Total molecular charges (e) that the model was trained on.
    multiplicities : Spin multiplicities (2S + 1) that the model was trained on.
    formulas : Molecular formulas of the training data in Hill order if they are few; empty if they
        are many or unknown. The calculator warns about others.
    description : One sentence.
    limits : What the model must not be used for, in plain sentences, most important first.
    license : SPDX name of the licence of the weights.
    training_data : Files used for training and validation.
    measured : Errors on data that were not used for training.
    training : Settings of the training run, for reference.
    created : Date and time of saving, ISO 8601, UTC.
    package_version : Version of this package that saved the model.
    network, hypergraph : The two configurations, as dictionaries.
    long_range : That of energies of pairs at any distance; None for a model without them.
    elements : Atomic numbers, ascending; ``symbols``: the same as symbols.
    atomic_energies : Energy of each isolated atom, eV, in the order of ``elements``.
    shifts : Fitted energy shift of each element, eV, in the order of ``elements``.
    scale : Energy of one unit of network output, eV.
    units : Always :data:`MODEL_UNITS`.
    weights : The tensor file.
    sha256 : :attr:`digest` when the model was saved.
    """

    __pydantic_config__ = _STRICT

    name: str
    level_of_theory: str
    baseline: BaselineMethod | None = None
    charges: tuple[int, ...] = (0,)
    multiplicities: tuple[int, ...] = (1,)
    formulas: tuple[str, ...] = ()
    description: str = ""
    limits: tuple[str, ...] = ()
    license: str = "MIT"
    training_data: tuple[DataFile, ...] = ()
    measured: tuple[Measurement, ...] = ()
    training: dict[str, Any] = dataclasses.field(default_factory=dict)

    created: str = ""
    package_version: str = ""
    network: dict[str, Any] = dataclasses.field(default_factory=dict)
    hypergraph: dict[str, Any] = dataclasses.field(default_factory=dict)
    long_range: dict[str, Any] | None = None
    elements: tuple[int, ...] = ()
    symbols: tuple[str, ...] = ()
    atomic_energies: tuple[float, ...] = ()
    shifts: tuple[float, ...] = ()
    scale: float = 1.0
    units: dict[str, str] = dataclasses.field(default_factory=lambda: dict(MODEL_UNITS))
    weights: WeightsFile | None = None
    sha256: str = ""

    @property
    def digest(self) -> str:
        """Hash of the entries :data:`DECIDING`: an edited digit is found when the model is loaded.

        The weights have their own hash, in ``weights``.
        """
        content = {key: getattr(self, key) for key in DECIDING}
        if self.baseline is not None:
            content["baseline"] = dataclasses.asdict(self.baseline)
        if self.long_range is not None:
            content["long_range"] = self.long_range
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def to_json(self) -> str:
        """The text of ``model.json``; raises :class:`CheckpointError` for NaN or infinity."""
        content = {"format": FORMAT, "schema_version": SCHEMA_VERSION, **dataclasses.asdict(self)}
        content = {k: v for k, v in content.items() if v is not None or k not in OPTIONAL}
        try:
            # Keys keep their order, with the most important first.
            return json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
        except (TypeError, ValueError) as error:
            raise CheckpointError(
                f"the metadata of model {self.name!r} cannot be written as JSON: {error}; "
                "expected finite numbers, strings, lists and dictionaries only"
            ) from error

    @classmethod
    def from_json(cls, text: str, *, where: str, package_version: str) -> ModelMetadata:
        """Read ``model.json``.

        Parameters
        ----------
        text : The content of the file.
        where : Name of the file, for errors.
        package_version : Version of this package, for the error about a newer schema.

        Raises
        ------
        CheckpointError : not JSON, not of this package, of another schema, or with invalid keys.
        """
        content = _parse(text, where)
        if content.get("format") != FORMAT:
            raise CheckpointError(
                f"{where} does not describe a se3set-ase model: expected the entry "
                f'"format": "{FORMAT}", got {content.get("format")!r}. '
                "Point to the folder of a model saved by this package."
            )
        _check_schema(content.get("schema_version"), where, package_version)
        fields = {k: v for k, v in content.items() if k not in ("format", "schema_version")}
        known = {f.name for f in dataclasses.fields(cls)}
        missing = sorted(known - fields.keys() - OPTIONAL)
        unknown = sorted(fields.keys() - known)
        if missing or unknown:
            raise CheckpointError(
                f"{where} does not have the keys of schema version {SCHEMA_VERSION}: "
                f"missing {missing}, unknown {unknown}. The file was edited or is damaged; "
                "download or copy the model again."
            )
        try:
            metadata = pydantic.TypeAdapter(cls).validate_python(fields)
        except pydantic.ValidationError as error:
            raise CheckpointError(
                f"{where} has invalid values:\n{_validation_lines(error)}\n"
                "The file was edited or is damaged; download or copy the model again."
            ) from error
        metadata._check_consistency(where)
        return metadata

    def _check_consistency(self, where: str) -> None:
        from ase.data import chemical_symbols

        if not self.elements or not all(0 < z < len(chemical_symbols) for z in self.elements):
            raise CheckpointError(
                f"{where}: expected atomic numbers in 'elements', got {list(self.elements)}"
            )
        if list(self.elements) != sorted(set(self.elements)):
            raise CheckpointError(
                f"{where}: expected ascending atomic numbers in 'elements', "
                f"got {list(self.elements)}"
            )
        symbols = tuple(chemical_symbols[z] for z in self.elements)
        if self.symbols != symbols:
            raise CheckpointError(
                f"{where}: 'symbols' and 'elements' disagree: expected {list(symbols)} for "
                f"atomic numbers {list(self.elements)}, got {list(self.symbols)}"
            )
        for key in ("atomic_energies", "shifts"):
            values = getattr(self, key)
            if len(values) != len(self.elements):
                raise CheckpointError(
                    f"{where}: expected {len(self.elements)} numbers in {key!r}, one per "
                    f"element, got {len(values)}"
                )
        if self.units != MODEL_UNITS:
            raise CheckpointError(
                f"{where}: expected the units {dict(MODEL_UNITS)}, got {self.units}"
            )
        if self.weights is None:
            raise CheckpointError(f"{where}: expected the entry 'weights', got null")
        name = self.weights.file
        # The name comes from a file of unknown origin and must not lead to another folder.
        if not name or "/" in name or "\\" in name or name in (".", ".."):
            raise CheckpointError(
                f"{where}: expected a plain file name in 'weights.file', got {name!r}"
            )


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        content = json.loads(text, parse_constant=_no_constant)
    except ValueError as error:
        raise CheckpointError(
            f"{where} is not readable as JSON ({error}): it is damaged or truncated. "
            "Download or copy the model again."
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{where} does not describe a se3set-ase model: expected a JSON object, "
            f"got a {type(content).__name__}"
        )
    return content


def _no_constant(constant: str) -> float:
    raise ValueError(f"{constant} is not a finite number")


def _check_schema(version: Any, where: str, package_version: str) -> None:
    if isinstance(version, int) and not isinstance(version, bool) and version == SCHEMA_VERSION:
        return
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise CheckpointError(
            f"{where} has schema version {version}, but se3set-ase {package_version} reads "
            f"versions up to {SCHEMA_VERSION}: the model was saved by a newer version. "
            "Upgrade with: pip install --upgrade se3set-ase"
        )
    raise CheckpointError(
        f"{where} has no valid schema version: expected the whole number {SCHEMA_VERSION}, "
        f"got {version!r}"
    )


def _validation_lines(error: pydantic.ValidationError) -> str:
    lines = []
    for item in error.errors(include_url=False):
        key = ".".join(str(part) for part in item["loc"])
        lines.append(f"  {key}: {item['msg'].lower()}, got {item['input']!r:.80}")
    return "\n".join(lines)
