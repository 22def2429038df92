"""The committee of a learning run: trained, compared, and published as a model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from ase import Atoms

from se3set_ase.checkpoint.files import METADATA_FILE
from se3set_ase.checkpoint.metadata import Measurement
from se3set_ase.checkpoint.registry import COMMITTEE_FILE
from se3set_ase.checkpoint.store import load_checkpoint, load_metadata, save_checkpoint
from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.learning.surfaces import without_warnings
from se3set_ase.nn.model import SE3Set
from se3set_ase.potential import Potential
from se3set_ase.prediction import Prediction
from se3set_ase.system import declared_labels
from se3set_ase.train.baseline_labels import CachedBaseline
from se3set_ase.train.batches import Batches
from se3set_ase.train.build import Checkpoint, build_model
from se3set_ase.train.config import DataConfig, RunConfig, TrainingConfig
from se3set_ase.train.data import Frame, TrainingData, read_frames, read_training_data
from se3set_ase.train.errors import energy_errors
from se3set_ase.train.normalisation import Normalisation, fit_elements
from se3set_ase.train.run import data_files, describe
from se3set_ase.train.trainer import Trainer
from se3set_ase.uncertainty.calibration import write_calibration
from se3set_ase.uncertainty.committee import disagreement, environments
from se3set_ase.uncertainty.fit import compare, fit

#: Smallest and largest number of times that it processes each frame.
FEWEST_EPOCHS, MOST_EPOCHS = 6, 100
BATCH_SIZE = 4
#: From weights of a model, and from random ones; larger rates forget more of the model.
LEARNING_RATE, RANDOM_LEARNING_RATE = 5e-4, 2e-3
#: Compilation takes as long as an uncompiled training on this many atoms, all epochs together.
WORTH_COMPILING = 400_000
#: Share of the training frames that members other than the first one are trained on.
PART = 0.8
#: Number of validations in a training.
VALIDATIONS = 4


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the members are trained.

    Attributes
    ----------
    level_of_theory : of the labels.
    charge : e.
    baseline : name of the method that the model corrects, or None.
    limits : for the card.
    seed : of all random numbers.
    n_frames : number of geometries that a training processes, all epochs together.
    """

    level_of_theory: str
    charge: int
    baseline: str | None
    limits: tuple[str, ...]
    seed: int
    n_frames: int

    def config(
        self,
        train: Path,
        validation: Path,
        output: Path,
        *,
        name: str,
        epochs: int,
        initial: Path | None = None,
        member: int = 0,
        n_train: int | None = None,
        compile: bool = False,
    ) -> RunConfig:
        """The training of one member."""
        return RunConfig(
            name=name,
            description=f"Learnt by se3set-ase from labels of {self.level_of_theory}.",
            limits=self.limits,
            seed=self.seed + member,
            data=DataConfig(
                train=train,
                validation=validation,
                n_train=n_train,
                level_of_theory=self.level_of_theory,
                charge=self.charge,
                source="se3set-ase learn",
            ),
            baseline=self.baseline,
            initial=initial,
            training=TrainingConfig(
                loss="l2mae",
                epochs=epochs,
                batch_size=BATCH_SIZE,
                learning_rate=LEARNING_RATE if initial else RANDOM_LEARNING_RATE,
                warmup_steps=20,
                energy_weight=(0.03, 1.0),
                ema_decay=0.98,
                validate_every=math.ceil(epochs / VALIDATIONS),
                compile=compile,
                device="auto",
                threads=1,
            ),
            output=output,
        )


def train_member(
    recipe: Recipe,
    train: Path,
    validation: Path,
    output: Path,
    *,
    name: str,
    member: int,
    available: int,
    longer: int,
    initial: Path | None,
    atomic_energies: Mapping[int, float],
) -> Path:
    """Train a member, or resume its training; returns its model folder.

    Parameters
    ----------
    train, validation : files of labelled geometries.
    output : folder of all trainings.
    name : of this training.
    member : 0 is trained on all geometries, others on different parts.
    available : number of training geometries.
    longer : how many times as long as usual.
    initial : model with the initial weights; None for random ones.
    atomic_energies : eV, see :func:`fitted_energies`.
    """
    folder = output / name / "model"
    if (folder / METADATA_FILE).exists():
        return folder
    n_train = max(1, round(PART * available)) if member else available
    epochs = min(MOST_EPOCHS, max(FEWEST_EPOCHS, math.ceil(longer * recipe.n_frames / n_train)))
    config = recipe.config(
        train,
        validation,
        output,
        name=name,
        epochs=epochs,
        initial=initial,
        member=member,
        n_train=n_train if n_train < available else None,
    )
    hypergraph = _hypergraph(initial)
    data = replace(
        _differences(
            read_training_data(config.data, hypergraph, config.seed), config, output / "baseline"
        ),
        atomic_energies=atomic_energies,
    )
    n_atoms = epochs * sum(len(frame.numbers) for frame in data.train)
    compile = n_atoms > WORTH_COMPILING
    config = config.model_copy(
        update={"training": config.training.model_copy(update={"compile": compile})}
    )

    def build(
        config: RunConfig,
        hypergraph: HypergraphConfig,
        normalisation: Normalisation,
        initial: Checkpoint | None = None,
    ) -> SE3Set:
        model = build_model(config, hypergraph, normalisation, initial)
        _align(model, data.train)
        return model

    trainer = Trainer(config, progress=False, data=data, build=build, draw=False)
    files = data_files(config, trainer)
    model = trainer.run()
    save_checkpoint(folder, model, describe(config, trainer, files))
    return folder


def fitted_energies(
    recipe: Recipe, train: Path, initial: Path | None, output: Path
) -> dict[int, float]:
    """Energies of the elements, eV, that fit best to labelled geometries.

    All members must have the same ones.
    """
    config = recipe.config(train, train, output, name="x", epochs=1)
    frames = read_frames(train, _hypergraph(initial), charges=config.data.charges)
    data = TrainingData(train=frames, validation=[], atomic_energies=None)
    frames = list(_differences(data, config, output / "baseline").train)
    elements = sorted({int(z) for frame in frames for z in frame.numbers})
    counts = np.array([[int((f.numbers == z).sum()) for z in elements] for f in frames])
    found = fit_elements(counts, np.array([frame.energy for frame in frames]))
    return dict(zip(elements, found.tolist(), strict=True))


def potentials(
    folders: Sequence[Path], dtype: Literal["float32", "float64"] = "float32"
) -> list[Potential]:
    """The members, ready to predict."""
    return [Potential(folder, dtype=dtype) for folder in folders]


def predictions(members: Sequence[Potential], frames: Sequence[Atoms]) -> list[list[Prediction]]:
    """Predictions of all members for each geometry."""
    with without_warnings():
        found = [member.predict(frames, warn=False) for member in members] if frames else []
    return [list(of_one) for of_one in zip(*found, strict=True)]


def uncertainties(members: Sequence[Potential], frames: Sequence[Atoms]) -> np.ndarray:
    """Largest disagreement of the members about the force on an atom, (frames,) eV/Angstrom."""
    return np.array(
        [
            disagreement([p.correction for p in found])[1].max()
            for found in predictions(members, frames)
        ]
    )


def publish(
    members: Sequence[Path],
    folder: Path,
    name: str,
    train: Sequence[Atoms],
    validation: Sequence[Atoms],
    measured: Sequence[Measurement],
) -> None:
    """Write the members as one model with a calibrated committee.

    The folder has a complete model at any moment, with or without its committee.

    Parameters
    ----------
    train : geometries whose uncertainty and bonds are familiar.
    validation : geometries whose errors calibrate the uncertainty.
    """
    (folder / COMMITTEE_FILE).unlink(missing_ok=True)
    names = [f"member-{k}" for k in range(1, len(members))]
    places = [folder, *(folder / one for one in names)]
    for member, place in zip(members, places, strict=True):
        model, metadata = load_checkpoint(member)
        save_checkpoint(place, model, replace(metadata, name=name, measured=tuple(measured)))
    if names:
        frames = [*validation, *train]
        found = predictions(potentials(places), frames)
        familiar, errors = compare(found, map(_labels, frames))
        n = len(validation)
        seen = set[str]().union(*(environments(of_one[0].hypergraph) for of_one in found))
        write_calibration(
            folder,
            names,
            **asdict(fit(familiar[:n], errors[:n], familiar)),
            environments=tuple(sorted(seen)),
        )


def _labels(atoms: Atoms) -> tuple[float, np.ndarray]:
    energy, forces = declared_labels(atoms)
    assert energy is not None
    assert forces is not None
    return energy, forces


def _hypergraph(initial: Path | None) -> HypergraphConfig:
    if initial is None:
        return HypergraphConfig()
    return HypergraphConfig.from_dict(load_metadata(initial).hypergraph)


def _differences(data: TrainingData, config: RunConfig, cache: Path) -> TrainingData:
    """The data without the baseline, whose energy of a charge is in the fitted energies."""
    if (method := config.baseline_method) is None:
        return data
    baseline = CachedBaseline(method, cache)
    return replace(
        data,
        train=baseline.subtract(data.train),
        validation=baseline.subtract(data.validation),
        baseline=method,
    )


def _align(model: SE3Set, frames: Sequence[Frame]) -> None:
    """Shift the energies of initial weights onto those of the labels.

    The initial model has another zero of energy for this molecule. Otherwise the first steps of the
    training would remove a constant of many eV, and forget what the weights know.
    """
    batches = Batches(
        frames,
        model.species_of,
        model.hypergraph,
        batch_size=BATCH_SIZE,
        dtype=model.dtype,
        device=model.device,
        pairs=model.long_range is not None,
    )
    left, counts = energy_errors(model, batches)
    change = fit_elements(counts, -left)
    model.set_shifts([s + float(d) for s, d in zip(model.shifts, change, strict=True)])
