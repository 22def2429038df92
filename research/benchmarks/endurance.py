"""A long MD run: checks that neither memory nor the time per step grows.

    python -m research.benchmarks.endurance    # a million steps: one to two hours on one core
    python -m research.benchmarks.endurance --steps 200000

Langevin dynamics of acetylacetone at 300 K with ASE, compiled, float32, steps of 0.5 fs, with the
log of refragmentation. Writes a row for each block of steps to endurance.csv, and prints how memory
and time per step grew over the second half of the run, by least squares. The log keeps the last
100,000 events, about 30 MB; it is filled before the run, because filling it would look like a leak.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import units
from ase.io import read
from ase.md.langevin import Langevin
from tqdm import trange

from research.benchmarks.machine import about, resident_kB
from research.paths import DOCS, EXAMPLES
from research.tables import write_rows
from se3set_ase import SE3SetCalculator
from se3set_ase.events import EventLog


def main() -> None:
    """Run the dynamics and print the growth."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="acac")
    parser.add_argument("--molecule", type=Path, default=EXAMPLES / "acetylacetone.xyz")
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--block", type=int, default=5_000)
    parser.add_argument("--output", type=Path, default=DOCS / "endurance.csv")
    arguments = parser.parse_args()
    if arguments.output.exists():
        parser.error(f"expected no {arguments.output} yet: move it away")
    torch.set_num_threads(1)
    atoms = read(arguments.molecule)
    atoms.calc = SE3SetCalculator(arguments.model, device="cpu", dtype="float32", compile=True)
    rng = np.random.default_rng(0)
    dynamics = Langevin(
        atoms, 0.5 * units.fs, temperature_K=300, friction=0.01 / units.fs, fixcm=False, rng=rng
    )
    dynamics.run(1_000)  # excludes what is loaded and listed only once
    fill(atoms.calc.event_log)
    rows: list[dict[str, Any]] = []
    for block in trange(arguments.steps // arguments.block, unit="block", disable=None):
        wall, processor = time.perf_counter(), time.process_time()
        dynamics.run(arguments.block)
        row = {
            "steps": (block + 1) * arguments.block,
            "wall_ms_per_step": 1000 * (time.perf_counter() - wall) / arguments.block,
            "processor_ms_per_step": 1000 * (time.process_time() - processor) / arguments.block,
            "resident_MB": resident_kB("VmRSS") / 1024,
            "events": atoms.calc.event_log.n_events,
            "temperature_K": atoms.get_temperature(),
            "model": arguments.model,
        }
        rows.append({**row, **about()})
        write_rows(arguments.output, rows)
    half = rows[len(rows) // 2 :]
    for key in ("resident_MB", "processor_ms_per_step"):
        values = np.array([float(row[key]) for row in half])
        slope = np.polyfit([float(row["steps"]) / 1e6 for row in half], values, 1)[0]
        print(f"{key}: {values.mean():.4g}, grows by {slope:+.3g} in a million steps")


def fill(log: EventLog) -> None:
    """Fill the log with copies of its events, each a separate object."""
    for event in islice(cycle(log.events), log.capacity):
        atoms, symbols = (*event.atoms,), (*event.symbols,)
        weight, energy = event.weight * 1.0, event.energy * 1.0
        log.add([replace(event, atoms=atoms, symbols=symbols, weight=weight, energy=energy)])


if __name__ == "__main__":
    main()
