"""Relaxed weights: a molecule in an electric field, and the same molecule without.

    python -m research.options.field    # a quarter of an hour on one core

Methanol in random orientations and distortions, labelled by GFN2-xTB with and without a field of
fixed direction. Three networks are trained: on the molecule in the field with and without relaxed
weights, and on the free molecule with them. ``share`` is how much of the energy depends on the
orientation (root mean square change when the molecule is turned), ``axis`` the cosine between the
field and the main direction of the learnt vectors of the first block. Writes relaxed_weights.csv.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import Bohr, Hartree
from scipy.spatial.transform import Rotation
from tblite import library
from tblite.interface import Calculator

from research.benchmarks.machine import about
from research.correction.dataset import write
from research.paths import DOCS, RUNS
from research.tables import write_rows
from se3set_ase import Potential
from se3set_ase.evaluate import evaluate
from se3set_ase.io.extended_xyz import frames_of_file
from se3set_ase.train.config import DataConfig, RunConfig, TrainingConfig
from se3set_ase.train.run import train

#: V/Angstrom, and its direction.
STRENGTH = 0.5
AXIS = np.array([0.48, 0.60, 0.64])
#: Frames for training, validation and test; displacement of the atoms, Angstrom.
NUMBERS = {"train": 400, "validation": 60, "test": 200}
DISPLACEMENT = 0.08
NETWORK = {"channels": 16, "heads": 4, "radial_hidden": 16, "readout_hidden": 16}
RUNS_OF = {  # name: in the field, relaxed weights
    "field, relaxed": (True, True),
    "field, not relaxed": (True, False),
    "free, relaxed": (False, True),
}


def main() -> None:
    """Label, train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=DOCS)
    arguments = parser.parse_args()
    rows = []
    for name, (in_field, relaxed) in RUNS_OF.items():
        folder = RUNS / "field" / ("field" if in_field else "free")
        make_frames(folder, in_field=in_field)
        for seed in arguments.seeds:
            model = trained(folder, relaxed=relaxed, seed=seed, epochs=arguments.epochs)
            rows.append({"training": name, "seed": seed, **measured(model, folder), **about()})
            print({key: rows[-1][key] for key in list(rows[-1])[:6]}, flush=True)
            write_rows(arguments.output / "relaxed_weights.csv", rows, line_end="\n")


def make_frames(folder: Path, *, in_field: bool) -> None:
    """Label frames of each part, unless they exist."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, number in NUMBERS.items():
        if not (folder / f"{part}.xyz").exists():
            rng = np.random.default_rng([len(part), number])
            write(folder / f"{part}.xyz", [frame(rng, in_field) for _ in range(number)])


def frame(rng: np.random.Generator, in_field: bool) -> Atoms:
    """A labelled geometry in a random orientation."""
    atoms = molecule("CH3OH")
    atoms.positions += rng.normal(scale=DISPLACEMENT, size=(len(atoms), 3))
    atoms.positions = Rotation.random(rng=rng).apply(atoms.positions - atoms.positions.mean(axis=0))
    energy, forces = labels(atoms, STRENGTH * AXIS if in_field else None)
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    return atoms


def labels(atoms: Atoms, field: np.ndarray | None) -> tuple[float, np.ndarray]:
    """Energy (eV) and forces (eV/Angstrom) by GFN2-xTB in a field (3,), V/Angstrom."""
    calculator = Calculator("GFN2-xTB", atoms.numbers, atoms.positions / Bohr)
    calculator.set("verbosity", 0)
    if field is not None:
        # tblite 0.5 does not convert the array by itself.
        pointer = library.ffi.from_buffer(field * Bohr / Hartree)
        calculator.add("electric-field", library.ffi.cast("double*", pointer))
    found = calculator.singlepoint()
    return found.get("energy") * Hartree, -found.get("gradient") * Hartree / Bohr


def trained(folder: Path, *, relaxed: bool, seed: int, epochs: int) -> Path:
    """The model of one training."""
    name = f"{'relaxed' if relaxed else 'plain'}-{seed}"
    return train(
        RunConfig(
            name=name,
            seed=seed,
            data=DataConfig(
                train=folder / "train.xyz",
                validation=folder / "validation.xyz",
                level_of_theory="GFN2-xTB",
            ),
            network={**NETWORK, "relaxed": relaxed},
            training=TrainingConfig(
                loss="l2mae",
                epochs=epochs,
                batch_size=5,
                learning_rate=1e-2,
                validate_every=epochs // 6,
                compile=False,
                threads=1,
            ),
            output=folder,
        ),
        progress=False,
    )


def measured(model: Path, folder: Path) -> dict[str, object]:
    """Errors on the test frames, and how the model depends on the orientation."""
    potential = Potential(model, device="cpu")
    frames = list(frames_of_file(folder / "test.xyz"))
    errors = evaluate(potential, frames)
    rng = np.random.default_rng(0)
    same = [frames[0].copy() for _ in range(50)]
    for atoms in same:
        atoms.positions = Rotation.random(rng=rng).apply(atoms.positions)
    energies = [p.energy for p in potential.predict(same, warn=False)]
    row: dict[str, object] = {
        "energy_mae_meV": round(errors["energy_mae_meV"], 2),
        "forces_mae_meV_A": round(errors["forces_mae_meV_A"], 2),
        "share_meV": round(1000 * float(np.std(energies)), 3),
    }
    weights = potential.model.state_dict()
    if (vector := weights.get("network.blocks.0.options.relaxed.vector")) is not None:
        directions, sizes, _ = np.linalg.svd(vector[0].numpy())
        row["axis"] = round(abs(float(directions[:, 0] @ AXIS)), 3)
        row["weights"] = round(float(sizes[0]), 4)
    return row


if __name__ == "__main__":
    main()
