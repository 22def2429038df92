# %% [markdown]
# # Relaxation
#
# Every ASE optimiser works with the calculator. `se3set_ase.simulate.relax` runs one of them and
# records energies, forces and refragmentation.

# %%
from pathlib import Path

from ase.io import read, write
from ase.optimize import BFGS

from se3set_ase import SE3SetCalculator
from se3set_ase.simulate import relax

# %% [markdown]
# With ASE alone:

# %%
atoms = read(Path(__file__).with_name("acetylacetone.xyz"))
atoms.calc = SE3SetCalculator("acac")
BFGS(atoms, logfile=None).run(fmax=0.05)  # eV/A
print(f"BFGS, roughly: {atoms.get_potential_energy():.6f} eV")

# %% [markdown]
# The same with a tighter criterion and records:

# %%
result = relax(atoms, fmax=0.005, trajectory="relax.traj")
print(result)
result.plot("relax.png", title="acetylacetone")
result.to_csv("relax.csv")
write("relaxed.xyz", atoms)
