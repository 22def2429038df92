# %% [markdown]
# # Path-integral molecular dynamics with i-PI
#
# The nuclei of acetylacetone as quantum particles: i-PI moves the beads of a ring polymer, and asks
# a driver over a socket for their energies and forces. The driver evaluates all beads in
# one pass of the network, each with its own fragments.
#
# It needs the extra `ipi`.

# %%
import os
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import numpy as np
from ase.io import read, write

from se3set_ase.integrations import ipi_driver

BEADS, STEPS = 16, 100

# %% [markdown]
# The input of i-PI. `batch_size` makes it send all beads together. It requires a cell, which the
# driver ignores.

# %%
address = f"se3set-{os.getpid()}"
Path("input.xml").write_text(f"""\
<simulation verbosity='low'>
  <output prefix='pimd'>
    <properties stride='1' filename='out'>
      [step, time{{femtosecond}}, conserved{{electronvolt}}, temperature{{kelvin}},
       potential{{electronvolt}}, kinetic_cv{{electronvolt}}, bead_potentials{{electronvolt}}]
    </properties>
    <trajectory stride='1' filename='beads' format='ase'>positions</trajectory>
  </output>
  <total_steps>{STEPS}</total_steps>
  <prng><seed>1</seed></prng>
  <ffsocket name='se3set' mode='unix' pbc='false'>
    <address>{address}</address>
    <batch_size>{BEADS}</batch_size>
    <latency>1e-3</latency>
  </ffsocket>
  <system>
    <initialize nbeads='{BEADS}'>
      <file mode='ase'>start.xyz</file>
      <cell mode='abc' units='angstrom'>[100, 100, 100]</cell>
      <velocities mode='thermal' units='kelvin'>300</velocities>
    </initialize>
    <forces><force forcefield='se3set'/></forces>
    <ensemble><temperature units='kelvin'>300</temperature></ensemble>
    <motion mode='dynamics'>
      <dynamics mode='nvt'>
        <timestep units='femtosecond'>0.25</timestep>
        <thermostat mode='pile_g'><tau units='femtosecond'>100</tau></thermostat>
      </dynamics>
    </motion>
  </system>
</simulation>
""")
start = read(Path(__file__).with_name("acetylacetone.xyz"))
write("start.xyz", start)

# %% [markdown]
# Start i-PI, and its driver when the socket exists. The commands are `i-pi input.xml`, and
# `i-pi-driver-py` with the options below.

# %%
programs = Path(sysconfig.get_path("scripts"))
options = ["-u", "-a", address, "-m", "custom", "-P", ipi_driver.__file__]
options += ["-o", "start.xyz,model=acac"]
with Path("i-pi.log").open("w") as log:
    server = subprocess.Popen(
        [sys.executable, programs / "i-pi", "input.xml"],
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        while not Path(f"/tmp/ipi_{address}").exists():
            if server.poll() is not None:
                sys.exit("i-PI did not start, see i-pi.log")
            time.sleep(0.1)
        subprocess.run(
            [sys.executable, programs / "i-pi-driver-py", *options],
            stdout=log,
            check=True,
        )
        server.wait()
    finally:
        server.terminate()

# %% [markdown]
# The conserved quantity shows whether the surface is smooth and the forces are its gradient. The
# nuclei have more kinetic energy than classical ones, which have 3/2 kT per atom.

# %%
_, times, conserved, temperature, potential, kinetic, *_ = np.loadtxt("pimd.out", unpack=True)
print(f"{times[-1]:.1f} fs with {BEADS} beads, {temperature.mean():.0f} K on average")
print(f"conserved quantity: {1000 * np.std(conserved):.2f} meV of spread")
print(f"potential energy:   {1000 * np.std(potential):.2f} meV of spread")
print(f"kinetic energy: {kinetic.mean():.2f} eV; classical {1.5 * 8.617e-5 * 300 * len(start):.2f}")

# %% [markdown]
# How far each nucleus is spread: the radius of gyration of its beads.

# %%
paths = np.array(
    [
        [atoms.positions for atoms in read(file, index=":")]
        for file in sorted(Path().glob("pimd.beads_*.extxyz"))
    ]
)
radii = np.sqrt(paths.var(axis=0).sum(axis=-1).mean(axis=0))
for symbol in "HCO":
    print(f"{symbol}: {radii[start.symbols == symbol].mean():.3f} Å")
