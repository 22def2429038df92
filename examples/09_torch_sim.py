# %% [markdown]
# # Many molecules with torch-sim
#
# torch-sim moves a batch of molecules with one pass of the network per step, on a GPU if there is
# one. Each molecule is refragmented at every step and has its own log.
#
# It needs the extra `torch-sim` (Python 3.11 or newer).

# %%
from pathlib import Path

from ase.io import read, write

from se3set_ase import Potential
from se3set_ase.integrations.torchsim import SE3SetModel

REPLICAS, STEPS = 8, 200

# %% [markdown]
# The network computes in single precision; positions and energies stay in double precision.

# %%
import torch_sim as ts

start = read(Path(__file__).with_name("acetylacetone.xyz"))
model = SE3SetModel(Potential("acac", dtype="float32"))
integrators = getattr(ts, "Integrator", ts)  # functions in torch-sim 0.3, members of a class since
final = ts.integrate(
    [start] * REPLICAS,
    model,
    integrator=integrators.nvt_langevin,
    n_steps=STEPS,
    temperature=300,  # K
    timestep=0.0005,  # ps
)

# %%
for k, (energy, events) in enumerate(zip(final.energy.tolist(), model.events, strict=True)):
    bonds = sum(event.kind.startswith("bond") for event in events)
    print(f"replica {k}: {energy:.3f} eV, {len(events)} events, {bonds} of them of bonds")
    print(f"    {model.hypergraphs[k]}")
write("torch_sim.xyz", final.to_atoms())
