"""Training, validation and test files of the labels in research/data/wb97x-3c.

    python -m research.correction.dataset    # a minute the first time

Writes runs/labels/{train,validation,test}.xyz and runs/labels/isolated_atoms.xyz. ``--number N``
takes N of the training frames, each smaller choice a part of the larger ones, for learning curves.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from research.labels.shards import is_labelled, read_all
from research.labels.work import LABELLER
from research.paths import RUNS
from research.splits import PARTS
from se3set_ase.io.extended_xyz import as_text
from se3set_ase.io.files import write_atomically
from se3set_ase.label.protocol import Labeller

#: Spin multiplicities of the ground states of the free atoms.
GROUND_STATES = {
    "H": 2, "B": 2, "C": 3, "N": 4, "O": 3, "F": 2,
    "Si": 3, "P": 4, "S": 3, "Cl": 2, "Br": 2, "I": 2,
}  # fmt: skip
#: Longest force of a frame that is trained on, eV/Angstrom.
LONGEST_FORCE = 30.0


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=RUNS / "labels")
    parser.add_argument("--number", type=int, help="of training frames; all by default")
    arguments = parser.parse_args()
    folder: Path = arguments.output
    folder.mkdir(parents=True, exist_ok=True)
    atoms_file = folder / "isolated_atoms.xyz"
    if not atoms_file.exists():
        write(atoms_file, isolated_atoms(LABELLER))
    parts: dict[str, list[Atoms]] = {part: [] for part in PARTS}
    for frame in read_all():
        if is_labelled(frame) and longest_force(frame) < LONGEST_FORCE:
            parts[frame.info["part"]].append(frame)
    for part, frames in parts.items():
        if part == "train":
            order = np.random.default_rng(0).permutation(len(frames))[: arguments.number]
            frames = [frames[k] for k in order]
        write(folder / f"{part}.xyz", frames)
        print(f"{part}: {len(frames)} frames")


def longest_force(frame: Atoms) -> float:
    """Longest force on an atom of a labelled frame, eV/Angstrom."""
    return float(np.linalg.norm(frame.get_forces(), axis=1).max())


def isolated_atoms(labeller: Labeller) -> list[Atoms]:
    """Ground states of the free atoms, labelled."""
    frames = []
    for symbol, multiplicity in GROUND_STATES.items():
        atom = Atoms(symbol, info={"spin_multiplicity": multiplicity})
        label = labeller(atom)
        atom.calc = SinglePointCalculator(atom, energy=label.energy, forces=label.forces)
        frames.append(atom)
    return frames


def write(path: Path, frames: Iterable[Atoms]) -> None:
    """Extended XYZ, atomically."""
    write_atomically(path, as_text(list(frames)).encode())


if __name__ == "__main__":
    main()
