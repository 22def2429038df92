"""What moves the atoms: the present model, GFN2-xTB, or nothing."""

from __future__ import annotations

import contextlib
import importlib.util
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from se3set_ase.baseline import KNOWN, imported
from se3set_ase.calculator import SE3SetCalculator
from se3set_ase.checkpoint.metadata import ModelMetadata

First = Literal["GFN2-xTB", "model", "rattle"]
"""What moves the atoms in the first round, when no model has been trained."""
#: Heaviest element of GFN2-xTB.
HEAVIEST = 86


@dataclass(frozen=True, kw_only=True)
class Surface:
    """A potential energy surface; without ``make`` geometries are only displaced at random.

    Attributes
    ----------
    name : for messages and files.
    make : returns a new ASE calculator.
    """

    name: str
    make: Callable[[], Any] | None = None


def model_surface(folder: Path, charge: int) -> Surface:
    """The surface of a model."""
    return Surface(
        name="model", make=partial(SE3SetCalculator, folder, dtype="float32", charge=charge)
    )


def first_surface(first: First, initial: Path | None, charge: int) -> Surface:
    """The surface of the first round."""
    if first == "GFN2-xTB":
        method = KNOWN["GFN2-xTB"]
        options: dict[str, Any] = {"method": "GFN2-xTB", "verbosity": 0, "charge": charge}
        return Surface(name=first, make=partial(imported(method), **options, multiplicity=1))
    if first == "model" and initial is not None:
        return model_surface(initial, charge)
    return Surface(name="rattle")


def default_first(initial: ModelMetadata | None, charge: int, heaviest: int) -> First:
    """GFN2-xTB if it is installed, else the initial model if it has the charge, else nothing."""
    if importlib.util.find_spec("tblite") is not None and heaviest <= HEAVIEST:
        return "GFN2-xTB"
    supported = initial is not None and initial.baseline is None and charge in initial.charges
    return "model" if supported else "rattle"


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Silence models that warn of geometries unlike their data: such geometries are the purpose."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
