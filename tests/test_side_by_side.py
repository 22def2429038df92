"""Calculators of other models and dtypes, in threads of one process, do what each does alone."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import torch
from ase import Atoms, units
from ase.build import molecule
from ase.md.verlet import VelocityVerlet

from se3set_ase import SE3SetCalculator

STEPS = 15
#: Angstrom and sqrt(u eV) after these steps. With several threads in a process torch divides sums
#: differently, so float32 agrees to its rounding.
SAME = {"float64": 1e-10, "float32": 1e-7}
#: Smallest difference of other models or dtypes.
OTHER = 3e-7
KINDS = [
    (model, dtype) for model in ("ethanol", "rmd17-ethanol-50") for dtype in ("float64", "float32")
]


def start() -> Atoms:
    """Its hydroxyl's hydrogen comes back: a bond forms."""
    atoms = molecule("CH3CH2OH")
    atoms.set_distance(2, 3, 1.5, fix=0)
    atoms.set_velocities(0.04 * np.random.default_rng(2).normal(size=(len(atoms), 3)))
    return atoms


def moved(model: str, dtype: str) -> np.ndarray:
    """Positions and momenta after a short run in a separate process."""
    torch.set_num_threads(1)
    return run(start(), SE3SetCalculator(model, dtype=dtype, device="cpu"))


def run(atoms: Atoms, calculator: SE3SetCalculator, barrier: Barrier | None = None) -> np.ndarray:
    atoms.calc = calculator
    dynamics = VelocityVerlet(atoms, 0.5 * units.fs)
    for _ in range(STEPS):
        if barrier is not None:  # so that they really are at it at the same time
            barrier.wait(timeout=120)
        dynamics.run(1)
    assert calculator.events
    return np.array([atoms.positions, atoms.get_momenta()])


def test_threads_and_processes_agree() -> None:
    context = multiprocessing.get_context("spawn")  # not fork: torch has threads
    alone = []
    for kind in KINDS:
        with context.Pool(1) as pool:
            alone.append(pool.apply(moved, kind))
    calculators = [SE3SetCalculator(m, dtype=d, device="cpu") for m, d in KINDS]
    barrier = Barrier(len(KINDS))
    with ThreadPoolExecutor(len(KINDS)) as threads:
        together = list(
            threads.map(run, [start() for _ in KINDS], calculators, [barrier] * len(KINDS))
        )
    for (_, dtype), here, there in zip(KINDS, together, alone, strict=True):
        assert np.abs(here - there).max() < SAME[dtype]
    # A control: the runs are not all one.
    for k, here in enumerate(together):
        for other in together[:k]:
            assert np.abs(here - other).max() > OTHER
