# %% [markdown]
# # Molecular dynamics at constant temperature
#
# Langevin dynamics at 300 K. The molecule is refragmented at every step, and the log reports
# changes.

# %%
import argparse
from pathlib import Path

from ase.io import read

from se3set_ase import SE3SetCalculator
from se3set_ase.simulate import describe_dynamics, describe_events, md, write_table
from se3set_ase.visualize import plot_dynamics

HERE = Path(__file__).parent
parser = argparse.ArgumentParser(description="Langevin dynamics of acetylacetone.")
parser.add_argument("--model", default="acac", help="bundled name, or path of a model")
parser.add_argument("--output", type=Path, default=Path("examples-output"), help="folder")
parser.add_argument("--steps", type=int, default=2000, help="time steps of 0.5 fs")
parser.add_argument("--short", action="store_true", help="20 steps only")
arguments = parser.parse_args()
arguments.output.mkdir(parents=True, exist_ok=True)
steps = 20 if arguments.short else arguments.steps

# %%
atoms = read(HERE / "acetylacetone.xyz")
atoms.calc = SE3SetCalculator(arguments.model)
result = md(
    atoms,
    temperature_K=300,
    timestep=0.5,  # fs
    steps=steps,
    friction=0.01,  # 1/fs
    seed=1,
    trajectory=arguments.output / "langevin.traj",
    events=arguments.output / "langevin.events.jsonl",  # as it happens
    interval=10,
)
print(describe_dynamics(result))

# %% [markdown]
# The log: bonds that formed or broke. With `kinds="all"` also fragments that merged or split, and
# fragments that came within reach of an atom or left it. The energy does not jump at any of these
# events.

# %%
print(describe_events(result))
write_table(arguments.output / "langevin.csv", result)
plot_dynamics(result, arguments.output / "langevin.png", title="acetylacetone, Langevin, 300 K")
