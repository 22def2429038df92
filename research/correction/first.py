"""Labels of another level for a first training: those of `organic`, moved to the zero of wB97X-3c.

    python -m research.correction.first    # writes runs/labels/first.xyz

Run it after research.correction.dataset.

wB97X/6-31G(d) differs from GFN2-xTB in much the same way as wB97X-3c does, where molecules do not
touch, and there are 3,110 labels more. The energies get an offset for each element, so that both
levels agree as well as they can. Molecules of the test and validation parts are left out, and near
copies of benchmark geometries.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from ase.calculators.singlepoint import SinglePointCalculator

from research.correction.dataset import write
from research.labels.leaks import Leaks, truth_geometries
from research.paths import ORGANIC, RUNS
from research.splits import part_of
from se3set_ase.baseline import KNOWN, Baseline
from se3set_ase.io.extended_xyz import frames_of_file

OLD = ORGANIC / "data" / "train.xyz.gz"


def main() -> None:
    """Write the old labels, followed by the new ones."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--new", type=Path, default=RUNS / "labels" / "train.xyz")
    parser.add_argument("--output", type=Path, default=RUNS / "labels" / "first.xyz")
    arguments = parser.parse_args()
    leaks = Leaks(truth_geometries())
    old = [
        frame
        for frame in frames_of_file(OLD)
        if part_of(str(frame.info["smiles"])) == "train"
        and leaks.copied(with_charge(frame)) is None
    ]
    new = list(frames_of_file(arguments.new))
    neutral = [frame for frame in new if frame.info["charge"] == 0]
    elements = sorted({int(z) for frame in old for z in frame.numbers})
    of_old = per_element(old, elements)
    of_new = per_element([f for f in neutral if set(f.numbers) <= set(elements)], elements)
    moved = [shifted(frame, counts(frame, elements) @ (of_new - of_old)) for frame in old]
    write(arguments.output, [*moved, *new])
    print(f"{len(moved)} of wB97X/6-31G(d), {len(new)} of wB97X-3c")


def with_charge(frame: Atoms) -> Atoms:
    """The frame as a neutral molecule, for the comparison with benchmark geometries."""
    copy = frame.copy()
    copy.info["charge"] = 0
    return copy


def counts(frame: Atoms, elements: Sequence[int]) -> np.ndarray:
    """Number of atoms of each element."""
    return np.array([np.count_nonzero(frame.numbers == z) for z in elements])


def per_element(frames: Sequence[Atoms], elements: Sequence[int]) -> np.ndarray:
    """Difference to GFN2-xTB of each element, eV, by least squares."""
    baseline = Baseline(KNOWN["GFN2-xTB"])
    rows, differences = [], []
    for frame in frames:
        try:
            base = baseline.evaluate(frame.numbers, frame.positions, 0, 1)
        except CalculationFailed:
            continue
        rows.append(counts(frame, elements))
        differences.append(frame.get_potential_energy() - base.energy)
    found: np.ndarray = np.linalg.lstsq(np.array(rows, float), np.array(differences), rcond=None)[0]
    return found


def shifted(frame: Atoms, energy: float) -> Atoms:
    """The frame with an offset of its energy, eV."""
    new = Atoms(frame.numbers, frame.positions, info={"charge": 0, "part": "train"})
    new.calc = SinglePointCalculator(
        new, energy=frame.get_potential_energy() + energy, forces=frame.get_forces()
    )
    return new


if __name__ == "__main__":
    main()
