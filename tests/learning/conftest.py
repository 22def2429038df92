"""A tiny model of the Morse potential of ``tiny_learning.py``, and a run that starts from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from made_up_data import write_run
from tiny_learning import LOG, WATER, LoggedMorse, options

from se3set_ase.learning import Learned, learn
from se3set_ase.train.config import load_config
from se3set_ase.train.run import train


@pytest.fixture(scope="session")
def initial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained on displaced geometries, well enough for stable dynamics."""
    rng = np.random.default_rng(1)
    frames = []
    for _ in range(32):
        atoms = WATER.copy()
        atoms.positions += rng.normal(0.0, 0.08, atoms.positions.shape)
        atoms.calc = LoggedMorse()
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        frames.append(atoms)
    folder = tmp_path_factory.mktemp("initial")
    training = {"epochs": 20, "validate_every": 20, "learning_rate": 2e-2, "ema_decay": 0.9}
    return train(load_config(write_run(folder, frames, training=training)), progress=False)


@pytest.fixture(scope="session")
def finished(initial: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Learned, Path]:
    """A finished run, and the file with a line for each label that it made."""
    folder = tmp_path_factory.mktemp("finished")
    log = folder / "labels.log"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(LOG, str(log))
        learned = learn(WATER, **options(folder / "model", initial))
    return learned, log
