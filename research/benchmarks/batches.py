"""Hypergraph work per step of many molecules in one batch, and of each on its own.

    python -m research.benchmarks.batches    # minutes on one core

Geometries of aspirin (21 atoms), consecutive in a run at 300 K with the model `gfn2`, for all
molecules from different starts on. `trembling` molecules stay within the skin, so that each
hypergraph remains valid. Only the smooth weights are evaluated, in place of the network, and their
time does not count: the work is what a processor does for a network on another device. It is
processor time. Writes batches.csv.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.optimize import FIRE
from torch import Tensor

import se3set_ase.potential
from research.benchmarks.machine import about
from research.paths import DOCS
from research.tables import write_rows
from se3set_ase import Potential, SE3SetCalculator
from se3set_ase.io.smiles import atoms_from_smiles
from se3set_ase.nn.graph import Graph
from se3set_ase.nn.model import SE3Set
from se3set_ase.nn.outputs import Outputs
from se3set_ase.pipeline import Batch, Replica

STEPS, TREMBLE = 8, 0.01


def main() -> None:
    """Measure both ways for both motions and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--molecules", type=int, default=256)
    parser.add_argument("--output", type=Path, default=DOCS)
    arguments = parser.parse_args()
    n = arguments.molecules
    trajectory = heated(n + STEPS)
    motions = {
        "trembling": [tremble(trajectory[:n], step) for step in range(STEPS)],
        "dynamics": [trajectory[step : n + step] for step in range(STEPS)],
    }
    rows = []
    for motion, steps in motions.items():
        for way, run in (("together", together), ("one by one", one_by_one)):
            milliseconds, rebuilt = measured(run, steps)
            row = {
                "motion": motion,
                "way": way,
                "molecules": n,
                "atoms": len(trajectory[0]),
                "rebuilt_per_step": round(rebuilt, 1),
                "ms_per_step": round(milliseconds, 1),
            }
            rows.append({**row, **about()})
            print(row)
    write_rows(arguments.output / "batches.csv", rows)


def heated(steps: int) -> list[Atoms]:
    """Geometries of consecutive MD steps of 0.5 fs at 300 K."""
    moving = atoms_from_smiles("CC(=O)Oc1ccccc1C(=O)O")  # aspirin
    moving.calc = SE3SetCalculator("gfn2", device="cpu", dtype="float32")
    FIRE(moving, logfile=None).run(fmax=0.5, steps=30)
    thermalize_momenta(moving, temperature_K=300, rng=np.random.default_rng(1))
    dynamics = Langevin(
        moving,
        0.5 * units.fs,
        temperature_K=300,
        friction=0.02 / units.fs,
        fixcm=False,
        rng=np.random.default_rng(2),
    )
    frames: list[Atoms] = []
    dynamics.attach(lambda: frames.append(moving.copy()))
    dynamics.run(steps - 1)
    return frames


def tremble(frames: Sequence[Atoms], step: int) -> list[Atoms]:
    """The frames with a small random displacement of each atom."""
    moved = [atoms.copy() for atoms in frames]
    for index, atoms in enumerate(moved):
        atoms.rattle(TREMBLE, seed=1000 * step + index)
    return moved


Step = Callable[[list[Atoms]], object]


def together(potential: Potential, n: int) -> tuple[list[Replica], Step]:
    """A step of all molecules in one batch."""
    replicas = [Replica(potential) for _ in range(n)]
    return replicas, Batch(replicas).follow


def one_by_one(potential: Potential, n: int) -> tuple[list[Replica], Step]:
    """A step of each molecule after another, in a batch of its own."""
    replicas = [Replica(potential) for _ in range(n)]
    batches = [Batch([replica]) for replica in replicas]

    def step(molecules: list[Atoms]) -> None:
        for batch, atoms in zip(batches, molecules, strict=True):
            batch.follow([atoms])

    return replicas, step


def measured(
    way: Callable[[Potential, int], tuple[list[Replica], Step]], steps: Sequence[list[Atoms]]
) -> tuple[float, float]:
    """Milliseconds of hypergraph work per step, and number of new hypergraphs per step."""
    network = Stopwatch(weights_only)
    potential = Potential("gfn2", device="cpu")
    replicas, step = way(potential, len(steps[0]))
    with replaced(se3set_ase.potential, "outputs", network):
        step(steps[0])
        rebuilt, spent, network.seconds = 0, 0.0, 0.0
        for molecules in steps[1:]:
            before = [replica.hypergraph for replica in replicas]
            start = time.process_time()
            step(molecules)
            spent += time.process_time() - start
            rebuilt += sum(r.hypergraph is not h for r, h in zip(replicas, before, strict=True))
    n = len(steps) - 1
    return 1000 * (spent - network.seconds) / n, rebuilt / n


@contextlib.contextmanager
def replaced(owner: object, name: str, value: object) -> Iterator[None]:
    """Replace an attribute for a while."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


class Stopwatch:
    """A function with the processor time of all its calls."""

    def __init__(self, function: Callable[..., Any]):
        self.function, self.seconds = function, 0.0

    def __call__(self, *arguments: Any) -> Any:
        start = time.process_time()
        found = self.function(*arguments)
        self.seconds += time.process_time() - start
        return found


def weights_only(model: SE3Set, positions: Tensor, graph: Graph) -> Outputs:
    """Smooth weights, and zero for everything else."""
    with torch.no_grad():
        w = model.weigh(positions, graph)
    zero = torch.zeros(len(graph.species), dtype=torch.float64)
    return Outputs(
        energy=zero[: len(graph.n_atoms)],
        forces=torch.zeros_like(positions),
        energies=zero,
        charges=zero,
        bond=w.bond,
        fragment=w.fragment,
        hyperedge=w.hyperedge,
        reach=w.reach,
    )


if __name__ == "__main__":
    main()
