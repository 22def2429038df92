# %% [markdown]
# # Energy and forces of one molecule
#
# The whole interface is an ASE calculator. Units are ASE's: eV, Angstrom, eV/Angstrom. The geometry
# is the enol form of acetylacetone, as it was in a molecular dynamics run at 300 K.

# %%
from pathlib import Path

from ase.io import read, write

from se3set_ase import SE3SetCalculator

atoms = read(Path(__file__).with_name("acetylacetone.xyz"))
atoms.calc = SE3SetCalculator("acac")

energy = atoms.get_potential_energy()
forces = atoms.get_forces()  # from the same pass through the network
print(f"energy           {energy:.6f} eV")
print(f"longest force    {(forces**2).sum(axis=1).max() ** 0.5:.4f} eV/A")
print(f"sum of forces    {abs(forces.sum(axis=0)).max():.1e} eV/A  (zero, by symmetry)")

# %% [markdown]
# Energies of the atoms add up to that of the molecule. The partition is the network's own and
# cannot be measured.

# %%
for atom, atomic_energy in zip(atoms, atoms.get_potential_energies(), strict=True):
    print(f"{atom.symbol:2s} {atom.index:3d}  {atomic_energy:14.6f} eV")

# %% [markdown]
# The hypergraph of chemical fragments. The weights of the fragments that contain an atom add up to
# one. Without partially broken bonds, every weight is one.

# %%
hypergraph = atoms.calc.hypergraph
print(f"{hypergraph.n_hyperedges} hyperedges, {hypergraph.n_edges} edges, fragments:")
for members, weight in hypergraph.fragments:
    print(f"  weight {weight:.3f}: " + " ".join(f"{atoms[i].symbol}{i}" for i in members))

write("single_point.xyz", atoms)
