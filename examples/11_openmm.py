# %% [markdown]
# # A drug in water with OpenMM
#
# Paracetamol in a box of water. Our model computes the drug, and a force field everything else:
# the water, and its interactions with the drug (mechanical embedding). The drug is refragmented at
# every step.
#
# It needs the extra `openmm`.

# %%
import io
from pathlib import Path

import openmm
from openmm import app, unit
from openmmml import MLPotential
from rdkit import Chem
from rdkit.Chem import AllChem, rdForceFieldHelpers

from se3set_ase.events import read_events

STEPS = 200
SMILES = "CC(=O)Nc1ccc(O)cc1"

# %% [markdown]
# ## The drug
#
# RDKit makes a conformer, which becomes a residue of an OpenMM topology.

# %%
molecule = Chem.AddHs(Chem.MolFromSmiles(SMILES))
AllChem.EmbedMolecule(molecule, randomSeed=1)
AllChem.MMFFOptimizeMolecule(molecule)
positions = molecule.GetConformer().GetPositions() * unit.angstrom

topology = app.Topology()
residue = topology.addResidue("DRG", topology.addChain())
names = [f"{atom.GetSymbol()}{atom.GetIdx()}" for atom in molecule.GetAtoms()]
elements = [app.Element.getByAtomicNumber(atom.GetAtomicNum()) for atom in molecule.GetAtoms()]
atoms = [topology.addAtom(n, e, residue) for n, e in zip(names, elements, strict=True)]
bonds = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()]
for one, other in bonds:
    topology.addBond(atoms[one], atoms[other])

# %% [markdown]
# ## Its force field
#
# Only interactions with the water are needed. Here they are simple: charges of MMFF94 and radii of
# UFF, both from RDKit. Take those of GAFF or OpenFF for research.

# %%
mmff = rdForceFieldHelpers.MMFFGetMoleculeProperties(molecule)
types, members, values = [], [], []
for k, (name, element) in enumerate(zip(names, elements, strict=True)):
    charge = mmff.GetMMFFPartialCharge(k)
    distance, depth = rdForceFieldHelpers.GetUFFVdWParams(molecule, k, k)  # Å, kcal/mol
    sigma, epsilon = distance / 2 ** (1 / 6) / 10, depth * 4.184  # nm, kJ/mol
    mass = element.mass.value_in_unit(unit.dalton)
    types.append(f"<Type name='{name}' class='{name}' element='{element.symbol}' mass='{mass}'/>")
    members.append(f"<Atom name='{name}' type='{name}'/>")
    values.append(f"<Atom type='{name}' charge='{charge}' sigma='{sigma}' epsilon='{epsilon}'/>")
members += [f"<Bond from='{one}' to='{other}'/>" for one, other in bonds]
drug = f"""
<ForceField>
  <AtomTypes>{"".join(types)}</AtomTypes>
  <Residues><Residue name="DRG">{"".join(members)}</Residue></Residues>
  <NonbondedForce coulomb14scale="0.833333" lj14scale="0.5">{"".join(values)}</NonbondedForce>
</ForceField>"""
field = app.ForceField("tip3p.xml", io.StringIO(drug))

# %% [markdown]
# ## The box

# %%
modeller = app.Modeller(topology, positions)
modeller.addSolvent(field, model="tip3p", padding=1.0 * unit.nanometer)
force_field_system = field.createSystem(
    modeller.topology,
    nonbondedMethod=app.PME,
    nonbondedCutoff=0.8 * unit.nanometer,
    rigidWater=True,
)
drug_atoms = [atom.index for atom in modeller.topology.atoms() if atom.residue.name == "DRG"]

potential = MLPotential("se3set", model="organic", events="openmm.events.jsonl")
system = potential.createMixedSystem(modeller.topology, force_field_system, drug_atoms)
print(f"{len(drug_atoms)} atoms of the drug, {system.getNumParticles()} in total")

# %% [markdown]
# ## The run

# %%
integrator = openmm.LangevinMiddleIntegrator(
    300 * unit.kelvin, 1 / unit.picosecond, 0.5 * unit.femtosecond
)
integrator.setRandomNumberSeed(1)
simulation = app.Simulation(modeller.topology, system, integrator)
simulation.context.setPositions(modeller.positions)
simulation.minimizeEnergy(maxIterations=50)
simulation.context.setVelocitiesToTemperature(300 * unit.kelvin, 1)
simulation.reporters.append(app.DCDReporter("openmm.dcd", 10))
simulation.reporters.append(
    app.StateDataReporter(
        "openmm.csv", 10, time=True, potentialEnergy=True, temperature=True, speed=True
    )
)
simulation.step(STEPS)
with Path("openmm.pdb").open("w") as file:
    state = simulation.context.getState(positions=True, enforcePeriodicBox=True)
    app.PDBFile.writeFile(modeller.topology, state.getPositions(), file)

# %% [markdown]
# The log has the atoms with their indices in the topology, and the steps and times of OpenMM:

# %%
record = read_events("openmm.events.jsonl")
broken = [event for event in record.events if event.kind.startswith("bond")]
print(f"{STEPS} steps, {len(record.events)} events, {len(broken)} of them of bonds")
