"""The labelled data set, which is its own queue.

A shard is one compressed file of extended XYZ with a few hundred frames in a fixed order. A frame
has its label, or ``failure`` with the reason why it has none, or neither: then it waits.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from se3set_ase.io.extended_xyz import as_text, frames_of_file
from se3set_ase.io.files import write_atomically
from se3set_ase.label.protocol import Label

SHARDS = Path(__file__).parents[1] / "data" / "wb97x-3c"
#: Decimals that are kept: the noise of the labels is above the next one.
POSITIONS, ENERGY, FORCES, DIPOLE, CHARGES = 5, 6, 4, 5, 4


def shard_files(folder: Path = SHARDS) -> list[Path]:
    """In order of their numbers."""
    return sorted(folder.glob("[0-9]*.xyz.gz"))


def read_all(folder: Path = SHARDS) -> Iterator[Atoms]:
    """Frames of all shards, labelled or not."""
    for path in shard_files(folder):
        yield from frames_of_file(path)


def write_shard(path: Path, frames: Iterable[Atoms]) -> None:
    """Compressed, atomically; the same bytes for the same frames."""
    write_atomically(path, gzip.compress(as_text(list(frames)).encode(), mtime=0))


def is_labelled(atoms: Atoms) -> bool:
    """Whether a frame has its label."""
    return atoms.calc is not None and "energy" in atoms.calc.results


def is_waiting(atoms: Atoms) -> bool:
    """Whether a frame has neither a label nor a reason why not."""
    return not is_labelled(atoms) and "failure" not in atoms.info


def rounded(atoms: Atoms) -> Atoms:
    """New frame with the positions that are written: a label is of exactly these."""
    return Atoms(atoms.numbers, atoms.positions.round(POSITIONS) + 0.0, info=dict(atoms.info))


def with_label(atoms: Atoms, label: Label) -> Atoms:
    """New frame with a label, rounded."""
    new = Atoms(atoms.numbers, atoms.positions, info=dict(atoms.info))
    for name, value in label.info.items():
        new.info[name] = round(value, ENERGY) if isinstance(value, float) else value
    arrays = {
        "forces": (label.forces, FORCES),
        "dipole": (label.dipole, DIPOLE),
        "charges": (label.charges, CHARGES),
    }
    results = {n: a.round(digits) + 0.0 for n, (a, digits) in arrays.items() if a is not None}
    new.calc = SinglePointCalculator(new, energy=round(label.energy, ENERGY), **results)
    return new
