"""The configuration file of a training run, validated."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from se3set_ase.baseline import KNOWN, version_of
from se3set_ase.checkpoint.metadata import BaselineMethod
from se3set_ase.checkpoint.registry import resolve_model
from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.nn.architecture import network_config, preset_values
from se3set_ase.nn.longrange.config import LongRangeConfig

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class ConfigError(ValueError):
    """A configuration that cannot be used; the text names the field."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(_Section):
    """Files of labelled geometries. Paths are relative to the configuration file."""

    train: Path
    """Extended XYZ with energies (eV) and forces (eV/Angstrom). A few frames are left out, with a
    message, if so many of their bonds are partially broken that they have several times the edges
    of other frames."""
    validation: Path | int
    """Another file, or the number of frames to set aside from ``train`` (seeded)."""
    n_train: int | None = Field(default=None, gt=0)
    """Number of remaining frames to use, at random (seeded); all by default."""
    isolated_atoms: Path | None = None
    """Extended XYZ with one-atom frames for the atomic energies; without it they are fitted."""
    tests: dict[str, Path] = {}
    """Test files, measured after training for the card; missing files are skipped."""
    level_of_theory: str
    source: str = ""
    """Source of the data, shown if a file is missing."""
    charge: int | Annotated[tuple[int, ...], Field(min_length=1)] = 0
    """Charge of the molecules, or the charges that are allowed: a frame that declares none has the
    first. Several need a baseline, or charges in ``long_range``: otherwise nothing in the model
    depends on the charge."""
    spin_multiplicity: int = Field(default=1, gt=0)

    @property
    def charges(self) -> tuple[int, ...]:
        """The allowed charges, that of frames without a declaration first."""
        return self.charge if isinstance(self.charge, tuple) else (self.charge,)


class TrainingConfig(_Section):
    """Settings of the optimisation."""

    epochs: int = Field(gt=0)
    epoch_frames: int | None = Field(default=None, gt=0)
    """Number of frames in an epoch, drawn at random (seeded); all by default. For large data use a
    part, so that validations, from which a run resumes, are not hours apart."""
    batch_size: int = Field(default=5, gt=0)
    """Frames of each step, shared among all processes."""
    learning_rate: float = Field(default=2e-3, gt=0)
    final_learning_rate: float = Field(default=1e-6, ge=0)
    warmup_steps: int = Field(default=100, ge=0)
    weight_decay: float = Field(default=0.0, ge=0)
    loss: Literal["mse", "l2mae"] = "mse"
    """``mse``: mean of (energy error)^2 / atoms, and mean square of the force components.
    ``l2mae``: mean absolute energy error, and mean length of each atom's force error."""
    energy_weight: tuple[Weight, Weight] = (1.0, 1.0)
    """Weight of the energy loss at the start and at the end, with geometric interpolation."""
    forces_weight: Weight = 1.0
    dipole_weight: Weight = 0.0
    """Weight of the mean square of the components of the dipole, (e Angstrom)^2, for models with
    charges. Dipoles of ions are relative to the origin of the positions, as ``label`` writes them.
    Frames without a dipole do not count."""
    excess_weight: Weight = 0.3
    """Weight, in units of the last epoch's loss, of messages beyond the network's saturation, see
    :func:`se3set_ase.train.step.make_step`."""
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    clip_gradients: float = Field(default=3.0, gt=1)
    """Largest length of the gradient, in units of its running mean; longer ones are clipped."""
    validate_every: int = Field(default=10, gt=0)
    """Epochs between validations, from which a run resumes."""
    patience: int | None = Field(default=None, gt=0)
    """Stop after this many validations without improvement."""
    compile: bool = True
    """Trace and compile the whole training step (minutes once, then about three times faster)."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = Field(default=1, gt=0)
    """Processes (one for each GPU) that share each batch; a divisor of ``batch_size``."""
    threads: int | None = Field(default=None, gt=0)
    """CPU threads of each process."""

    @model_validator(mode="after")
    def _consistent(self) -> TrainingConfig:
        if self.batch_size % self.devices:
            raise ValueError(
                f"expected batch_size to be a multiple of devices, got {self.batch_size} "
                f"and {self.devices}"
            )
        first, last = self.energy_weight
        if (first == 0) != (last == 0):
            raise ValueError(f"expected both energy weights above 0 or none, got {first}, {last}")
        if first == 0 and self.forces_weight == 0:
            raise ValueError("expected a weight above 0 for energies or forces, got none")
        return self


class BaselineConfig(_Section):
    """The method that the model corrects."""

    calculator: str = Field(pattern=r"^[\w.]+:\w+$")
    """``module:Class`` of an ASE calculator."""
    name: str
    """Level of theory, for messages and the card."""
    options: dict[str, Any] = {}
    """Arguments of the calculator."""
    state_arguments: tuple[()] | tuple[str, str] = ()
    """Names of its arguments for charge and spin multiplicity."""


class RunConfig(_Section):
    """One training run."""

    name: str = Field(pattern=r"^\w[^/\\]*$")
    """Name of the model and of the folder of the run."""
    description: str = ""
    limits: tuple[str, ...] = ()
    seed: int = Field(default=0, ge=0)
    data: DataConfig
    baseline: str | BaselineConfig | None = None
    """Train a correction to this method, ``GFN2-xTB`` for instance, instead of whole energies: the
    labels are differences, and the calculator adds the method again."""
    initial: str | Path | None = None
    """Fine-tuning: a model whose weights are the initial ones, by its bundled name or its path. Its
    network, hypergraph and scale are used. It may have more elements than the data. If this run
    has another ``baseline``, only the features are taken: energies, scale and ``long_range`` are
    those of this run."""
    network: dict[str, Any] = {}
    """``preset``, and settings that replace its values; see :mod:`se3set_ase.nn.model`."""
    hypergraph: dict[str, Any] = {}
    """Settings of :class:`se3set_ase.hypergraph.config.HypergraphConfig`."""
    long_range: dict[str, Any] = {}
    """Settings of :class:`se3set_ase.nn.longrange.config.LongRangeConfig`; energies of pairs at any
    distance are off by default."""
    training: TrainingConfig
    output: Path = Path("runs")
    """Folder for runs, relative to the working directory; this run is in ``output/name``."""

    @property
    def baseline_method(self) -> BaselineMethod | None:
        """The baseline with the version of its installed program."""
        if self.baseline is None:
            return None
        if isinstance(self.baseline, str):
            method = KNOWN[self.baseline]
        else:
            package = re.split("[.:]", self.baseline.calculator)[0]
            method = BaselineMethod(**self.baseline.model_dump(), package=package)
        return replace(method, version=version_of(method.package))

    @model_validator(mode="after")
    def _known_settings(self) -> RunConfig:
        try:
            network_config(preset_values(self.network))
            HypergraphConfig.from_dict(self.hypergraph)
            long_range = LongRangeConfig.from_dict(self.long_range)
        except TypeError as error:
            raise ValueError(f"expected network and hypergraph settings, got {error}") from error
        architecture = preset_values(self.network)["architecture"]
        if long_range.charges and architecture != "light":
            raise ValueError(f"expected the light network for charges, got {architecture!r}")
        if isinstance(self.baseline, str) and self.baseline not in KNOWN:
            raise ValueError(
                f"expected a baseline among {', '.join(KNOWN)}, or the calculator of another "
                f"method, got {self.baseline!r}"
            )
        seen = self.baseline is not None or long_range.charges or self.initial is not None
        if len(self.data.charges) > 1 and not seen:
            charges = ", ".join(map(str, self.data.charges))
            raise ValueError(
                "expected one charge without a baseline and without charges in long_range, got "
                f"{charges}"
            )
        if self.training.dipole_weight and not (long_range.charges or self.initial):
            raise ValueError("expected charges in long_range for a dipole_weight, got none")
        method = self.baseline_method
        if method and any(self.data.charges) and not method.state_arguments:
            raise ValueError(
                f"expected state_arguments of {method.name}, the names of its arguments for charge "
                f"and spin multiplicity, because the data have charges {self.data.charges}"
            )
        if self.initial is not None and (self.network or self.hypergraph):
            raise ValueError("expected network and hypergraph to be those of the initial model")
        return self


def load_config(path: str | Path) -> RunConfig:
    """Read and validate a YAML configuration; data paths become absolute.

    Raises
    ------
    FileNotFoundError : no such file, or an initial model by a name that is not bundled.
    ConfigError : not YAML, or fields are missing, unknown or out of range (the text names them).
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: expected YAML, got {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping, got {type(values).__name__}")
    try:
        config = RunConfig.model_validate(values)
    except ValidationError as error:
        lines = [
            f"  {'.'.join(map(str, e['loc']))}: {e['msg']}" if e["loc"] else f"  {e['msg']}"
            for e in error.errors()
        ]
        raise ConfigError("\n".join([f"{path}: expected a training run, got", *lines])) from error
    here = path.parent
    data = config.data
    paths: dict[str, Any] = {"train": here / data.train}
    if isinstance(data.validation, Path):
        paths["validation"] = here / data.validation
    if data.isolated_atoms is not None:
        paths["isolated_atoms"] = here / data.isolated_atoms
    paths["tests"] = {name: here / test for name, test in data.tests.items()}
    update: dict[str, Any] = {"data": data.model_copy(update=paths)}
    if config.initial is not None:
        update["initial"] = _located(config.initial, here)
    return config.model_copy(update=update)


def _located(initial: str | Path, folder: Path) -> Path:
    """Path of the initial model. A path need not exist yet: an earlier training may write it."""
    if Path(initial).name != str(initial):
        return folder / Path(initial).expanduser()
    return resolve_model(initial, relative_to=folder)
