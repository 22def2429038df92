"""Relax acetylacetone, run molecular dynamics and print a report: `make demo`."""

import argparse
import contextlib
import time
from pathlib import Path

from ase.io import read, write
from tqdm import tqdm

from se3set_ase import SE3SetCalculator
from se3set_ase.simulate import (
    describe_dynamics,
    describe_events,
    describe_relaxation,
    md,
    relax,
    write_table,
)
from se3set_ase.visualize import plot_dynamics

HERE = Path(__file__).parent


def main() -> None:
    """Relax, run dynamics, and write all files to one folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="acac", help="bundled name, or path of a model")
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="folder")
    parser.add_argument("--steps", type=int, default=5000, help="time steps of 0.5 fs")
    parser.add_argument("--short", action="store_true", help="20 steps only")
    arguments = parser.parse_args()
    output, steps = arguments.output, 20 if arguments.short else arguments.steps
    output.mkdir(parents=True, exist_ok=True)

    print(f"model {arguments.model}: acetylacetone, enol form, 15 atoms\n")
    atoms = read(HERE / "acetylacetone.xyz")
    atoms.calc = SE3SetCalculator(arguments.model)
    with bar("relaxation", None) as progress:
        relaxed = relax(
            atoms,
            fmax=0.01,
            steps=min(steps, 300),
            trajectory=output / "relax.traj",
            progress=progress,
        )
    write(output / "relaxed.xyz", atoms)
    print(f"Relaxation\n{describe_relaxation(relaxed)}\n")

    started = time.perf_counter()
    with bar("molecular dynamics", steps) as progress:
        result = md(
            atoms,
            temperature_K=300,
            timestep=0.5,
            steps=steps,
            ensemble="langevin",
            friction=0.02,
            seed=1,
            trajectory=output / "langevin.traj",
            events=output / "langevin.events.jsonl",
            interval=5,
            progress=progress,
        )
    seconds = time.perf_counter() - started
    print(f"Langevin dynamics at 300 K\n{describe_dynamics(result)}")
    print(f"speed           {1000 * seconds / max(result.n_steps, 1):8.1f} ms per step\n")
    print(describe_events(result))

    write_table(output / "langevin.csv", result)
    title = f"acetylacetone, Langevin dynamics at 300 K, model {arguments.model}"
    plot_dynamics(result, output / "langevin.png", title=title)
    print(f"\nwritten to {output}/:")
    for path in sorted(output.iterdir()):
        print(f"  {path.name}")


@contextlib.contextmanager
def bar(name: str, total: int | None):
    """A progress bar if standard error is a terminal; yields its update function."""
    with tqdm(desc=name, total=total, unit="step", disable=None, leave=False) as progress:
        yield progress.update


if __name__ == "__main__":
    main()
