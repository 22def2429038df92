"""Errors of the bundled models on the published benchmarks that they were trained for.

    python -m research.benchmarks.accuracy --data FOLDER --prepare    # splits, in runs/data
    python -m research.benchmarks.accuracy --data FOLDER              # all models
    python -m research.benchmarks.accuracy --data FOLDER acac

FOLDER contains `acac`, `ethanol` and `3bpa` of the BOTNet datasets
(https://github.com/davkovacs/BOTNet-datasets) and `rmd17`
(https://doi.org/10.6084/m9.figshare.12672038) as extended XYZ. Splits are converted to eV. Writes
accuracy.csv: root mean square and mean absolute errors; for scans also the largest error of
energies relative to the lowest reference energy.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from research.benchmarks.machine import about
from research.paths import DOCS, RUNS
from research.tables import read_rows, write_rows
from se3set_ase.checkpoint import list_models
from se3set_ase.evaluate import evaluate
from se3set_ase.potential import Potential

PREPARED = RUNS / "data"
#: Seed of the split of 3BPA and of the training frames of aspirin.
SEED = 0


@dataclass(frozen=True)
class Test:
    """A file of test frames; along a path, relative energies are compared too."""

    name: str
    file: str
    path: bool = False


TESTS = {
    "acac": (
        Test("300 K", "acac/test_MD_300K.xyz"),
        Test("600 K", "acac/test_MD_600K.xyz"),
        Test("dihedral angle", "acac/test_dihedral.xyz", path=True),
        Test("proton transfer", "acac/test_H_transfer.xyz", path=True),
    ),
    "ethanol": (
        Test("MD", "ethanol/test_MD.xyz"),
        Test("removal of H", "ethanol/test_H_removal.xyz", path=True),
    ),
    "3bpa": (Test("held out, 300 K", "prepared/3bpa_held_out.xyz"),),
    "rmd17-ethanol": (Test("second set", "prepared/rmd17_ethanol_test.xyz"),),
    "rmd17-ethanol-50": (Test("second set", "prepared/rmd17_ethanol_test.xyz"),),
    "rmd17-aspirin-50": (Test("all others", "prepared/rmd17_aspirin_test.xyz"),),
}


def main() -> None:
    """Prepare the data, or measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help="default: all")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--output", type=Path, default=DOCS)
    arguments = parser.parse_args()
    if arguments.prepare:
        prepare(arguments.data)
        return
    bundled = [info.name for info in list_models() if info.name in TESTS]
    path = arguments.output / "accuracy.csv"
    rows: list[dict[str, object]] = []
    for name in arguments.models or bundled:
        potential = Potential(name, device="cpu")
        for test in TESTS[name]:
            rows.append(
                {"model": name, "test": test.name, **measure(potential, test, arguments.data)}
            )
            print(rows[-1], flush=True)
    kept = read_rows(path)
    measured = {row["model"] for row in rows}
    write_rows(
        path,
        [row for row in kept if row["model"] not in measured]
        + [{**row, **about()} for row in rows],
    )


def measure(potential: Potential, test: Test, data: Path) -> dict[str, object]:
    """Errors of one test, meV and meV/Angstrom."""
    folder, name = test.file.split("/")
    file = PREPARED / name if folder == "prepared" else data / folder / name
    frames = read(file, ":", format="extxyz", do_not_split_by_at_sign=True)
    row: dict[str, object] = {
        key: round(value, 3) if isinstance(value, float) else value
        for key, value in evaluate(potential, frames).items()
        if isinstance(value, int | float)
    }
    if test.path:
        reference = np.array([frame.get_potential_energy() for frame in frames])
        bare = [Atoms(frame.numbers, frame.positions) for frame in frames]
        energies = np.array([found.energy for found in potential.predict(bare, warn=False)])
        lowest = reference.argmin()
        apart = (energies - energies[lowest]) - (reference - reference[lowest])
        row["largest_along_path_meV"] = round(1000 * float(np.abs(apart).max()), 2)
        barrier = (reference.max() - reference[lowest], energies.max() - energies[lowest])
        row["reference_barrier_meV"], row["barrier_meV"] = (round(1000 * b, 2) for b in barrier)
    return row


def prepare(data: Path) -> None:
    """Copy and split the data that exist, as extended XYZ in eV and Angstrom."""
    PREPARED.mkdir(parents=True, exist_ok=True)

    def put(name: str, frames: list[Atoms], unit: float = 1.0) -> None:
        """Write frames whose energies have a ``unit`` (eV)."""
        bare = []
        for frame in frames:
            bare.append(Atoms(frame.numbers, frame.positions))
            bare[-1].calc = SinglePointCalculator(
                bare[-1],
                energy=unit * frame.get_potential_energy(),
                forces=unit * frame.get_forces(),
            )
        write(PREPARED / name, bare, format="extxyz")
        print(f"{PREPARED / name}: {len(bare)} frames")

    for name in ("acac", "ethanol", "3bpa", "rmd17"):
        if not (data / name).is_dir():
            print(f"left out, no folder: {data / name}")
        elif name != "rmd17":  # copied, so that all training data are in one folder
            shutil.copytree(data / name, PREPARED / name, dirs_exist_ok=True)
    if (PREPARED / "3bpa").exists():
        frames = read(PREPARED / "3bpa" / "train_300K.xyz", ":")
        order = np.random.default_rng(SEED).permutation(len(frames))
        put("3bpa_train.xyz", [frames[i] for i in order[:450]])
        put("3bpa_held_out.xyz", [frames[i] for i in order[450:]])
    if not (data / "rmd17").is_dir():
        return
    rng = np.random.default_rng(SEED)
    rng.permutation(500)  # keeps the random numbers independent of 3BPA's frames
    first, second = (read(data / "rmd17" / f"ethanol_train_{k}.xyz", ":") for k in (0, 1))
    known = {round(frame.get_potential_energy(), 6) for frame in first}
    new = [frame for frame in second if round(frame.get_potential_energy(), 6) not in known]
    order = rng.permutation(len(first))
    put("rmd17_ethanol_train.xyz", first)
    put("rmd17_ethanol_train_50.xyz", [first[i] for i in order[:50]])
    put("rmd17_ethanol_test.xyz", new)

    frames = read(data / "rmd17" / "aspirin.xyz", ":")
    order = rng.permutation(len(frames))
    put("rmd17_aspirin_train_50.xyz", [frames[i] for i in order[:50]], unit=1e-3)
    put("rmd17_aspirin_test.xyz", [frames[i] for i in order[50:]], unit=1e-3)


if __name__ == "__main__":
    main()
