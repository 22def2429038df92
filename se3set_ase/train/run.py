"""From a configuration to a checkpoint with its card."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from lightning_fabric import Fabric

from se3set_ase.baseline import imported
from se3set_ase.checkpoint.files import describe_data_file
from se3set_ase.checkpoint.metadata import DataFile, Measurement, ModelMetadata
from se3set_ase.checkpoint.store import save_checkpoint
from se3set_ase.evaluate import evaluate
from se3set_ase.io.extended_xyz import frames_of_file
from se3set_ase.io.text import formula
from se3set_ase.potential import Potential
from se3set_ase.train.config import RunConfig
from se3set_ase.train.trainer import Trainer, make_fabric

#: A limit of models whose data have no isolated atoms.
FITTED_ATOMS = (
    "Atomic energies are fitted to molecules: atomization energies and energies of dissociation "
    "have no meaning."
)

#: Largest number of molecules that are named.
FEW_MOLECULES = 10

_LOGGER = logging.getLogger(__name__)


def train(config: RunConfig, *, progress: bool = True) -> Path:
    """Train a model, or resume a run; then measure and save the model.

    Returns
    -------
    The checkpoint folder, ``model`` in the folder of the run. The model is measured in float64 on
    the existing ``tests`` of the configuration.

    Raises
    ------
    FileNotFoundError, DataError : data are missing or invalid.
    StateError : the folder belongs to another run.
    FloatingPointError : the training diverged.
    """
    fabric = make_fabric(config.training)
    port = os.environ.get("MASTER_PORT")
    try:
        result = fabric.launch(_train_here, config, progress)
    finally:
        if port is None:  # set by the launcher, not needed by the next run
            os.environ.pop("MASTER_PORT", None)
    if isinstance(result, Exception):
        raise result
    return result


def _train_here(fabric: Fabric, config: RunConfig, progress: bool) -> Path | Exception:
    """Work of one process. Errors are returned, because raising in a process loses their type."""
    try:
        trainer = Trainer(config, progress=progress, fabric=fabric)
        files = data_files(config, trainer)
        model = trainer.run()
    except (ValueError, FileNotFoundError, FloatingPointError) as error:
        return error
    folder = trainer.folder / "model"
    if fabric.global_rank == 0:
        metadata = describe(config, trainer, files)
        save_checkpoint(folder, model, metadata)
        if measured := measure(config, folder):
            save_checkpoint(folder, model, replace(metadata, measured=measured))
    fabric.barrier()
    return folder


def data_files(config: RunConfig, trainer: Trainer) -> tuple[DataFile, DataFile]:
    """The data files as read, recorded now because they may change during training."""
    data = config.data
    validation = data.validation if isinstance(data.validation, Path) else data.train
    return (
        describe_data_file(data.train, n_frames=len(trainer.train_frames), role="train"),
        describe_data_file(validation, n_frames=len(trainer.validation_frames), role="validation"),
    )


def describe(config: RunConfig, trainer: Trainer, files: tuple[DataFile, ...]) -> ModelMetadata:
    """Metadata of the model from its configuration and data, without errors."""
    data = config.data
    state = trainer.progress
    return ModelMetadata(
        name=config.name,
        description=config.description,
        limits=(*config.limits, *(() if data.isolated_atoms else (FITTED_ATOMS,))),
        level_of_theory=data.level_of_theory,
        baseline=trainer.baseline,
        charges=tuple(sorted(data.charges)),
        multiplicities=(data.spin_multiplicity,),
        formulas=few_formulas(frame.numbers for frame in trainer.train_frames),
        training_data=files,
        training={
            **config.training.model_dump(mode="json"),
            "seed": config.seed,
            "best_epoch": state.best_epoch,
            "seconds": round(state.seconds),
            "data_source": data.source,
            **({"initial": trainer.initial[1].name} if trainer.initial else {}),
        },
    )


def few_formulas(molecules: Iterable[np.ndarray]) -> tuple[str, ...]:
    """Sorted molecular formulas; empty if there are more than :data:`FEW_MOLECULES`."""
    found = set(map(formula, molecules))
    return tuple(sorted(found)) if len(found) <= FEW_MOLECULES else ()


def measure(config: RunConfig, folder: Path) -> tuple[Measurement, ...]:
    """Errors of a saved model on the existing test files."""
    method = config.baseline_method
    potential = Potential(folder, baseline=imported(method) if method else None)
    found = []
    for name, path in config.data.tests.items():
        if not path.is_file():
            _LOGGER.warning("test %r is not measured: no such file: %s", name, path)
            continue
        try:
            frames = list(frames_of_file(path, "extxyz"))
            errors = evaluate(
                potential,
                frames,
                charge=config.data.charges[0],
                spin_multiplicity=config.data.spin_multiplicity,
                other_level="compare",
            )
        except (ValueError, OSError, RuntimeError) as error:  # the trained model is kept
            _LOGGER.warning("test %r is not measured: %s: %s", name, path, error)
            continue
        if not errors["complete"]:  # errors of a part of a test must not be in the card
            raise KeyboardInterrupt
        for note in errors["notes"]:
            _LOGGER.warning("test %r: %s", name, note)
        n_frames = errors.pop("n_frames")
        found.append(
            Measurement(
                data=describe_data_file(path, n_frames=n_frames, role="test"),
                **{k: v for k, v in errors.items() if k in Measurement.__dataclass_fields__},
            )
        )
    return tuple(found)
