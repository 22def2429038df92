# %% [markdown]
# # Molecular dynamics at constant temperature
#
# Langevin dynamics at 300 K. The molecule is refragmented at every step, and the log reports
# changes.

# %%
from pathlib import Path

from ase.io import read

from se3set_ase import SE3SetCalculator
from se3set_ase.simulate import md

STEPS = 2000

# %%
atoms = read(Path(__file__).with_name("acetylacetone.xyz"))
atoms.calc = SE3SetCalculator("acac")
result = md(
    atoms,
    temperature_K=300,
    timestep=0.5,  # fs
    steps=STEPS,
    friction=0.01,  # 1/fs
    seed=1,
    trajectory="langevin.traj",
    events="langevin.events.jsonl",  # as it happens
    interval=10,
)

# %% [markdown]
# Averages, and the log: bonds that formed or broke. With `kinds="all"` the plot also has fragments
# that merged or split, and fragments that came within reach of an atom or left it. The energy does
# not jump at any of these events.

# %%
print(result)
result.to_csv("langevin.csv")
result.plot("langevin.png", title="acetylacetone, Langevin, 300 K")
