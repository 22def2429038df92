"""Trains the other members of the committee of `organic`, each on half of its labels.

    python -m research.organic.members 1 2

Then run research.organic.calibrate and ``python -m se3set_ase.checkpoint.registry``. Models trained
on the same labels in another order hardly disagree and have the same errors, so each number draws
another half. The bundled members drew from the 2,954 labels before research.organic.chelates. Runs
are in runs/organic-NUMBER, models in models/organic/member-NUMBER.
"""

from __future__ import annotations

import argparse
import shutil

from research.paths import CONFIGS, MODELS
from se3set_ase.io.extended_xyz import frames_of_file
from se3set_ase.train.config import RunConfig, load_config
from se3set_ase.train.run import train

#: A third of those of `organic`; members need to differ in their data, not to be as accurate.
EPOCHS = 40


def main() -> None:
    """Train each member and copy it to the folder of the model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("numbers", nargs="+", type=int)
    for number in parser.parse_args().numbers:
        folder = MODELS / "organic" / f"member-{number}"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(train(member(load_config(CONFIGS / "organic.yaml"), number)), folder)


def member(config: RunConfig, number: int) -> RunConfig:
    """Configuration of one member."""
    labels = sum(1 for _ in frames_of_file(config.data.train))
    data = config.data.model_copy(update={"n_train": labels // 2})
    changes = {
        "name": f"{config.name}-{number}",
        "description": f"A member of the committee of {config.name}, of half its labels.",
        "limits": ("Here to disagree: by itself less accurate than the model that it doubts.",),
        "seed": number,
        "data": data,
        "training": config.training.model_copy(update={"epochs": EPOCHS, "validate_every": 4}),
    }
    return config.model_copy(update=changes)


if __name__ == "__main__":
    main()
