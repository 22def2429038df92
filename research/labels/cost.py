"""Seconds for a label, by the number of atoms.

    OMP_NUM_THREADS=1 python -m research.labels.cost runs/geometries/*.xyz --output FILE.csv

Processor time of one core, for geometries of every family; the median and the longest.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np

from research.labels.choose import functions
from research.labels.shards import rounded
from research.labels.work import LABELLER
from se3set_ase.io.extended_xyz import frames_of_file

SIZES = (6, 9, 12, 15, 20)


def main() -> None:
    """Label some geometries of each size, print and write the times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--each", type=int, default=5, help="geometries of a size")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    frames = [atoms for path in arguments.files for atoms in frames_of_file(path)]
    rng = np.random.default_rng(arguments.seed)
    rows = []
    for size in SIZES:
        of_size = [rounded(atoms) for atoms in frames if len(atoms) == size]
        seconds, basis = [], []
        for index in rng.permutation(len(of_size))[: arguments.each]:
            began = time.process_time()
            LABELLER(of_size[index])
            seconds.append(time.process_time() - began)
            basis.append(functions(of_size[index]))
        rows.append(
            {
                "atoms": size,
                "geometries": len(seconds),
                "basis_functions": round(float(np.mean(basis))),
                "median_seconds": round(float(np.median(seconds)), 1),
                "longest_seconds": round(max(seconds), 1),
            }
        )
        print(rows[-1], flush=True)
    with arguments.output.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
