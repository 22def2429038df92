"""Labels what waits in the shards; started again, it resumes.

    OMP_NUM_THREADS=1 python -m research.labels.work --processes 2 --hours 2

Shards are worked on in order. What was done is written every two minutes, at the end, and when the
run is stopped by Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import argparse
import signal
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path

from ase import Atoms

from research.labels.shards import SHARDS, is_waiting, shard_files, with_label, write_shard
from se3set_ase.io.extended_xyz import frames_of_file
from se3set_ase.label.density_functional import DensityFunctional

#: Chosen by research/labels/noise.py. The first 5,357 labels have the grid level 2.
LABELLER = DensityFunctional(level="wB97X-3c", grid_level=1, energy_tolerance=1e-7)
#: Seconds between writes of a shard.
INTERVAL = 120.0


def main() -> None:
    """All shards, until the time is up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--hours", type=float, default=1000.0)
    parser.add_argument("--shards", type=Path, default=SHARDS)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    end = time.time() + 3600.0 * arguments.hours
    with ProcessPoolExecutor(arguments.processes) as executor:
        for path in shard_files(arguments.shards):
            work_on(path, executor, 2 * arguments.processes, end)


def work_on(path: Path, executor: ProcessPoolExecutor, at_once: int, end: float) -> None:
    """Label what waits in one shard until the time ``end``."""
    frames = list(frames_of_file(path))
    waiting = [i for i, atoms in enumerate(frames) if is_waiting(atoms)]
    running: dict[Future[Atoms], int] = {}
    began = written = time.time()
    done = 0
    try:
        while (waiting and time.time() < end) or running:
            while waiting and len(running) < at_once and time.time() < end:
                index = waiting.pop(0)
                running[executor.submit(labelled, frames[index])] = index
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                frames[running.pop(future)] = future.result()
                done += 1
            if time.time() > written + INTERVAL:
                write_shard(path, frames)
                written = time.time()
                print(f"{path.name}: {done} labels, {(written - began) / done:.1f} s each, "
                      f"{len(waiting)} wait", flush=True)  # fmt: skip
    finally:
        for future, index in running.items():
            if not future.cancel():
                frames[index] = future.result()
                done += 1
        if done:
            write_shard(path, frames)


def labelled(atoms: Atoms) -> Atoms:
    """Frame with its label, or with the reason why it has none."""
    try:
        found = with_label(atoms, LABELLER(atoms))
        found.info["grid_level"] = LABELLER.grid_level
        return found
    except Exception as error:  # programs fail in ways of their own
        failed = atoms.copy()
        failed.info["failure"] = f"{type(error).__name__}: {error}"
        return failed


if __name__ == "__main__":
    main()
