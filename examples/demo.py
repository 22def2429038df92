"""Relax acetylacetone, run molecular dynamics and print a report: `make demo`."""

import contextlib
import time
from pathlib import Path

from ase.io import read, write
from tqdm import tqdm

from se3set_ase import SE3SetCalculator
from se3set_ase.simulate import md, relax

STEPS = 1000
OUTPUT = Path("demo-output")


@contextlib.contextmanager
def bar(name: str, total: int | None):
    """A progress bar if standard error is a terminal; yields its update function."""
    with tqdm(desc=name, total=total, unit="step", disable=None, leave=False) as progress:
        yield progress.update


OUTPUT.mkdir(exist_ok=True)
print("model acac: acetylacetone, enol form, 15 atoms\n")
atoms = read(Path(__file__).with_name("acetylacetone.xyz"))
atoms.calc = SE3SetCalculator("acac")
with bar("relaxation", None) as progress:
    relaxed = relax(atoms, trajectory=OUTPUT / "relax.traj", progress=progress)
write(OUTPUT / "relaxed.xyz", atoms)
print(f"Relaxation\n{relaxed}\n")

started = time.perf_counter()
with bar("molecular dynamics", STEPS) as progress:
    result = md(
        atoms,
        temperature_K=300,
        steps=STEPS,
        friction=0.02,  # 1/fs
        seed=1,
        trajectory=OUTPUT / "langevin.traj",
        events=OUTPUT / "langevin.events.jsonl",
        interval=5,
        progress=progress,
    )
seconds = time.perf_counter() - started
print(f"Langevin dynamics at 300 K\n{result}")
print(f"speed           {1000 * seconds / result.n_steps:8.1f} ms per step\n")

result.to_csv(OUTPUT / "langevin.csv")
title = "acetylacetone, Langevin dynamics at 300 K, model acac"
result.plot(OUTPUT / "langevin.png", title=title)
print(f"written to {OUTPUT}/:")
for path in sorted(OUTPUT.iterdir()):
    print(f"  {path.name}")
