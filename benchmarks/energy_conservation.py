"""Energy conservation with refragmentation: smooth beside hard membership, NVE from 300 K.

    python benchmarks/energy_conservation.py --output docs

Writes energy_conservation.csv (one row per run, with machine and versions) and .png.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import os
import platform
import warnings
from pathlib import Path

import ase
import numpy as np
import torch
from ase.io import read
from matplotlib.figure import Figure
from tqdm import tqdm

import se3set_ase
from se3set_ase import SE3SetCalculator
from se3set_ase.simulate import DynamicsResult, md, relax

EXAMPLES = Path(__file__).parents[1] / "examples"
COLOURS = {"smooth": "#0072B2", "hard": "#D55E00"}


def main() -> None:
    """Run, tell, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="acac")
    parser.add_argument("--file", type=Path, default=EXAMPLES / "acetylacetone.xyz")
    parser.add_argument("--picoseconds", type=float, default=20.0)
    parser.add_argument("--hard-picoseconds", type=float, default=5.0)
    parser.add_argument("--dtype", nargs="+", default=["float64"])
    parser.add_argument("--output", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    rows, runs = [], {}
    for dtype in arguments.dtype:
        for refragment, length in (
            ("smooth", arguments.picoseconds),
            ("hard", arguments.hard_picoseconds),
        ):
            result = run(arguments, refragment, dtype, round(length * 2000))
            if dtype == arguments.dtype[0]:
                runs[refragment] = result
            rows.append(describe(arguments, refragment, dtype, result))
            print({k: rows[-1][k] for k in list(rows[-1])[:9]})
    arguments.output.mkdir(parents=True, exist_ok=True)
    with (arguments.output / "energy_conservation.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    draw(runs, arguments.output / "energy_conservation.png")


def run(arguments: argparse.Namespace, refragment: str, dtype: str, steps: int) -> DynamicsResult:
    """Relax, then NVE from a Boltzmann distribution at 300 K, 0.5 fs."""
    atoms = read(arguments.file)
    atoms.calc = SE3SetCalculator(arguments.model, dtype="float64")
    relax(atoms, fmax=0.02)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that hard membership is for comparison only
        atoms.calc = SE3SetCalculator(arguments.model, dtype=dtype, refragment=refragment)
    with tqdm(desc=f"{refragment}, {dtype}", total=steps, disable=None) as bar:
        return md(
            atoms,
            # The harmonic half of a relaxed molecule's energy goes into the potential.
            temperature_K=600,
            timestep=0.5,
            steps=steps,
            ensemble="nve",
            seed=1,
            interval=2,
            progress=bar.update,
        )


def describe(
    arguments: argparse.Namespace, refragment: str, dtype: str, result: DynamicsResult
) -> dict[str, object]:
    """One row of the table."""
    per_atom = 1000 * (result.total - result.total[0]) / result.n_atoms
    kinds = [e.kind for e in result.events]
    return {
        "model": arguments.model,
        "refragment": refragment,
        "dtype": dtype,
        "picoseconds": round(float(result.time[-1]), 3),
        "mean_temperature_K": round(float(result.temperature.mean()), 1),
        "drift_meV_atom_ps": result.drift(),
        "spread_meV_atom": float(per_atom.std()),
        "largest_step_meV": float(1000 * np.abs(np.diff(result.total)).max()),
        "events": len(kinds),
        "bond_events": sum(kind.startswith("bond") for kind in kinds),
        "atoms": result.n_atoms,
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "ase": ase.__version__,
        "se3set_ase": se3set_ase.__version__,
    }


def draw(runs: dict[str, DynamicsResult], path: Path) -> None:
    """Total energy per atom over time, with the events."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    energy, events = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    for name, result in reversed(runs.items()):
        per_atom = 1000 * (result.total - result.total[0]) / result.n_atoms
        label = f"{name}: drift {result.drift():+.2g} meV/atom/ps, {len(result.events)} events"
        energy.plot(result.time, per_atom, color=COLOURS[name], lw=1, label=label)
    energy.set_ylabel("total energy\nmeV/atom")
    energy.legend(frameon=False)
    times = np.array(runs["smooth"].event_times)
    kinds = [e.kind for e in runs["smooth"].events]
    for row, prefix in enumerate(("reach", "fragments", "bond")):
        chosen = times[[k.startswith(prefix) for k in kinds]] if kinds else []
        events.plot(chosen, np.full(len(chosen), row), "|", color=COLOURS["smooth"], ms=9)
    events.set_yticks(range(3), ["reach", "fragments", "bonds"])
    events.set(xlabel="time / ps", ylim=(-0.6, 2.6), ylabel="events\n(smooth)")
    for axes in (energy, events):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
