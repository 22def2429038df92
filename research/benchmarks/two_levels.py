"""Labels of two levels of theory: one after the other, both at once, or the dear ones alone.

    pip install '.[label,train]'
    python benchmarks/two_levels.py            # an hour and a half on one core

Many geometries have labels by GFN2-xTB, few by wB97X/6-31G(d). ``one after the other``: trained on
the many, then all weights on the few, as `organic` is. ``both at once``: one network that takes a
level's elements as kinds of their own (embeddings, weights of products and shifts for each level,
all else shared), and sees both in the same proportion. ``alone``: the few, from random weights.
All see as many geometries in batches of as many, and are validated as often; the second part of the
first way takes smaller steps, as `organic` does: larger ones forget what was learnt. Measured as
benchmarks/organic.py does. After arXiv:2506.14963, which has more.
Writes two_levels.csv; a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from ase.io import iread, write
from machine import about, write_rows
from organic import DATA, column

from se3set_ase import SE3SetCalculator
from se3set_ase.checkpoint import ModelMetadata, save_checkpoint
from se3set_ase.hypergraph.radii import COVALENT_RADII
from se3set_ase.nn.model import SE3Set
from se3set_ase.nn.radial import Repulsion
from se3set_ase.train import trainer
from se3set_ase.train.config import DataConfig, RunConfig, load_config
from se3set_ase.train.data import Frame, read_atomic_energies, split
from se3set_ase.train.normalisation import normalise
from se3set_ase.train.run import train

ROOT = Path(__file__).parents[1]
ORGANIC = ROOT / "models" / "organic" / "train.yaml"
GFN2 = ROOT / "models" / "organic-gfn2" / "train.yaml"
#: Geometries by GFN2-xTB, at random.
MANY = 15_000
#: Of as many geometries each: of all, and of those that are of the dear level.
EPOCHS, DEAR_EPOCHS, EPOCH = 30, 15, 3_000
#: Added to atomic numbers that are of the level of the many.
OTHER = 100
SHARED: dict[str, Any] = {
    "learning_rate": 3e-3,
    "batch_size": 8,
    "validate_every": 1,
    "epoch_frames": EPOCH,
}
NETWORK = {"preset": "light"}


def main() -> None:
    """Train each, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "docs")
    output = parser.parse_args().output
    rows = []
    for way in (one_after_the_other, both_at_once, alone):
        name = way.__name__.replace("_", " ")
        found = column(SE3SetCalculator(str(way()), device="cpu"), DATA)
        rows.append({"way": name, "geometries seen": EPOCHS * EPOCH, **found, **about()})
        write_rows(output / "two_levels.csv", rows)
        print(name, found["forces, MAE, meV/A: all"])


def run(base: Path, name: str, epochs: int, **changes: Any) -> RunConfig:
    """A training that differs from that of a bundled model as told."""
    config = load_config(base)
    training = {**config.training.model_dump(), **SHARED, "epochs": epochs}
    training |= changes.pop("training", {})
    values = {**config.model_dump(), "name": f"two-levels-{name}", "training": training, **changes}
    values["data"] = {**values["data"], **changes.get("data", {}), "tests": {}}
    return RunConfig(**values)


def one_after_the_other() -> Path:
    """Pre-training, then fine-tuning."""
    changes = {"data": many().model_dump(), "network": NETWORK, "initial": None}
    first = train(run(GFN2, "first", EPOCHS - DEAR_EPOCHS, **changes))
    own = load_config(ORGANIC).training.model_dump(include={"learning_rate"})
    return train(run(ORGANIC, "then", DEAR_EPOCHS, initial=first, network={}, training=own))


def alone() -> Path:
    """Without the many."""
    return train(run(ORGANIC, "alone", EPOCHS, initial=None, network=NETWORK))


def many() -> DataConfig:
    """Those of the cheap level, chosen once: the file that they are from takes minutes to read."""
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
    """The other level's atoms are made other elements, which are cut off in the end."""
    cheap = many()

    def split_both(data: Any, hypergraph: Any, seed: int) -> tuple[list[Frame], list[Frame]]:
        dear, validation = split(data, hypergraph, seed)
        others = [relabelled(frame) for frame in split(cheap, hypergraph, seed)[0]]
        repeats = round(len(others) * DEAR_EPOCHS / (EPOCHS - DEAR_EPOCHS) / len(dear))
        return dear * repeats + others, validation

    def atomic_energies(path: Path, *, source: str = "") -> dict[int, float]:
        assert cheap.isolated_atoms is not None
        others = read_atomic_energies(cheap.isolated_atoms)
        return {**read_atomic_energies(path), **{z + OTHER: e for z, e in others.items()}}

    def build(*arguments: Any) -> SE3Set:
        model = make(*arguments)
        elements = [z % OTHER for z in model.elements]
        radii = COVALENT_RADII[elements].tolist()
        model.repulsion = Repulsion(elements, radii, cutoff=model.hypergraph.reach)
        return model

    make = trainer.build_model
    config = run(ORGANIC, "both", EPOCHS, initial=None, network=NETWORK)
    with (
        patch.object(trainer, "split", split_both),
        patch.object(trainer, "read_atomic_energies", atomic_energies),
        patch.object(trainer, "build_model", build),
    ):
        fitted = trainer.Trainer(config)
        model = fitted.run()
    dear = [frame for frame in fitted.train_frames if frame.numbers.max() < OTHER]
    atomic = dict(zip(model.elements, model.atomic_energies, strict=True))
    own = make(config, model.hypergraph, normalise(dear, atomic), model)
    own.set_shifts([model.shifts[model.elements.index(z)] for z in own.elements])
    level = config.data.level_of_theory
    save_checkpoint(
        fitted.folder / "model", own, ModelMetadata(name=config.name, level_of_theory=level)
    )
    return fitted.folder / "model"


def relabelled(frame: Frame) -> Frame:
    """With atoms that are other elements to the network."""
    numbers = frame.numbers + OTHER
    return replace(frame, numbers=numbers, hypergraph=replace(frame.hypergraph, numbers=numbers))


if __name__ == "__main__":
    main()
