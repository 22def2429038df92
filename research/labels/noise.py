"""Noise that the settings of a label leave, and what a label costs.

    OMP_NUM_THREADS=1 python -m research.labels.noise --frames 12 --output docs/label_noise.csv

Some geometries of the data set are labelled with a fine grid and a tight tolerance, then with
cheaper settings. Times are processor times of one core.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from ase import Atoms

from research.benchmarks.machine import about
from research.labels.shards import read_all, rounded
from research.labels.work import LABELLER
from research.tables import write_rows
from se3set_ase.label.density_functional import DensityFunctional
from se3set_ase.label.protocol import Label

TIGHT = (4, 1e-9)
SETTINGS = ((1, 1e-6), (1, 1e-7), (2, 1e-6), (2, 1e-7), (3, 1e-7))
MEV = 1000.0


def main() -> None:
    """Label, compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    frames = list(map(rounded, read_all()))
    picks = np.random.default_rng(arguments.seed).permutation(len(frames))[: arguments.frames]
    chosen = [frames[i] for i in picks]
    exact = [timed(atoms, *TIGHT) for atoms in chosen]
    rows = []
    for settings in (*SETTINGS, TIGHT):
        found = [timed(atoms, *settings) for atoms in chosen] if settings != TIGHT else exact
        forces = np.concatenate(
            [(f.forces - e.forces).ravel() for (f, _), (e, _) in zip(found, exact, strict=True)]
        )
        energies = [f.energy - e.energy for (f, _), (e, _) in zip(found, exact, strict=True)]
        row = {
            "grid_level": settings[0],
            "energy_tolerance_hartree": settings[1],
            "force_rms_mev_per_angstrom": MEV * np.sqrt(np.mean(forces**2)),
            "force_max_mev_per_angstrom": MEV * np.abs(forces).max(),
            "energy_max_mev": MEV * np.abs(energies).max(),
            "seconds": np.mean([seconds for _, seconds in found]),
            "atoms": np.mean([len(atoms) for atoms in chosen]),
            "frames": len(chosen),
        }
        rounded_row = {k: float(f"{v:.3g}") for k, v in row.items()}
        print(rounded_row, flush=True)
        rows.append({**rounded_row, **about()})
    write_rows(arguments.output, rows, line_end="\n")


def timed(atoms: Atoms, grid_level: int, energy_tolerance: float) -> tuple[Label, float]:
    """Label, and the seconds it took."""
    labeller = DensityFunctional(
        level=LABELLER.level, grid_level=grid_level, energy_tolerance=energy_tolerance
    )
    began = time.process_time()
    return labeller(atoms), time.process_time() - began


if __name__ == "__main__":
    main()
