"""Training speed of the default network: geometries per second, eager and compiled, one core.

    pip install ".[train]"
    python -m research.benchmarks.training --data FOLDER    # a few minutes with compilation

Acetylacetone (15 atoms) and 3-BPA (27 atoms) of the BOTNet datasets, batches of 5, float32: the
second and third epoch are timed. The machine has to be idle. Writes training.csv.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch

from research.benchmarks.machine import about
from research.paths import DOCS
from research.tables import read_rows, write_rows
from se3set_ase.train.config import load_config
from se3set_ase.train.trainer import Trainer

SYSTEMS = {
    "acac": ("acac/train_300K.xyz", "acac/isolated_atoms.xyz"),
    "3bpa": ("3bpa/train_300K.xyz", "3bpa/iso_atoms.xyz"),
}
EPOCHS = 3


def main() -> None:
    """Train a little, tell, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the BOTNet datasets")
    parser.add_argument("--output", type=Path, default=DOCS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, object]] = []
    for name, (train, isolated) in SYSTEMS.items():
        for compiled in (False, True):
            speed = geometries_per_s(arguments.data / train, arguments.data / isolated, compiled)
            rows.append({"system": name, "compiled": compiled, **speed, **about()})
            print(rows[-1], flush=True)
    write_rows(arguments.output / "training.csv", rows)


def geometries_per_s(train: Path, isolated: Path, compiled: bool) -> dict[str, object]:
    """Of the epochs after the first, without compilation and validation."""
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "config.yaml"
        values = temporary, train.resolve(), isolated.resolve(), EPOCHS, compiled
        file.write_text(CONFIG.format(*values))
        trainer = Trainer(load_config(file), progress=False)
        trainer.run()
        seconds = [float(row["seconds"]) for row in read_rows(trainer.folder / "log.csv")]
    n_frames = len(trainer.batches) * 5 * (EPOCHS - 1)
    return {
        "atoms": len(trainer.train_frames[0].numbers),
        "batch_size": 5,
        "geometries_per_s": round(n_frames / (seconds[-1] - seconds[0]), 1),
    }


CONFIG = """
name: speed
output: {}
data:
  train: {}
  validation: 5
  isolated_atoms: {}
  level_of_theory: as published
network:
  preset: light
training:
  epochs: {}
  compile: {}
  batch_size: 5
  validate_every: 1
  threads: 1
"""

if __name__ == "__main__":
    main()
