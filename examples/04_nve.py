# %% [markdown]
# # Energy conservation while the molecule refragments
#
# Without a thermostat the total energy is conserved, with smooth membership. With hard
# membership, where an atom either belongs to a fragment or does not, the energy jumps whenever
# the hypergraph changes.

# %%
from pathlib import Path

from ase.io import read

from se3set_ase import SE3SetCalculator
from se3set_ase.simulate import md, relax

STEPS = 1000

# %%
start = read(Path(__file__).with_name("acetylacetone.xyz"))
start.calc = SE3SetCalculator("acac")
relax(start, fmax=0.05)

# %% [markdown]
# Both runs start from the same positions and velocities. A relaxed molecule gives half of its
# kinetic energy to the vibrations, so the temperature settles near half of the requested one.

# %%
for membership in ("smooth", "hard"):
    atoms = start.copy()
    atoms.calc = SE3SetCalculator("acac", refragment=membership)
    result = md(atoms, temperature_K=600, steps=STEPS, ensemble="nve", seed=1, interval=5)
    print(f"--- {membership} membership: drift {result.drift():.4f} meV/atom/ps")
    print(f"{1000 * result.total.std() / len(atoms):.4f} meV/atom standard deviation of the energy")
    print(f"{len(result.events)} refragmentation events")
    result.plot(f"nve-{membership}.png", title=f"acetylacetone, NVE, {membership} membership")
