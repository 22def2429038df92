"""A learning run of seconds: water with ASE's Morse potential as the method, and a tiny network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.calculators.morse import MorsePotential

#: Environment variables: file with a line for each label, and number of the label that is Ctrl-C.
LOG, INTERRUPT = "SE3SET_TEST_LABELS", "SE3SET_TEST_INTERRUPT"
METHOD = "tiny_learning:LoggedMorse"
#: Near the minimum of that potential.
WATER = Atoms("OH2", [[0.0, 0.0, 0.0], [1.2, 0.0, 0.0], [0.6, 1.04, 0.0]])


class LoggedMorse(MorsePotential):
    """Writes a line for each geometry, and interrupts the run on request."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"epsilon": 2.0, "r0": 1.2, "rho0": 3.0, **options})

    def calculate(self, atoms: Any = None, *arguments: Any, **options: Any) -> None:
        super().calculate(atoms, *arguments, **options)
        if log := os.environ.get(LOG):
            with open(log, "a", encoding="utf-8") as file:
                file.write(f"{atoms.positions.round(6).tolist()}\n")
            if str(len(Path(log).read_text().splitlines())) == os.environ.get(INTERRUPT):
                raise KeyboardInterrupt


def options(output: Path, initial: Path, **others: Any) -> dict[str, Any]:
    """Arguments of a run with two rounds of six labels, and a final test of five."""
    return {
        "method": METHOD,
        "output": output,
        "initial": initial,
        "first": "rattle",
        "temperatures_K": (300.0,),
        "labels": 20,
        "per_round": 6,
        "committee": 2,
        "training_frames": 24,
        "forces": 1e-3,
        "progress": False,
        **others,
    }
