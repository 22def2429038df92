"""Force calls and dynamics while other processes use every core, with default settings.

    python -m research.benchmarks.busy    # five minutes, on a machine that does nothing else

Do not set OMP_NUM_THREADS: the number of threads is what is measured. Force calls are timed in turn
with and without one endless process per core, dynamics in one process alone and in one process per
core at the same time. Values are medians. Writes busy.csv.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta

from research.benchmarks.machine import about
from research.benchmarks.speed import molecules
from research.paths import DOCS, ROOT
from research.tables import read_rows, write_rows
from se3set_ase import SE3SetCalculator

MODEL = "organic"
#: Options of the calculator, by mode.
MODES: dict[str, dict[str, Any]] = {
    "float64": {},
    "float32, compiled": {"dtype": "float32", "compile": True},
}
SIZES = (9, 27, 102, 302)
#: In place of a mode: a loop in Python instead of dynamics, the most that this machine allows.
CONTROL = "Python loop"
MEASUREMENTS = ("force call", "dynamics")


def main() -> None:
    """Run the measurements and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("measurements", nargs="*", default=MEASUREMENTS, metavar="MEASUREMENT")
    parser.add_argument("--modes", nargs="*", default=list(MODES), choices=MODES)
    parser.add_argument("--sizes", nargs="*", type=int, default=SIZES, choices=SIZES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each part of a round")
    parser.add_argument("--output", type=Path, default=DOCS)
    parser.add_argument("--dynamics", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.dynamics:
        dynamics(arguments.dynamics[0], int(arguments.dynamics[1]))
        return
    path = arguments.output / "busy.csv"
    tasks = [(n, m, s) for m in arguments.modes for s in arguments.sizes for n in MEASUREMENTS]
    for name, mode, size in [*tasks, ("dynamics", CONTROL, 0)]:
        if name not in arguments.measurements:
            continue
        measure = force_call if name == "force call" else runs_at_once
        row: dict[str, object] = {"measurement": name, "mode": mode, "atoms": size}
        row |= measure(mode, size, arguments.rounds, arguments.seconds)
        print(row, flush=True)
        row |= about()
        kept = [other for other in read_rows(path) if key_of(other) != key_of(row)]
        table: list[Mapping[str, object]] = [*kept, row]
        write_rows(path, sorted(table, key=key_of))


def key_of(row: Mapping[str, object]) -> tuple[int, int, int]:
    """What a row measures, in the order of the table."""
    name, mode = str(row["measurement"]), str(row["mode"])
    return MEASUREMENTS.index(name), [*MODES, CONTROL].index(mode), int(str(row["atoms"]))


def made(mode: str, size: int) -> Atoms:
    """A molecule with a calculator that has seen it."""
    atoms = next(m for m in molecules() if len(m) == size)
    atoms.calc = SE3SetCalculator(MODEL, device="cpu", **MODES[mode])
    atoms.get_forces()
    return atoms


def force_call(mode: str, size: int, rounds: int, seconds: float) -> dict[str, object]:
    """Milliseconds of a call on the idle and on the busy machine, and their ratio."""
    atoms, rng = made(mode, size), np.random.default_rng(1)
    start = atoms.positions.copy()
    idle: list[float] = []
    busy: list[float] = []
    for _ in range(rounds):
        for found, others in ((idle, 0), (busy, os.cpu_count() or 1)):
            with endless(others):
                begin, calls = time.perf_counter(), 0
                while calls < 3 or time.perf_counter() - begin < seconds:
                    atoms.positions = start + rng.normal(scale=0.01, size=start.shape)
                    atoms.get_forces()
                    calls += 1
                found.append(1e3 * (time.perf_counter() - begin) / calls)
    return compared("ms", statistics.median(idle), statistics.median(busy))


def runs_at_once(mode: str, size: int, rounds: int, seconds: float) -> dict[str, object]:
    """Steps per second of a run alone, and of the slowest of one run per core."""
    command = [sys.executable, "-m", "research.benchmarks.busy", "--dynamics", mode, str(size)]
    options: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "cwd": ROOT}
    runs = [
        subprocess.Popen(command, text=True, **options) for _ in range(max(os.cpu_count() or 1, 2))
    ]

    def slowest(some: list[subprocess.Popen[str]]) -> float:
        for run in some:
            assert run.stdin is not None
            run.stdin.write(f"{seconds}\n")
            run.stdin.flush()
        return min(float(answer(run)) for run in some)

    try:
        for run in runs:
            answer(run)  # has made its calculator
        found = [(slowest(runs[:1]), slowest(runs)) for _ in range(rounds)]
    finally:
        for run in runs:
            run.kill()
            run.communicate()
    alone, together = zip(*found, strict=True)
    return compared("steps_per_s", statistics.median(alone), statistics.median(together))


def answer(run: subprocess.Popen[str]) -> str:
    """The next line that a run prints."""
    assert run.stdout is not None
    return run.stdout.readline()


def compared(unit: str, alone: float, busy: float) -> dict[str, object]:
    """The columns of a measurement."""
    ratio = {"ratio": f"{busy / alone:.2f}"}
    return {f"idle_{unit}": f"{alone:.4g}", f"busy_{unit}": f"{busy:.4g}", **ratio}


def dynamics(mode: str, size: int) -> None:
    """Print the steps per second at 300 K for each number of seconds that is read."""
    if mode == CONTROL:
        step: Callable[[], object] = partial(sum, range(10_000))
    else:
        atoms, rng = made(mode, size), np.random.default_rng(1)
        thermalize_momenta(atoms, temperature_K=300, rng=rng)
        options = {"temperature_K": 300, "friction": 0.01 / units.fs, "fixcm": False, "rng": rng}
        step = partial(Langevin(atoms, 0.5 * units.fs, **options).run, 1)
    for _ in range(10):
        step()
    print("ready", flush=True)
    for line in sys.stdin:
        steps, begin = 0, time.perf_counter()
        while time.perf_counter() - begin < float(line):
            step()
            steps += 1
        print(steps / (time.perf_counter() - begin), flush=True)


@contextmanager
def endless(count: int) -> Iterator[None]:
    """Processes that compute until the end of this context."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        if others:
            time.sleep(0.3)
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


if __name__ == "__main__":
    main()
