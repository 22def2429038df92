"""Shared by relaxation and dynamics: the last complete step, trajectory files, checks."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculatorError
from ase.io import Trajectory
from ase.io import write as write_atoms

from se3set_ase.io.text import warn_each_time

Progress = Callable[[int], object]


class LastStep:
    """The last complete step, to which a run returns if it is interrupted within the next one."""

    def __init__(self, atoms: Atoms, rng: np.random.Generator | None = None):
        self._atoms, self._rng = atoms, rng
        self.keep(0)

    def keep(self, n_steps: int) -> None:
        self.n_steps = int(n_steps)
        self._positions = self._atoms.get_positions()
        self._momenta = self._atoms.get_momenta() if self._atoms.has("momenta") else None
        self._state = None if self._rng is None else self._rng.bit_generator.state

    def restore(self) -> None:
        self._atoms.set_positions(self._positions, apply_constraint=False)
        if self._momenta is not None:
            self._atoms.set_momenta(self._momenta, apply_constraint=False)
        if self._rng is not None and self._state is not None:
            self._rng.bit_generator.state = self._state


def failure(stopped: BaseException, done: LastStep) -> CalculatorError | None:
    """Return to the last complete step, and warn about an error of the calculator.

    Returns
    -------
    The error; None if the run was interrupted.
    """
    done.restore()
    if not isinstance(stopped, CalculatorError):
        return None
    warn_each_time(f"the run ended after step {done.n_steps}: {stopped}")
    return stopped


@contextlib.contextmanager
def keeping_constraints(atoms: Atoms, done: LastStep | None = None) -> Iterator[None]:
    """Restore the last step and raise ValueError in words if constraints of ASE do not converge."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        of_method = isinstance(error, CalculatorError)  # e.g. a self-consistent field
        if of_method or "not converge" not in str(error) or not atoms.constraints:
            raise
        if done is not None:
            done.restore()
        kinds = sorted({type(constraint).__name__ for constraint in atoms.constraints})
        raise ValueError(
            "expected constraints that can be kept together, but after step "
            f"{0 if done is None else done.n_steps} ASE does not converge to them "
            f"({', '.join(kinds)}): they contradict each other, or the steps are too long"
        ) from error


@contextlib.contextmanager
def frame_writer(path: str | os.PathLike[str] | None) -> Iterator[Callable[[Atoms], object]]:
    """A function that appends a frame to the file; the file is closed in any case."""
    if path is None:
        yield lambda atoms: None
    elif Path(path).suffix == ".traj":
        with Trajectory(os.fspath(path), "w") as trajectory:
            try:
                yield trajectory.write
            finally:
                trajectory.backend.data = {}  # otherwise closing would write an incomplete frame
    else:
        Path(path).unlink(missing_ok=True)
        yield lambda atoms: write_atoms(path, atoms, append=True)


def check_atoms(atoms: Atoms) -> None:
    require(atoms.calc is not None, "atoms with a calculator, got none: set atoms.calc first")
    require(len(atoms) > 0, "at least one atom, got an empty Atoms object")


def check_steps(steps: int) -> None:
    whole = isinstance(steps, int | np.integer) and steps >= 0
    require(whole, f"a whole number of steps of at least 0, got {steps!r}")


def check_positive(**values: float) -> None:
    for name, value in values.items():
        require(bool(np.isfinite(value)) and value > 0, f"a positive {name}, got {value}")


def require(condition: bool, expected: str) -> None:
    if not condition:
        raise ValueError(f"expected {expected}")
