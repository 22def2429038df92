"""Training on two levels of theory: one after the other, both at once, or the expensive one alone.

    pip install '.[label,train]'
    python -m research.benchmarks.two_levels    # an hour and a half on one core

Many geometries have labels by GFN2-xTB, few by wB97X/6-31G(d). ``one after the other``: trained on
the many, then all weights on the few, as `organic` is. ``both at once``: one network in which the
elements of each level are separate kinds of atoms (embeddings, weights of products and shifts for
each level, all else shared), trained on both in the same proportion. ``alone``: the few, from
random weights. All are trained on as many geometries in batches of the same size, and validated as
often; the second part of the first way takes smaller steps, as `organic` does, because larger ones
forget what was learnt. Errors are those of research.benchmarks.organic. After arXiv:2506.14963,
which compares more ways. Writes two_levels.csv; an interrupted run resumes.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase.io import iread, write

from research.benchmarks.machine import about
from research.benchmarks.organic_errors import DATA, column
from research.paths import CONFIGS, DOCS
from research.tables import write_rows
from se3set_ase import SE3SetCalculator
from se3set_ase.checkpoint import ModelMetadata, save_checkpoint
from se3set_ase.hypergraph import HypergraphConfig
from se3set_ase.hypergraph.radii import COVALENT_RADII
from se3set_ase.nn.model import SE3Set
from se3set_ase.nn.radial import Repulsion
from se3set_ase.train.build import Checkpoint, build_model
from se3set_ase.train.config import DataConfig, RunConfig, load_config
from se3set_ase.train.data import Frame, TrainingData, read_training_data
from se3set_ase.train.normalisation import Normalisation, normalise
from se3set_ase.train.run import train
from se3set_ase.train.trainer import Trainer

ORGANIC = CONFIGS / "organic.yaml"
GFN2 = CONFIGS / "organic-gfn2.yaml"
#: Number of random geometries labelled by GFN2-xTB.
MANY = 15_000
#: Numbers of epochs of :data:`EPOCH` geometries: in total, and at the expensive level.
EPOCHS, EXPENSIVE_EPOCHS, EPOCH = 30, 15, 3_000
#: Added to the atomic numbers of the cheap level.
OTHER = 100
SHARED: dict[str, Any] = {
    "learning_rate": 3e-3,
    "batch_size": 8,
    "validate_every": 1,
    "epoch_frames": EPOCH,
}
NETWORK = {"preset": "light"}


def main() -> None:
    """Train each way, measure it, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=DOCS)
    output = parser.parse_args().output
    rows = []
    for way in (one_after_the_other, both_at_once, alone):
        name = way.__name__.replace("_", " ")
        found = column(SE3SetCalculator(str(way()), device="cpu"), DATA)
        rows.append({"way": name, "geometries seen": EPOCHS * EPOCH, **found, **about()})
        write_rows(output / "two_levels.csv", rows)
        print(name, found["forces, MAE, meV/A: all"])


def run(base: Path, name: str, epochs: int, **changes: Any) -> RunConfig:
    """Configuration of a bundled model with changes."""
    config = load_config(base)
    training = {**config.training.model_dump(), **SHARED, "epochs": epochs}
    training |= changes.pop("training", {})
    values = {**config.model_dump(), "name": f"two-levels-{name}", "training": training, **changes}
    values["data"] = {**values["data"], **changes.get("data", {}), "tests": {}}
    return RunConfig(**values)


def one_after_the_other() -> Path:
    """Pre-training, then fine-tuning."""
    changes = {"data": many().model_dump(), "network": NETWORK, "initial": None}
    first = train(run(GFN2, "first", EPOCHS - EXPENSIVE_EPOCHS, **changes))
    own = load_config(ORGANIC).training.model_dump(include={"learning_rate"})
    return train(run(ORGANIC, "then", EXPENSIVE_EPOCHS, initial=first, network={}, training=own))


def alone() -> Path:
    """Training on the few labels alone."""
    return train(run(ORGANIC, "alone", EPOCHS, initial=None, network=NETWORK))


def many() -> DataConfig:
    """Data of the cheap level, chosen once because reading the whole file takes minutes."""
    data = load_config(GFN2).data
    path = data.train.with_name(f"two-levels-{MANY}.xyz")
    if not path.exists():
        frames = list(iread(data.train, ":", format="extxyz"))
        chosen = np.random.default_rng(0).permutation(len(frames))[:MANY]
        temporary = path.with_suffix(".part")
        write(temporary, [frames[i] for i in chosen], format="extxyz")
        temporary.replace(path)
    return data.model_copy(update={"train": path})


def both_at_once() -> Path:
    """Training on both levels."""
    config = run(ORGANIC, "both", EPOCHS, initial=None, network=NETWORK)
    return train_both(config, many(), share=EXPENSIVE_EPOCHS / (EPOCHS - EXPENSIVE_EPOCHS))


def train_both(config: RunConfig, cheap: DataConfig, *, share: float) -> Path:
    """Train one network on two levels, with separate elements for the atoms of the cheap level.

    Those elements are removed from the model in the end.

    Parameters
    ----------
    config : of the level that the model is for. cheap : the other level.
    share : frames of the first level, repeated, for each frame of the other one.
    """
    hypergraph = HypergraphConfig.from_dict(config.hypergraph)
    own = read_training_data(config.data, hypergraph, config.seed)
    other = read_training_data(cheap, hypergraph, config.seed)
    assert own.atomic_energies is not None
    assert other.atomic_energies is not None
    repeats = round(len(other.train) * share / len(own.train))
    others = {z + OTHER: energy for z, energy in other.atomic_energies.items()}
    data = TrainingData(
        train=[*repeats * list(own.train), *map(relabelled, other.train)],
        validation=own.validation,
        atomic_energies={**own.atomic_energies, **others},
    )
    trainer = Trainer(config, data=data, build=build_both)
    model = trainer.run()
    atomic = dict(zip(model.elements, model.atomic_energies, strict=True))
    metadata = ModelMetadata(name=config.name, level_of_theory=config.data.level_of_theory)
    alone = build_model(config, model.hypergraph, normalise(own.train, atomic), (model, metadata))
    alone.set_shifts([model.shifts[model.elements.index(z)] for z in alone.elements])
    save_checkpoint(trainer.folder / "model", alone, metadata)
    return trainer.folder / "model"


def build_both(
    config: RunConfig,
    hypergraph: HypergraphConfig,
    normalisation: Normalisation,
    initial: Checkpoint | None,
) -> SE3Set:
    """Model whose repulsion treats the atoms of both levels as the same elements."""
    model = build_model(config, hypergraph, normalisation, initial)
    elements = [z % OTHER for z in model.elements]
    radii = COVALENT_RADII[elements].tolist()
    model.repulsion = Repulsion(elements, radii, cutoff=model.hypergraph.reach)
    return model


def relabelled(frame: Frame) -> Frame:
    """Frame whose atoms are different elements to the network."""
    numbers = frame.numbers + OTHER
    return replace(frame, numbers=numbers, hypergraph=replace(frame.hypergraph, numbers=numbers))


if __name__ == "__main__":
    main()
