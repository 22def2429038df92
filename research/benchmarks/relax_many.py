"""Many molecules relaxed together and one by one: times, steps and minima.

    python -m research.benchmarks.relax_many    # minutes on one core
    python -m research.benchmarks.relax_many --molecules 50

The molecules are ethanol, dimethyl ether, acetone, acetamide and acetylacetone, rattled by 0.05
Angstrom and relaxed by LBFGS with the model `gfn2`; both ways eager and compiled, float64. Seconds
are those of the processor, because other programs may be running. Writes relax_many.csv.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.io import read
from ase.optimize import LBFGS

from research.benchmarks.machine import about
from research.paths import DOCS, EXAMPLES
from research.tables import write_rows
from se3set_ase import Potential, SE3SetCalculator, relax_many

MODEL, FMAX, SHAKE = "gfn2", 0.05, 0.05


def main() -> None:
    """Run both ways, eager and compiled, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--molecules", type=int, default=200)
    parser.add_argument("--output", type=Path, default=DOCS)
    arguments = parser.parse_args()
    frames = molecules(arguments.molecules)
    energies: dict[str, np.ndarray] = {}
    rows = []
    for compile in (False, True):
        for name, way in (("together", together), ("one by one", one_by_one)):
            # Excludes what is compiled or loaded only once.
            relaxed = way(compile)
            relaxed(frames[:2])
            start = time.process_time()
            found, steps = relaxed(frames)
            seconds = time.process_time() - start
            energies[f"{name} {compile}"] = found
            difference = np.abs(found - energies["together False"]).max()
            row = {
                "way": name,
                "compiled": compile,
                "molecules": len(frames),
                "seconds": round(seconds, 1),
                "steps": steps,
                "largest_difference_meV": round(1000 * float(difference), 4),
            }
            rows.append({**row, **about()})
            print(row)
    write_rows(arguments.output / "relax_many.csv", rows)


def molecules(number: int) -> list[Atoms]:
    """Rattled molecules, the same in every run."""
    kinds = [
        molecule("CH3CH2OH"),
        molecule("CH3OCH3"),
        molecule("CH3COCH3"),
        molecule("CH3CONH2"),
        read(EXAMPLES / "acetylacetone.xyz"),
    ]
    frames = []
    for seed in range(number):
        atoms = kinds[seed % len(kinds)].copy()
        atoms.rattle(SHAKE, seed=seed)
        frames.append(atoms)
    return frames


Way = Callable[[list[Atoms]], tuple[np.ndarray, int]]


def together(compile: bool) -> Way:
    """Relax all in one batch."""
    potential = Potential(MODEL, device="cpu", compile=compile)

    def relaxed(frames: list[Atoms]) -> tuple[np.ndarray, int]:
        found = relax_many(frames, potential, optimizer="LBFGS", fmax=FMAX)
        energies = [r.atoms.get_potential_energy() for r in found]
        return np.array(energies), sum(r.n_steps for r in found)

    return relaxed


def one_by_one(compile: bool) -> Way:
    """Relax one after another with ASE and one calculator."""
    calc = SE3SetCalculator(MODEL, device="cpu", compile=compile)

    def relaxed(frames: list[Atoms]) -> tuple[np.ndarray, int]:
        energies, steps = [], 0
        for start in frames:
            atoms = start.copy()
            atoms.calc = calc
            optimizer = LBFGS(atoms, logfile=None)
            optimizer.run(fmax=FMAX)
            energies.append(atoms.get_potential_energy())
            steps += optimizer.nsteps
        return np.array(energies), steps

    return relaxed


if __name__ == "__main__":
    main()
