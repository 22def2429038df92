"""Cost of dispersion and of charges in a force call, on one core, in one run.

    OMP_NUM_THREADS=1 python -m research.benchmarks.long_range

Networks have the default shape and random weights. Every round times all models in turn; the
fastest time of each counts. Writes long_range.csv with milliseconds, and the ratio to the network
alone; then times of a call with both for growing molecules and cells, and the exponents.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms

from research.benchmarks.engine import slope
from research.benchmarks.machine import about
from research.benchmarks.speed import ELEMENTS, molecules
from research.benchmarks.systems import peptide_helix, water_box
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
#: Systems that grow: residues of the helix, and repeats of a periodic cell of four molecules.
GROWTH: dict[str, tuple[Callable[[int], Atoms], tuple[int, ...]]] = {
    "peptide helix": (peptide_helix, (9, 29, 99, 199)),
    "periodic box of water": (water_box, (2, 3, 4, 5)),
}


def main() -> None:
    """Time the models and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="*", type=int, default=(27, 102, 302, 1002))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compile", action="store_true", help="compiled models as well")
    parser.add_argument("--output", type=Path, default=DOCS)
    arguments = parser.parse_args()
    models = {name: {"long_range": config} for name, config in PARTS.items()}
    rows = compared(models, arguments.sizes, rounds=arguments.rounds, compiled=arguments.compile)
    write_rows(arguments.output / "long_range.csv", [*rows, *growth()])


def compared(
    models: Mapping[str, dict[str, Any]], sizes: Sequence[int], *, rounds: int, compiled: bool
) -> list[dict[str, object]]:
    """Rows for models with random weights, and their ratio to the first one.

    Parameters
    ----------
    models : arguments of :func:`save_untrained` for each, by name.
    sizes : numbers of atoms, of :func:`research.benchmarks.speed.molecules`.
    rounds : in each, all models are timed in turn.
    compiled : compiled models as well.
    """
    torch.set_num_threads(1)
    first, rows = next(iter(models)), []
    with tempfile.TemporaryDirectory() as folder:
        paths = {
            name: save_untrained(Path(folder) / name.replace(" ", "-"), ELEMENTS, **options)
            for name, options in models.items()
        }
        for compile in (False, True) if compiled else (False,):
            options: dict[str, Any] = {"device": "cpu", "dtype": "float32", "compile": compile}
            calculators = {name: SE3SetCalculator(path, **options) for name, path in paths.items()}
            for atoms in (m for m in molecules() if len(m) in sizes):
                times = fastest(atoms, calculators, rounds)
                for name, milliseconds in times.items():
                    row: dict[str, object] = {
                        "system": "molecule",
                        "atoms": len(atoms),
                        "compiled": compile,
                        "model": name,
                        "ms": round(milliseconds, 2),
                        "ratio": round(milliseconds / times[first], 3),
                    }
                    print(row, flush=True)
                    rows.append(row | about())
    return rows


def growth() -> list[dict[str, object]]:
    """Rows of the model with both parts for growing systems, not compiled, and the exponents."""
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = save_untrained(Path(folder) / "both", ELEMENTS, long_range=PARTS["with both"])
        for system, (make, sizes) in GROWTH.items():
            calc = SE3SetCalculator(path, device="cpu", dtype="float32")
            cells = [make(size) for size in sizes]
            times = [fastest(atoms, {"with both": calc}, 1)["with both"] for atoms in cells]
            exponent = slope([len(atoms) for atoms in cells], times)
            for atoms, milliseconds in zip(cells, times, strict=True):
                row: dict[str, object] = {
                    "system": system,
                    "atoms": len(atoms),
                    "compiled": False,
                    "model": "with both",
                    "ms": round(milliseconds, 2),
                    "exponent": round(exponent, 3),
                }
                print(row, flush=True)
                rows.append(row | about())
    return rows


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
