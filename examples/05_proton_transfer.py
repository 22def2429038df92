# %% [markdown]
# # Proton transfer in acetylacetone
#
# In the enol form of acetylacetone a proton lies between two oxygen atoms. The nudged elastic
# band finds the path on which it moves from one to the other. On this path one O-H bond breaks and
# another one forms. The fragments at the two ends differ, and the energy in between is smooth.

# %%
from pathlib import Path

import numpy as np
from ase.io import read, write
from ase.mep import NEB
from ase.optimize import FIRE
from matplotlib.figure import Figure

from se3set_ase import SE3SetCalculator
from se3set_ase.simulate import relax

IMAGES = 11
OXYGENS, PROTON = (3, 5), 11  # atoms in acetylacetone.xyz

# %% [markdown]
# ## The two ends
#
# One calculator serves all images. For the product the proton is set next to the other oxygen
# atom, and the molecule relaxed.

# %%
calculator = SE3SetCalculator("acac")
reactant = read(Path(__file__).with_name("acetylacetone.xyz"))
reactant.calc = calculator
relax(reactant)
# From a rough geometry the proton may settle on either side of a barrier this low.
DONOR, ACCEPTOR = sorted(OXYGENS, key=lambda oxygen: reactant.get_distance(oxygen, PROTON))

product = reactant.copy()
bond = reactant.positions[PROTON] - reactant.positions[ACCEPTOR]
product.positions[PROTON] = product.positions[ACCEPTOR] + 1.0 * bond / np.linalg.norm(bond)
product.calc = calculator
relax(product)

# %% [markdown]
# ## The path
#
# First without, then with a climbing image, which ends on the saddle point.

# %%
images = [reactant, *(reactant.copy() for _ in range(IMAGES - 2)), product]
for image in images:
    image.calc = calculator
band = NEB(images, climb=False, allow_shared_calculator=True, method="improvedtangent")
band.interpolate("idpp")
FIRE(band, logfile=None).run(fmax=0.1, steps=500)
band.climb = True
converged = FIRE(band, logfile=None).run(fmax=0.03, steps=500)
print("NEB", "converged" if converged else "NOT converged")

# %% [markdown]
# ## Energies and events along it
#
# A calculator that is evaluated along the path logs which bond forms and which one breaks.

# %%
walker = SE3SetCalculator("acac")
energies = []
for image in images:
    step = image.copy()
    step.calc = walker
    energies.append(step.get_potential_energy())
relative = 1000 * (np.array(energies) - energies[0])
difference = [i.get_distance(DONOR, PROTON) - i.get_distance(ACCEPTOR, PROTON) for i in images]
for k, (x, energy) in enumerate(zip(difference, relative, strict=True)):
    print(f"image {k:2d}  r(O{DONOR}-H) - r(O{ACCEPTOR}-H) = {x:+.3f} A  {energy:8.2f} meV")
print(f"barrier {relative.max():.1f} meV, reaction energy {relative[-1]:+.1f} meV")
for event in walker.events:
    if event.kind.startswith("bond"):
        names = "-".join(f"{s}{i}" for s, i in zip(event.symbols, event.atoms, strict=True))
        print(f"{event.kind}: {names}")

# %%
write("proton_transfer.xyz", images)
figure = Figure(figsize=(6, 4), layout="constrained")
axes = figure.subplots()
axes.plot(difference, relative, "o-", color="#0072B2")
axes.set_xlabel("r(donor-H) - r(acceptor-H) / A")
axes.set_ylabel("energy / meV")
axes.set_title("Proton transfer in acetylacetone")
axes.spines[["top", "right"]].set_visible(False)
figure.savefig("proton_transfer.png", dpi=150)
