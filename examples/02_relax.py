# %% [markdown]
# # Relaxation
#
# Every ASE optimiser works with the calculator. `se3set_ase.simulate.relax` runs one of them and
# records energies, forces and refragmentation.

# %%
import argparse
from pathlib import Path

from ase.io import read, write
from ase.optimize import BFGS

from se3set_ase import SE3SetCalculator
from se3set_ase.simulate import describe_events, describe_relaxation, relax

HERE = Path(__file__).parent
parser = argparse.ArgumentParser(description="Relax acetylacetone.")
parser.add_argument("--model", default="acac", help="bundled name, or path of a model")
parser.add_argument("--output", type=Path, default=Path("examples-output"), help="folder")
parser.add_argument("--steps", type=int, default=300, help="most steps of an optimiser")
parser.add_argument("--short", action="store_true", help="a few steps only")
arguments = parser.parse_args()
arguments.output.mkdir(parents=True, exist_ok=True)
steps = min(arguments.steps, 5) if arguments.short else arguments.steps

# %% [markdown]
# With ASE alone:

# %%
atoms = read(HERE / "acetylacetone.xyz")
atoms.calc = SE3SetCalculator(arguments.model)
BFGS(atoms, logfile=None).run(fmax=0.05, steps=steps)
print(f"BFGS, roughly: {atoms.get_potential_energy():.6f} eV")

# %% [markdown]
# The same with a tighter criterion and records:

# %%
result = relax(
    atoms,
    fmax=0.005,
    steps=steps,
    optimizer="LBFGS",
    trajectory=arguments.output / "relax.traj",
)
print(describe_relaxation(result))
print(describe_events(result))
write(arguments.output / "relaxed.xyz", atoms)
