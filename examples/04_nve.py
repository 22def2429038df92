# %% [markdown]
# # Energy conservation while the molecule refragments
#
# Without a thermostat the total energy is conserved, with smooth membership. With hard
# membership, where an atom either belongs to a fragment or does not, the energy jumps whenever
# the hypergraph changes.

# %%
import argparse
from pathlib import Path

from ase.io import read

from se3set_ase import SE3SetCalculator
from se3set_ase.simulate import describe_dynamics, md, relax
from se3set_ase.visualize import plot_dynamics

HERE = Path(__file__).parent
parser = argparse.ArgumentParser(description="NVE dynamics, smooth and hard membership.")
parser.add_argument("--model", default="acac", help="bundled name, or path of a model")
parser.add_argument("--output", type=Path, default=Path("examples-output"), help="folder")
parser.add_argument("--steps", type=int, default=4000, help="time steps of 0.5 fs")
parser.add_argument("--short", action="store_true", help="20 steps only")
arguments = parser.parse_args()
arguments.output.mkdir(parents=True, exist_ok=True)
steps = 20 if arguments.short else arguments.steps

# %%
start = read(HERE / "acetylacetone.xyz")
start.calc = SE3SetCalculator(arguments.model)
relax(start, fmax=0.05, steps=steps)

# %% [markdown]
# Both runs start from the same positions and velocities. A relaxed molecule gives half of its
# kinetic energy to the vibrations, so the temperature settles near half of the requested one.

# %%
for membership in ("smooth", "hard"):
    atoms = start.copy()
    atoms.calc = SE3SetCalculator(arguments.model, refragment=membership)
    result = md(
        atoms, temperature_K=600, timestep=0.5, steps=steps, ensemble="nve", seed=1, interval=5
    )
    print(f"--- {membership} membership")
    print(describe_dynamics(result))
    print(f"{len(result.events)} refragmentation events")
    plot_dynamics(
        result,
        arguments.output / f"nve-{membership}.png",
        title=f"acetylacetone, NVE, {membership} membership",
    )
