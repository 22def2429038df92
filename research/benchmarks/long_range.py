"""Cost of dispersion and of charges in a force call, on one core, in one run.

    OMP_NUM_THREADS=1 python -m research.benchmarks.long_range

Networks have the default shape and random weights. Every round times all models in turn; the
fastest time of each counts. Writes long_range.csv with milliseconds, and the ratio to the network
alone.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms

from research.benchmarks.machine import about
from research.benchmarks.speed import ELEMENTS, molecules
from research.benchmarks.untrained import save_untrained
from research.paths import DOCS
from research.tables import write_rows
from se3set_ase import SE3SetCalculator
from se3set_ase.nn.longrange.config import LongRangeConfig

PARTS = {
    "network": LongRangeConfig(),
    "with dispersion": LongRangeConfig(dispersion=True),
    "with charges": LongRangeConfig(charges=True),
    "with both": LongRangeConfig(dispersion=True, charges=True),
}


def main() -> None:
    """Time the models and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="*", type=int, default=(27, 102, 302, 1002))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compile", action="store_true", help="compiled models as well")
    parser.add_argument("--output", type=Path, default=DOCS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        paths = {
            name: save_untrained(Path(folder) / name.replace(" ", "-"), ELEMENTS, long_range=config)
            for name, config in PARTS.items()
        }
        for compiled in (False, True) if arguments.compile else (False,):
            options: dict[str, Any] = {"device": "cpu", "dtype": "float32", "compile": compiled}
            calculators = {name: SE3SetCalculator(path, **options) for name, path in paths.items()}
            for atoms in (m for m in molecules() if len(m) in arguments.sizes):
                times = fastest(atoms, calculators, arguments.rounds)
                for name, milliseconds in times.items():
                    row: dict[str, object] = {
                        "atoms": len(atoms),
                        "compiled": compiled,
                        "model": name,
                        "ms": round(milliseconds, 2),
                        "ratio": round(milliseconds / times["network"], 3),
                    }
                    print(row, flush=True)
                    rows.append(row | about())
    write_rows(arguments.output / "long_range.csv", rows)


def fastest(
    atoms: Atoms, calculators: dict[str, SE3SetCalculator], rounds: int
) -> dict[str, float]:
    """Milliseconds of the fastest of several calls, by model."""
    rng, start = np.random.default_rng(1), atoms.positions.copy()
    found = dict.fromkeys(calculators, np.inf)
    for _ in range(rounds):
        for name, calc in calculators.items():
            atoms.calc = calc
            atoms.get_forces()  # lists the hypergraph
            for _ in range(max(2, 600 // len(atoms))):
                atoms.positions = start + rng.normal(scale=0.005, size=start.shape)
                begin = time.perf_counter()
                atoms.get_forces()
                found[name] = min(found[name], 1e3 * (time.perf_counter() - begin))
    return found


if __name__ == "__main__":
    main()
