"""Training and validation files of the bulk labels.

    python -m research.gfn2.dataset    # after research.labels.bulk; minutes

Writes runs/bulk/{train,validation}.xyz and isolated_atoms.xyz. Molecules and reactions are split as
in research/data/wb97x-3c; near copies of benchmark geometries are left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms
from tqdm import tqdm

from research.correction.dataset import isolated_atoms, write
from research.labels.leaks import Leaks, truth_geometries
from research.paths import RUNS
from research.truth.reactions import TRUTH
from se3set_ase.io.extended_xyz import as_text, frames_of_file
from se3set_ase.label import make_labeller

#: Frames of the validation file, out of all molecules and reactions of that part.
VALIDATION = 1000


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bulk", type=Path, default=RUNS / "bulk", help="its output, too")
    parser.add_argument("--more", type=Path, nargs="*", default=(), help="folders of more labels")
    parser.add_argument("--truth", type=Path, default=TRUTH)
    arguments = parser.parse_args()
    folder: Path = arguments.bulk
    write(folder / "isolated_atoms.xyz", isolated_atoms(make_labeller("GFN2-xTB")))
    files = [p for each in (folder, *arguments.more) for p in sorted(each.glob("*.xyz.gz"))]
    validation: list[Atoms] = []
    leaks, n_train, n_copied = Leaks(truth_geometries(arguments.truth)), 0, 0
    with (folder / "train.xyz").open("w") as file:
        for path in tqdm(files, unit="file"):
            train = []
            for frame in frames_of_file(path):
                if leaks.copied(frame):
                    n_copied += 1
                elif frame.info["part"] == "train":
                    train.append(frame)
                elif frame.info["part"] == "validation":
                    validation.append(frame)
            file.write(as_text(train))
            n_train += len(train)
    picks = np.random.default_rng(0).permutation(len(validation))[:VALIDATION]
    write(folder / "validation.xyz", [validation[k] for k in sorted(picks)])
    print(f"{n_train} frames for training, {len(picks)} of {len(validation)} for validation")
    print(f"{n_copied} near copies of benchmark geometries left out")


if __name__ == "__main__":
    main()
