"""A drug in water with OpenMM: our model and a force field, conservation of energy and speed.

    python -m research.benchmarks.openmm_mixed --ps 20  # an hour on two idle cores

Paracetamol in a box of TIP3P water, as in examples/11_openmm.py. After a short equilibration with a
thermostat, the total energy is recorded without one. The platform CPU has forces in single
precision; the constraints of the water are the second limit of conservation. On a busy machine,
take the time of the CPU (of all threads) rather than that of the clock. Writes openmm_mixed.csv,
with a row for each length of run and option.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit
from openmmml import MLPotential
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from research.benchmarks.machine import about
from research.paths import DOCS
from research.tables import read_rows, write_rows

SMILES = "CC(=O)Nc1ccc(O)cc1"
TIMESTEP = 0.5  # fs
KB = 0.00831446  # kJ/mol/K


def main() -> None:
    """Run the measurement and write its row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ps", type=float, default=20.0, help="length of the run")
    parser.add_argument("--model", default="organic")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--dtype", default="float64")
    parser.add_argument("--equilibration", type=float, default=0.5, help="ps")
    parser.add_argument("--output", type=Path, default=DOCS)
    arguments = parser.parse_args()
    topology, positions, force_field_system = drug_in_water(SMILES)
    atoms = [atom.index for atom in topology.atoms() if atom.residue.name == "DRG"]
    potential = MLPotential(
        "se3set", model=arguments.model, dtype=arguments.dtype, compile=arguments.compile
    )
    system = potential.createMixedSystem(topology, force_field_system, atoms)
    key = {
        "ps": arguments.ps,
        "model": arguments.model,
        "dtype": arguments.dtype,
        "compiled": arguments.compile,
    }
    row: dict[str, object] = {**key, "drug_atoms": len(atoms), "atoms": system.getNumParticles()}
    row |= conservation(system, positions, arguments.ps, arguments.equilibration)
    row |= {**about(), "openmm": openmm.version.version}
    print(row)
    path = arguments.output / "openmm_mixed.csv"
    kept = [other for other in read_rows(path) if any(other[k] != str(v) for k, v in key.items())]
    table: list[Mapping[str, object]] = [*kept, row]
    write_rows(path, table)


def drug_in_water(smiles: str) -> tuple[app.Topology, unit.Quantity, openmm.System]:
    """Topology, positions and force field of a molecule, residue DRG, in a box of water.

    Charges are those of MMFF94, Lennard-Jones parameters those of UFF.
    """
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMolecule(molecule, randomSeed=1)
    rdForceFieldHelpers.MMFFOptimizeMolecule(molecule)
    mmff = rdForceFieldHelpers.MMFFGetMoleculeProperties(molecule)
    topology = app.Topology()
    residue = topology.addResidue("DRG", topology.addChain())
    types, members, values, added = [], [], [], []
    for k, atom in enumerate(molecule.GetAtoms()):
        name, element = f"{atom.GetSymbol()}{k}", app.Element.getBySymbol(atom.GetSymbol())
        added.append(topology.addAtom(name, element, residue))
        distance, depth = rdForceFieldHelpers.GetUFFVdWParams(molecule, k, k)  # Å, kcal/mol
        types.append(
            f"<Type name='{name}' class='{name}' element='{element.symbol}' "
            f"mass='{element.mass.value_in_unit(unit.dalton)}'/>"
        )
        members.append(f"<Atom name='{name}' type='{name}'/>")
        values.append(
            f"<Atom type='{name}' charge='{mmff.GetMMFFPartialCharge(k)}' "
            f"sigma='{distance / 2 ** (1 / 6) / 10}' epsilon='{4.184 * depth}'/>"
        )
    for bond in molecule.GetBonds():
        one, other = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        topology.addBond(added[one], added[other])
        members.append(f"<Bond from='{one}' to='{other}'/>")
    text = (
        f"<ForceField><AtomTypes>{''.join(types)}</AtomTypes>"
        f"<Residues><Residue name='DRG'>{''.join(members)}</Residue></Residues>"
        "<NonbondedForce coulomb14scale='0.833333' lj14scale='0.5'>"
        f"{''.join(values)}</NonbondedForce></ForceField>"
    )
    field = app.ForceField("tip3p.xml", io.StringIO(text))
    modeller = app.Modeller(topology, molecule.GetConformer().GetPositions() * unit.angstrom)
    modeller.addSolvent(field, model="tip3p", padding=1.0 * unit.nanometer)
    system = field.createSystem(
        modeller.topology, nonbondedMethod=app.PME, nonbondedCutoff=0.8 * unit.nanometer
    )
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            # A cutoff that ends in a step costs energy at each crossing.
            force.setUseSwitchingFunction(True)
            force.setSwitchingDistance(0.7 * unit.nanometer)
            force.setEwaldErrorTolerance(1e-5)
    return modeller.topology, modeller.positions, system


def conservation(
    system: openmm.System, positions: unit.Quantity, ps: float, equilibration: float
) -> dict[str, object]:
    """Columns of a run at constant energy."""
    every, steps = 20, round(1000 * ps / TIMESTEP)
    platform = openmm.Platform.getPlatformByName("CPU")
    thermostat = openmm.LangevinMiddleIntegrator(
        300 * unit.kelvin, 5 / unit.picosecond, TIMESTEP * unit.femtosecond
    )
    thermostat.setRandomNumberSeed(1)
    context = openmm.Context(system, thermostat, platform)
    context.setPositions(positions)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=50)
    context.setVelocitiesToTemperature(300 * unit.kelvin, 1)
    thermostat.step(round(1000 * equilibration / TIMESTEP))
    state = context.getState(positions=True, velocities=True)
    integrator = openmm.VerletIntegrator(TIMESTEP * unit.femtosecond)
    integrator.setConstraintTolerance(1e-7)
    free = openmm.Context(system, integrator, platform)
    free.setState(state)
    totals, potentials, elapsed, busy = [], [], 0.0, 0.0
    for _ in range(steps // every):
        begin = time.perf_counter(), time.process_time()
        integrator.step(every)
        elapsed += time.perf_counter() - begin[0]
        busy += time.process_time() - begin[1]
        now = free.getState(energy=True)
        potentials.append(now.getPotentialEnergy()._value)
        totals.append(potentials[-1] + now.getKineticEnergy()._value)  # kJ/mol
    freedoms = 3 * system.getNumParticles() - system.getNumConstraints() - 3
    times = every * TIMESTEP / 1000 * np.arange(1, len(totals) + 1)  # ps
    slope = float(np.polyfit(times, totals, 1)[0])
    return {
        "steps": steps,
        "drift_kT_per_ns_per_dof": f"{1000 * slope / (KB * 300 * freedoms):.3g}",
        "spread_kJ_mol": f"{np.std(totals):.3g}",
        "spread_of_potential_kJ_mol": f"{np.std(potentials):.3g}",
        "ms_per_step": f"{1000 * elapsed / steps:.1f}",
        "cpu_ms_per_step": f"{1000 * busy / steps:.1f}",
        "ns_per_day": f"{0.0864 * TIMESTEP * steps / elapsed:.3g}",
    }


if __name__ == "__main__":
    main()
