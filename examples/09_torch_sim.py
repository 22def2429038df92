# %% [markdown]
# # Many molecules with torch-sim
#
# torch-sim moves a batch of molecules with one pass of the network per step, on a GPU if there is
# one. Each molecule is refragmented at every step and has its own log.
#
# It needs the extra `torch-sim` (Python 3.11 or newer).

# %%
import argparse
from pathlib import Path

from ase.io import read, write

from se3set_ase import Potential
from se3set_ase.integrations.torchsim import SE3SetModel

HERE = Path(__file__).parent
parser = argparse.ArgumentParser(description="Replicas of acetylacetone at several temperatures.")
parser.add_argument("--model", default="acac", help="bundled name, or path of a model")
parser.add_argument("--output", type=Path, default=Path("examples-output"), help="folder")
parser.add_argument("--replicas", type=int, default=8, help="molecules in the batch")
parser.add_argument("--steps", type=int, default=1000, help="time steps of 0.5 fs")
parser.add_argument("--short", action="store_true", help="2 replicas and 5 steps only")
arguments = parser.parse_args()
arguments.output.mkdir(parents=True, exist_ok=True)
replicas, steps = (2, 5) if arguments.short else (arguments.replicas, arguments.steps)

# %% [markdown]
# The network computes in single precision; positions and energies stay in double precision.

# %%
import torch_sim as ts

start = read(HERE / "acetylacetone.xyz")
model = SE3SetModel(Potential(arguments.model, dtype="float32"))
integrators = getattr(ts, "Integrator", ts)  # functions in torch-sim 0.3, members of a class since
final = ts.integrate(
    [start] * replicas,
    model,
    integrator=integrators.nvt_langevin,
    n_steps=steps,
    temperature=300,  # K
    timestep=0.0005,  # ps
)

# %%
for k, (energy, events) in enumerate(zip(final.energy.tolist(), model.events, strict=True)):
    bonds = sum(event.kind.startswith("bond") for event in events)
    print(f"replica {k}: {energy:.3f} eV, {len(events)} events, {bonds} of them of bonds")
    print(f"    {model.hypergraphs[k]}")
write(arguments.output / "torch_sim.xyz", final.to_atoms())
