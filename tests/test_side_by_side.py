"""Calculators of other models and dtypes, in threads of one process, do what each does alone."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import molecule
from ase.md.verlet import VelocityVerlet

from se3set_ase import SE3SetCalculator
from se3set_ase._lock import Lock

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


def test_threads_that_share_a_calculator_get_the_results_of_their_own_atoms() -> None:
    images = [start() for _ in range(4)]
    for k, image in enumerate(images):
        image.rattle(0.04 * (k + 1), seed=k)
    expected = []
    for image in images:
        image.calc = SE3SetCalculator("ethanol", dtype="float32", device="cpu")
        expected.append((image.get_potential_energy(), image.get_forces()))
    shared = SE3SetCalculator("ethanol", dtype="float32", device="cpu")
    barrier = Barrier(len(images))

    def work(image: Atoms) -> list[tuple[float, np.ndarray]]:
        image.calc = shared
        found = []
        for _ in range(5):
            barrier.wait(timeout=120)
            found.append((image.get_potential_energy(), image.get_forces()))
        return found

    with (
        pytest.warns(UserWarning, match="several threads use one calculator") as issued,
        ThreadPoolExecutor(len(images)) as threads,
    ):
        together = list(threads.map(work, images))
    assert len(issued) == 1
    for (energy, forces), found in zip(expected, together, strict=True):
        for own_energy, own_forces in found:
            assert abs(own_energy - energy) < SAME["float32"] * abs(energy)
            np.testing.assert_allclose(own_forces, forces, atol=1e-4)
    # A control: the images differ by more.
    assert min(np.abs(expected[0][1] - forces).max() for _, forces in expected[1:]) > 0.1


def test_a_copy_of_a_locked_calculator_is_free() -> None:
    lock = Lock("wait")
    with lock:
        copied, loaded = copy.deepcopy(lock), pickle.loads(pickle.dumps(lock))
        with ThreadPoolExecutor(1) as threads:
            assert threads.submit(lambda: [copied.__enter__(), loaded.__enter__()]).result(60)
            with pytest.raises(UserWarning, match="wait"):
                threads.submit(lock.__enter__).result(60)
