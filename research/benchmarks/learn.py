"""Accuracy and wall time of ``se3set-ase learn`` for a molecule that no training has seen.

    pip install ".[label,train]"
    python -m research.benchmarks.learn                       # hours on two cores
    python -m research.benchmarks.learn "from organic" --stable 30

2-Ethoxybenzoic acid (22 atoms) has rotatable bonds and a hydrogen bond between its acid and its
ether group. GFN2-xTB makes the labels. Each run has the same budget; in "random" geometries are
drawn at random, not chosen by the committee. The errors are those of forces on Langevin dynamics of
the learnt model at 300 K, labelled afterwards. Then the model runs at 500 K (``--stable`` ps); the
run is stable until a bond breaks. Everything resumes. Writes learn.csv; rows of other runs are
kept.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.md.langevin import Langevin

from research.benchmarks.machine import about
from research.paths import DOCS, RUNS
from research.tables import read_rows, write_rows
from se3set_ase import SE3SetCalculator, learn
from se3set_ase.evaluate import evaluate
from se3set_ase.io.extended_xyz import as_text, frames_of_file
from se3set_ase.io.files import write_atomically
from se3set_ase.io.smiles import atoms_from_smiles
from se3set_ase.jobs.resumable import SerialExecutor
from se3set_ase.label import label, make_labeller
from se3set_ase.learning.geometry import n_fragments
from se3set_ase.potential import Potential
from se3set_ase.simulate.velocities import draw_velocities

SMILES = "CCOc1ccccc1C(=O)O"
METHOD = "GFN2-xTB"
#: Options of each run. ``organic-gfn2`` was trained on labels of other molecules by this method,
#: ``organic`` was trained on another level of theory afterwards.
RUNS_OF: dict[str, dict[str, Any]] = {
    "default": {},
    "from organic": {"initial": "organic"},
    "random": {"initial": "organic", "choice": "random"},
}
LABELS = 300
#: Test: number of geometries, fs between them and before the first one.
FRAMES, EVERY, SETTLE = 60, 100, 2000
TIMESTEP, FRICTION = 1.0, 0.01


def main() -> None:
    """Learn, test, and write a row for each run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", help="all by default")
    parser.add_argument("--labels", type=int, default=LABELS)
    parser.add_argument("--forces", type=float, default=15.0, help="target, meV/A")
    parser.add_argument("--stable", type=float, default=300.0, help="ps at 500 K")
    parser.add_argument("--output", type=Path, default=DOCS / "learn.csv")
    arguments = parser.parse_args()
    for name in arguments.runs or RUNS_OF:
        row = measure(name, arguments.labels, arguments.forces, arguments.stable)
        key = ("run", "budget", "target_meV_A")
        kept = [
            other
            for other in read_rows(arguments.output)
            if [other[k] for k in key] != [str(row[k]) for k in key]
        ]
        write_rows(arguments.output, [*kept, row])


def measure(name: str, labels: int, forces: float, stable: float) -> dict[str, object]:
    """The row of a run."""
    folder = RUNS / "learn" / f"{name.replace(' ', '-')}-{labels}-{forces:g}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    learned = learn(
        SMILES,
        method=METHOD,
        output=folder,
        labels=labels,
        forces=forces,
        **RUNS_OF[name],
    )
    assert learned.test is not None
    errors = evaluate(Potential(folder), tested(folder), uncertainty=True)
    before = [r for r in learned.rounds if not math.isnan(r.random_forces)]
    return {
        "run": name,
        "budget": labels,
        "target_meV_A": forces,
        "labels": learned.n_labels,
        "rounds": len(learned.rounds),
        "ended": learned.reason,
        "initial_model_forces_mae_meV_A": round(before[0].random_forces, 2) if before else "",
        "test_forces_mae_meV_A": round(learned.test["forces_mae_meV_A"], 2),
        "forces_mae_300K_meV_A": round(errors["forces_mae_meV_A"], 2),
        "energy_mae_300K_meV_atom": round(errors["energy_mae_meV_per_atom"], 3),
        "energy_uncertainty_rms_300K_meV": round(errors["energy_uncertainty_rms_meV"] or 0.0, 1),
        "frames_300K": errors["n_frames"],
        "stable_500K_ps": stable_for(folder, stable),
        "asked_500K_ps": stable,
        "minutes_of_rounds": round(sum(r.seconds for r in learned.rounds) / 60.0, 1),
        **about(),
    }


def tested(folder: Path) -> list[Atoms]:
    """Geometries of dynamics of the model at 300 K, with labels."""
    frames, output = folder / "300K.xyz", folder / "300K-labelled.xyz"
    if not frames.exists():
        atoms, moving = running(folder, 300.0)
        moving.run(SETTLE)
        found = []
        for _ in range(FRAMES):
            moving.run(EVERY)
            found.append(Atoms(atoms.numbers, atoms.positions))
        write_atomically(frames, as_text(found).encode())
    label(
        list(frames_of_file(frames, "extxyz")),
        make_labeller(METHOD),
        output,
        executor=SerialExecutor(),
    )
    return list(frames_of_file(output, "extxyz"))


def stable_for(folder: Path, duration: float) -> float | str:
    """Time until a bond breaks at 500 K, ps; at most the duration."""
    if not duration:
        return ""
    atoms, moving = running(folder, 500.0)
    began = time.monotonic()
    while moving.nsteps * TIMESTEP < 1000.0 * duration:
        moving.run(100)
        if n_fragments(atoms) > 1 or atoms.get_temperature() > 2000.0:
            break
    print(f"{(time.monotonic() - began) / moving.nsteps * 1e3:.1f} ms per step")
    return round(moving.nsteps * TIMESTEP / 1000.0, 1)


def running(folder: Path, temperature_K: float) -> tuple[Atoms, Any]:
    """The molecule, ready for dynamics."""
    atoms = atoms_from_smiles(SMILES)
    atoms.calc = SE3SetCalculator(folder, dtype="float32")
    rng = np.random.default_rng(0)
    draw_velocities(atoms, temperature_K, rng, conserved=False)
    moving = Langevin(
        atoms,
        TIMESTEP * units.fs,
        temperature_K=temperature_K,
        friction=FRICTION / units.fs,
        fixcm=False,
        rng=rng,
    )
    return atoms, moving


if __name__ == "__main__":
    main()
