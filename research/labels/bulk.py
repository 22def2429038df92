"""GFN2-xTB labels in bulk: short hot runs from every geometry of the pools or of the data set.

    OMP_NUM_THREADS=1 python -m research.labels.bulk runs/geometries/*.xyz --processes 2

Without pools they start from the geometries in research/data/wb97x-3c, which were chosen from the
pools, and are longer. Writes runs/bulk/NNNN.xyz.gz, one file for every few hundred starting
geometries, with energies and forces; started again, it resumes. 300,000 geometries take about an
hour on two cores.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import CalculationFailed
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from tqdm import tqdm

from research.geometries.sampling import LARGEST_FORCE, generator
from research.geometries.xtb import FRICTION, with_gfn2
from research.labels.shards import read_all, rounded, write_shard
from research.paths import RUNS
from se3set_ase.io.extended_xyz import frames_of_file

#: Starting geometries of one file.
STARTS = 200
#: Steps of a run, fs each, and how many apart two frames are.
STEPS, APART, TIMESTEP = 60, 4, 1.0
#: Factor for the fewer starts of the data set.
LONGER = 3
#: Temperatures that velocities are drawn from, K.
KELVIN = (300.0, 2500.0)
#: Mass of hydrogen, u, so that a step of 1 fs is short at any temperature.
HYDROGEN = 3.0
#: Decimals that are kept.
DECIMALS_ENERGY, DECIMALS_FORCES = 5, 4


def main() -> None:
    """Run every file that is not there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pools", type=Path, nargs="*")
    parser.add_argument("--output", type=Path, default=RUNS / "bulk")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    starts = [frame for path in sorted(arguments.pools) for frame in frames_of_file(path)]
    steps = STEPS
    if not starts:
        starts, steps = list(read_all()), LONGER * STEPS
    order = np.random.default_rng(arguments.seed).permutation(len(starts))
    arguments.output.mkdir(parents=True, exist_ok=True)
    tasks = []
    for number, k in enumerate(range(0, len(order), STARTS), start=1):
        path = arguments.output / f"{number:04d}.xyz.gz"
        if not path.exists():
            tasks.append((path, [starts[i] for i in order[k : k + STARTS]], arguments.seed, steps))
    with ProcessPoolExecutor(arguments.processes) as executor:
        counts = executor.map(write, *zip(*tasks, strict=True)) if tasks else iter(())
        for _ in tqdm(counts, total=len(tasks), unit="file"):
            pass


def write(path: Path, starts: list[Atoms], seed: int, steps: int = STEPS) -> int:
    """Label the runs from some geometries; return the number of frames."""
    frames = [frame for start in starts for frame in hot_run(start, seed, steps)]
    write_shard(path, frames)
    return len(frames)


def hot_run(start: Atoms, seed: int, steps: int = STEPS) -> Iterator[Atoms]:
    """Labelled frames of a short run, the start first; it ends where GFN2-xTB fails."""
    charge = int(start.info["charge"])
    rng = generator(start.positions.tobytes(), seed)
    moving = with_gfn2(start, charge)
    masses = moving.get_masses()
    masses[moving.numbers == 1] = HYDROGEN
    moving.set_masses(masses)
    kelvin = rng.uniform(*KELVIN)
    thermalize_momenta(moving, temperature_K=kelvin, rng=rng)
    dynamics = Langevin(
        moving, TIMESTEP * units.fs, temperature_K=kelvin, friction=FRICTION, rng=rng, fixcm=False
    )
    info = {key: start.info[key] for key in ("family", "charge", "part") if key in start.info}
    try:
        yield from kept(moving, info)
        for _ in range(steps // APART):
            dynamics.run(APART)
            yield from kept(moving, info)
    except CalculationFailed:
        return


def kept(moving: Atoms, info: dict[str, object]) -> Iterator[Atoms]:
    """The present geometry with its labels, unless atoms have come too close."""
    frame = rounded(Atoms(moving.numbers, moving.positions, info=info))
    forces = moving.get_forces()
    if np.linalg.norm(forces, axis=1).max() < LARGEST_FORCE:
        frame.calc = SinglePointCalculator(
            frame,
            energy=round(moving.get_potential_energy(), DECIMALS_ENERGY),
            forces=forces.round(DECIMALS_FORCES),
        )
        yield frame


if __name__ == "__main__":
    main()
