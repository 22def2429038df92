# %% [markdown]
# # Free energy of a proton transfer
#
# Well-tempered metadynamics with OpenMM: acetylacetone at 300 K, with a bias along the position of
# the proton between the two oxygen atoms. Its negative is the free energy.
#
# It needs the extra `openmm`.

# %%
from pathlib import Path

import numpy as np
import openmm
from ase.io import read
from matplotlib.figure import Figure
from openmm import app, unit
from openmmml import MLPotential

from se3set_ase.events import read_events

STEPS = 8000
OXYGENS, PROTON = (3, 5), 11  # atoms in acetylacetone.xyz

# %%
molecule = read(Path(__file__).with_name("acetylacetone.xyz"))
topology = app.Topology()
residue = topology.addResidue("ACA", topology.addChain())
for symbol in molecule.symbols:
    topology.addAtom(symbol, app.Element.getBySymbol(symbol), residue)

potential = MLPotential("se3set", model="acac", events="metadynamics.events.jsonl")
system = potential.createSystem(topology)

# %% [markdown]
# ## The bias
#
# The collective variable is the difference of the two O-H distances: the sum of both, one with a
# negative sign. Gaussians of 1 kJ/mol are added every 20 steps, and become smaller where there are
# many already.

# %%
difference = openmm.CustomBondForce("sign * r")
difference.addPerBondParameter("sign")
for oxygen, sign in zip(OXYGENS, (1, -1), strict=True):
    difference.addBond(oxygen, PROTON, [sign])
variable = app.BiasVariable(difference, -0.15, 0.15, 0.01, periodic=False, gridWidth=121)  # nm
metadynamics = app.Metadynamics(
    system,
    [variable],
    temperature=300 * unit.kelvin,
    biasFactor=5,
    height=1 * unit.kilojoule_per_mole,
    frequency=20,
)

# %% [markdown]
# ## The run

# %%
integrator = openmm.LangevinMiddleIntegrator(
    300 * unit.kelvin, 5 / unit.picosecond, 0.5 * unit.femtosecond
)
integrator.setRandomNumberSeed(1)
simulation = app.Simulation(topology, system, integrator)
simulation.context.setPositions(molecule.positions * unit.angstrom)
simulation.context.setVelocitiesToTemperature(300 * unit.kelvin, 1)
path = []
for _ in range(STEPS // 20):
    metadynamics.step(simulation, 20)
    path.append(10 * metadynamics.getCollectiveVariables(simulation)[0])  # Å

# %%
crossings = np.count_nonzero(np.diff(np.sign(path)))
record = read_events("metadynamics.events.jsonl")
formed = sum(event.kind == "bond formed" for event in record.events)
print(f"{STEPS * 0.5e-3:.1f} ps, the proton crossed the middle {crossings} times")
print(f"{len(record.events)} events of refragmentation, {formed} bonds formed")

# %% [markdown]
# ## The free energy
#
# The two oxygen atoms are equivalent, so a converged profile is symmetric: the difference of both
# sides is a measure of its error.

# %%
profile = metadynamics.getFreeEnergy().value_in_unit(unit.kilojoule_per_mole)
x = np.linspace(-1.5, 1.5, len(profile))  # Å
profile -= profile.min()
error = np.abs(profile - profile[::-1])[np.abs(x) < 0.8].max()
symmetric = (profile + profile[::-1]) / 2
symmetric -= symmetric.min()
barrier = symmetric[len(x) // 2]
print(f"minima at ±{abs(x[symmetric.argmin()]):.2f} Å, barrier {barrier:.1f} kJ/mol")
print(f"largest difference of both sides {error:.1f} kJ/mol")

figure = Figure(figsize=(6, 6), layout="constrained")
top, bottom = figure.subplots(2)
top.plot(x, profile, color="#0072B2", label="as computed")
top.plot(x, symmetric, "--", color="#D55E00", label="mean of both sides")
top.set_xlim(-1.2, 1.2)
top.set_ylim(0, 40)
top.set_xlabel("r(O3-H) - r(O5-H) / Å")
top.set_ylabel("free energy / kJ/mol")
top.set_title("Proton transfer in acetylacetone, 300 K")
top.legend(frameon=False)
bottom.plot(np.arange(len(path)) * 0.01, path, ".", markersize=2, color="#0072B2")
bottom.set_xlabel("time / ps")
bottom.set_ylabel("r(O3-H) - r(O5-H) / Å")
for axes in (top, bottom):
    axes.spines[["top", "right"]].set_visible(False)
figure.savefig("metadynamics.png", dpi=150)
