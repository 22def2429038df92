"""Trains the other members of the committee of a model, each on half of its labels.

    python -m research.organic.members 1 2
    python -m research.organic.members 1 2 --model organic-xtb

Then run research.organic.calibrate and ``python -m se3set_ase.checkpoint.registry``. Models trained
on the same labels in another order hardly disagree and have the same errors, so each number draws
another half. The bundled members of `organic` drew from the 2,954 labels before
research.organic.chelates. Runs are in runs/MODEL-NUMBER, models in models/MODEL/member-NUMBER.
"""

from __future__ import annotations

import argparse
import shutil

from research.paths import CONFIGS, MODELS
from se3set_ase.io.extended_xyz import frames_of_file
from se3set_ase.train.config import RunConfig, load_config
from se3set_ase.train.run import train

#: About as many steps as a third of those of the model; members need to differ in their data, not
#: to be as accurate.
EPOCHS = {"organic": 40, "organic-xtb": 16}


def main() -> None:
    """Train each member and copy it to the folder of the model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("numbers", nargs="+", type=int)
    parser.add_argument("--model", choices=EPOCHS, default="organic")
    arguments = parser.parse_args()
    for number in arguments.numbers:
        folder = MODELS / arguments.model / f"member-{number}"
        config = member(load_config(CONFIGS / f"{arguments.model}.yaml"), number)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(train(config), folder)


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
        "training": config.training.model_copy(
            update={"epochs": EPOCHS[config.name], "validate_every": 4}
        ),
    }
    return config.model_copy(update=changes)


if __name__ == "__main__":
    main()
