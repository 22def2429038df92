"""Labelled geometries from a potential that has nothing to do with the package: ASE's Morse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ase import Atoms
from ase.calculators.morse import MorsePotential
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

TINY = {"channels": 4, "heads": 2, "blocks": 2, "radial_functions": 8, "radial_hidden": 8}

WATER = Atoms("OH2", [[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
HYDROGEN = Atoms("H2", [[0.0, 0.0, 0.0], [0.0, 0.0, 0.97]])
PEROXIDE = Atoms("O2H2", [[0.0, 0.7, -0.1], [0.0, -0.7, -0.1], [0.8, 0.9, 0.4], [-0.8, -0.9, 0.4]])


class ChargedMorse(MorsePotential):
    """Takes a charge, without an effect."""

    def __init__(self, *, charge: int = 0, multiplicity: int = 1, **options: float) -> None:
        super().__init__(**options)
        self.state = charge, multiplicity


def labelled(atoms: Atoms) -> Atoms:
    """The same geometry with energy (eV) and forces (eV/Angstrom)."""
    atoms = atoms.copy()
    atoms.calc = MorsePotential(epsilon=2.0, r0=1.2, rho0=3.0)
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    return atoms


def frames(n: int, molecules: Sequence[Atoms] = (WATER,), seed: int = 0) -> list[Atoms]:
    """Molecules in turn, rattled by 0.05 Angstrom."""
    rng = np.random.default_rng(seed)
    made = []
    for index in range(n):
        atoms = molecules[index % len(molecules)].copy()
        atoms.positions += rng.normal(0.0, 0.05, atoms.positions.shape)
        made.append(labelled(atoms))
    return made


def write_run(
    folder: Path,
    atoms: Sequence[Atoms],
    *,
    validation: Sequence[Atoms] | int = 4,
    training: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    **others: Any,
) -> Path:
    """A configuration file, with its data in the same folder and output in ``runs``."""
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "train.xyz", atoms, format="extxyz")
    if not isinstance(validation, int):
        write(folder / "validation.xyz", validation, format="extxyz")
        validation_value: str | int = "validation.xyz"
    else:
        validation_value = validation
    values = {
        "name": "tiny",
        "data": {
            "train": "train.xyz",
            "validation": validation_value,
            "level_of_theory": "Morse",
            "source": "made by the test",
            **(data or {}),
        },
        "network": TINY,
        "training": {
            "epochs": 4,
            "batch_size": 4,
            "validate_every": 2,
            "warmup_steps": 5,
            "compile": False,
            **(training or {}),
        },
        "output": str(folder / "runs"),
        **others,
    }
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(values))
    return path
