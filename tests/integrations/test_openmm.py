"""OpenMM computes with our model what ASE computes: whole systems and parts of them."""

from __future__ import annotations

import copy
import io
import runpy
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.morse import MorsePotential
from ase.io import read
from untrained import METADATA, Make, tiny_model

from se3set_ase.checkpoint.metadata import BaselineMethod
from se3set_ase.checkpoint.store import save_checkpoint
from se3set_ase.events import read_events
from se3set_ase.integrations import openmm as ours
from se3set_ase.integrations import openmm_plugin
from se3set_ase.integrations.openmm import whole
from se3set_ase.potential import UnsupportedSystem

ACETYLACETONE = Path(__file__).parents[2] / "examples" / "acetylacetone.xyz"
#: kJ/mol in eV.
EV = units.kJ / units.mol
SAME = 1e-9  # relative, in double precision
SAME_SINGLE = 1e-6  # relative, on a platform that adds forces in single precision
WRAPPED = 1e-8  # relative, in double precision after adding and subtracting box vectors
SPREAD = 0.2  # meV/atom, standard deviation of the total energy, 0.5 fs


def test_without_openmm_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openmmml.mlpotential", None)
    without = runpy.run_path(ours.__file__)
    text = r'^SE3SetPotential needs openmm-ml: pip install "se3set-ase\[openmm\]"$'
    with pytest.raises(ImportError, match=text):
        without["SE3SetPotential"]()
    assert runpy.run_path(openmm_plugin.__file__)["SE3SetFactory"]


MLPotential = pytest.importorskip(
    "openmmml", reason="openmm-ml is not installed: extra openmm"
).MLPotential
import openmm  # noqa: E402
from openmm import app, unit  # noqa: E402

#: Charges (e) and sigma (nm) of a force field that needs no other, by element; water is TIP3P.
MADE_UP = {"H": (0.05, 0.2), "C": (-0.05, 0.34), "O": (-0.075, 0.3)}


def topology(molecules: list[Atoms], box: Any = None) -> Any:
    """A residue for each molecule, with bonds between neighbours."""
    made = app.Topology()
    chain = made.addChain()
    for atoms in molecules:
        water = str(atoms.symbols) == "OH2"
        residue = made.addResidue("HOH" if water else atoms.get_chemical_formula(), chain)
        names = ["O", "H1", "H2"] if water else [f"{s}{k}" for k, s in enumerate(atoms.symbols)]
        added = [
            made.addAtom(name, app.Element.getBySymbol(symbol), residue)
            for name, symbol in zip(names, atoms.symbols, strict=True)
        ]
        for one, other in bonds(atoms):
            made.addBond(added[one], added[other])
    if box is not None:
        made.setPeriodicBoxVectors(np.asarray(box) * unit.angstrom)
    return made


def bonds(atoms: Atoms) -> list[tuple[int, int]]:
    distances = atoms.get_all_distances()
    pairs = np.argwhere(np.triu((distances > 0) & (distances < 1.7), k=1)).tolist()
    return [(i, j) for i, j in pairs if distances[i, j] < 1.25 or 1 not in atoms.numbers[[i, j]]]


def force_field(atoms: Atoms) -> Any:
    """TIP3P, and non-bonded interactions of one more molecule."""
    name = atoms.get_chemical_formula()
    kinds = [(f"{symbol}{k}", symbol) for k, symbol in enumerate(atoms.symbols)]
    types = [
        f'<Type name="{name}-{n}" class="{name}-{n}" element="{s}" '
        f'mass="{app.Element.getBySymbol(s).mass._value}"/>'
        for n, s in kinds
    ]
    members = [f'<Atom name="{n}" type="{name}-{n}"/>' for n, _ in kinds]
    members += [f'<Bond from="{i}" to="{j}"/>' for i, j in bonds(atoms)]
    # Such a molecule is neutral: C5H8O2 and CH4O get a charge on the first atom.
    charges = np.array([MADE_UP[s][0] for _, s in kinds])
    charges[0] -= charges.sum()
    values = [
        f'<Atom type="{name}-{n}" charge="{q}" sigma="{MADE_UP[s][1]}" epsilon="0.3"/>'
        for q, (n, s) in zip(charges, kinds, strict=True)
    ]
    text = (
        f'<ForceField><AtomTypes>{"".join(types)}</AtomTypes><Residues><Residue name="{name}">'
        f"{''.join(members)}</Residue></Residues>"
        f'<NonbondedForce coulomb14scale="0.833333" lj14scale="0.5">{"".join(values)}'
        "</NonbondedForce></ForceField>"
    )
    return app.ForceField("tip3p.xml", io.StringIO(text))


def waters(count: int, spacing: float = 3.1) -> list[Atoms]:
    """Water molecules in a row, each turned by another angle."""
    found = []
    for k in range(count):
        atoms = molecule("H2O")
        atoms.rotate(50 * k, "x")
        atoms.rotate(30 * k, "y")
        atoms.rattle(0.03, seed=k)
        atoms.translate([0, 0, spacing * (k + 1)])
        found.append(atoms)
    return found


def joined(molecules: list[Atoms]) -> Atoms:
    return sum(molecules[1:], molecules[0].copy())


def context_of(
    system: Any, positions: np.ndarray, platform: str = "Reference", timestep: float = 0.5
) -> Any:
    """A context at these positions (Angstrom); timestep in fs."""
    properties = {"Threads": "1"} if platform == "CPU" else {}
    context = openmm.Context(
        system,
        openmm.VerletIntegrator(timestep * unit.femtosecond),
        openmm.Platform.getPlatformByName(platform),
        properties,
    )
    context.setPositions(positions * unit.angstrom)
    return context


def evaluated(context: Any) -> tuple[float, np.ndarray]:
    """Energy (eV) and forces (eV/Angstrom)."""
    state = context.getState(energy=True, forces=True)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) * EV
    wanted = unit.kilojoule_per_mole / unit.angstrom
    return energy, state.getForces(asNumpy=True).value_in_unit(wanted) * EV


def by_ase(atoms: Atoms, make: Make) -> tuple[float, np.ndarray]:
    atoms.calc = make()
    return atoms.get_potential_energy(), atoms.get_forces()


def assert_same(
    found: tuple[float, np.ndarray], expected: tuple[float, np.ndarray], rel: float
) -> None:
    """Energies, and forces relative to the largest one."""
    assert found[0] == pytest.approx(expected[0], rel=rel)
    largest = np.abs(expected[1]).max()
    assert largest > 0.1
    np.testing.assert_allclose(found[1], expected[1], rtol=0, atol=rel * largest)


def named(name: Path | str, **options: Any) -> Any:
    """The potential as openmm-ml finds it."""
    return MLPotential("se3set", model=name, device="cpu", **options)


# --- Whole systems ---------------------------------------------------------------------------


@pytest.mark.parametrize(("platform", "rel"), [("Reference", SAME), ("CPU", SAME_SINGLE)])
def test_whole_molecules_are_as_in_ase(platform: str, rel: float, saved: Path, make: Make) -> None:
    molecules = [molecule("CH3CH2OH"), *waters(1, 5.0)]
    system = named(saved).createSystem(topology(molecules))
    found = evaluated(context_of(system, joined(molecules).positions, platform))
    assert_same(found, by_ase(joined(molecules), make), rel)


SKEWED = np.array([[7.0, 0.0, 0.0], [2.0, 7.5, 0.0], [-2.0, 1.5, 9.0]])


@pytest.mark.parametrize("box", [9.0 * np.eye(3), SKEWED])
def test_periodic_cells_are_as_in_ase(box: np.ndarray, saved: Path, make: Make) -> None:
    molecules = [molecule("CH3OH"), *waters(2)]
    atoms = joined(molecules)
    context = context_of(named(saved).createSystem(topology(molecules, box)), atoms.positions)
    expected = by_ase(Atoms(atoms, cell=box, pbc=True), make)
    assert_same(evaluated(context), expected, SAME)
    isolated = by_ase(atoms.copy(), make)
    assert abs(isolated[0] - expected[0]) > 1e-4  # images interact
    context.setPeriodicBoxVectors(*(1.05 * box * unit.angstrom))
    assert_same(evaluated(context), by_ase(Atoms(atoms, cell=1.05 * box, pbc=True), make), SAME)


def test_energy_is_conserved() -> None:
    assert spread("smooth") < SPREAD
    assert spread("hard") > 3 * SPREAD


def spread(refragment: str) -> float:
    """Standard deviation of the total energy of a hot molecule, meV per atom."""
    atoms = read(ACETYLACETONE)
    system = named("acac", refragment=refragment).createSystem(topology([atoms]))
    context = context_of(system, atoms.positions)
    widths = np.sqrt(units.kB * 600 / atoms.get_masses())
    velocities = widths[:, None] * np.random.default_rng(5).standard_normal((len(atoms), 3))
    context.setVelocities(velocities * units.fs * unit.angstrom / unit.femtosecond)
    return 1000 * float(np.std(total_energies(context, 100))) / len(atoms)


def total_energies(context: Any, steps: int) -> list[float]:
    """Total energies (eV) after each step."""
    found = []
    for _ in range(steps):
        context.getIntegrator().step(1)
        state = context.getState(energy=True)
        total = state.getPotentialEnergy() + state.getKineticEnergy()
        found.append(total.value_in_unit(unit.kilojoule_per_mole) * EV)
    return found


# --- A part of a system ----------------------------------------------------------------------


def mixed(
    molecules: list[Atoms],
    potential: Any,
    *,
    box: Any = None,
    region: int = 1,
    method: Any = app.NoCutoff,
    **options: Any,
) -> tuple[Any, Any]:
    """The system whose first molecules are ours, and that of the force field alone."""
    field, whole_topology = force_field(molecules[0]), topology(molecules, box)
    settings = {"nonbondedMethod": method, "rigidWater": False}
    if method is app.PME:
        settings["nonbondedCutoff"] = 0.6 * unit.nanometer
    pure = field.createSystem(whole_topology, **settings)
    ligand = range(sum(len(atoms) for atoms in molecules[:region]))
    return potential.createMixedSystem(whole_topology, pure, ligand, **options), pure


def expected_of_mixed(
    molecules: list[Atoms], pure: Any, make: Make, region: int = 1
) -> tuple[float, np.ndarray]:
    """Force field of everything, minus that of the region, plus our model of the region."""
    ligand, count = joined(molecules[:region]), sum(len(atoms) for atoms in molecules[:region])
    energy, forces = evaluated(context_of(pure, joined(molecules).positions))
    alone = force_field(molecules[0]).createSystem(topology(molecules[:region]), rigidWater=False)
    without = evaluated(context_of(alone, ligand.positions))
    network = by_ase(ligand, make)
    forces[:count] += network[1] - without[1]
    return energy - without[0] + network[0], forces


SYSTEM = [molecule("CH3OH"), *waters(4)]


@pytest.mark.parametrize(("platform", "rel"), [("Reference", SAME), ("CPU", SAME_SINGLE)])
@pytest.mark.parametrize(("box", "method"), [(None, app.NoCutoff), (20 * np.eye(3), app.PME)])
@pytest.mark.parametrize("region", [1, 2])
def test_a_part_is_as_in_ase(
    platform: str, rel: float, box: Any, method: Any, region: int, saved: Path, make: Make
) -> None:
    system, pure = mixed(SYSTEM, named(saved), box=box, method=method, region=region)
    found = evaluated(context_of(system, joined(SYSTEM).positions, platform))
    expected = expected_of_mixed(SYSTEM, pure, make, region)
    assert_same(found, expected, rel)
    assert abs(expected[0] - evaluated(context_of(pure, joined(SYSTEM).positions))[0]) > 1


def test_wrapping_has_no_effect(saved: Path, rng: np.random.Generator) -> None:
    box = np.array([[20.0, 0.0, 0.0], [5.0, 19.0, 0.0], [-6.0, 4.0, 18.0]])
    system, _ = mixed(SYSTEM, named(saved), box=box, method=app.PME, region=2)
    positions = joined(SYSTEM).positions
    expected = evaluated(context_of(system, positions))
    shifts = rng.integers(-2, 3, size=positions.shape)
    shifts[9:] = 0  # harmonic bonds of the force field are not periodic
    assert_same(evaluated(context_of(system, positions + shifts @ box)), expected, WRAPPED)


@pytest.mark.parametrize("box", [20.0 * np.eye(3), 2.5 * SKEWED])
def test_molecules_are_made_whole(box: np.ndarray, rng: np.random.Generator) -> None:
    atoms = molecule("C6H6") + waters(1, 5.0)[0]
    wrapped = atoms.positions + rng.integers(-3, 4, size=(len(atoms), 3)) @ box
    found = whole(wrapped, box, 5.0)
    distances = atoms.get_all_distances()
    np.testing.assert_allclose(
        Atoms(atoms.symbols, found).get_all_distances(), distances, rtol=SAME
    )
    assert np.abs(Atoms(atoms.symbols, wrapped).get_all_distances() - distances).max() > 10
    assert whole(found, box, 5.0) is found


def test_a_region_around_the_box_is_refused(saved: Path) -> None:
    chain = waters(4, 2.6)
    box = np.diag([30.0, 30.0, 4 * 2.6])
    system = named(saved).createMixedSystem(
        topology(chain, box),
        app.ForceField("tip3p.xml").createSystem(
            topology(chain, box),
            nonbondedMethod=app.CutoffPeriodic,
            nonbondedCutoff=0.5 * unit.nanometer,
        ),
        range(12),
    )
    with pytest.raises(
        openmm.OpenMMException, match=r"got one that reaches around it .*: use a la"
    ):
        evaluated(context_of(system, joined(chain).positions))
    far = joined(waters(2, 15.0)).positions
    box = np.diag([60.0, 30.0, 29.0])
    assert whole(far, box, 5.0) is not far  # more than half of the box apart, without interaction
    with pytest.raises(ValueError, match="reaches around"):
        whole(np.array([[0.0, 0, 0], [0, 0, 9], [0, 0, 18]]), np.diag([60.0, 30.0, 26.0]), np.inf)


def test_interpolation(saved: Path) -> None:
    system, pure = mixed(SYSTEM, named(saved), interpolate=True)
    positions = joined(SYSTEM).positions
    context = context_of(system, positions)
    assert_same(
        evaluated(context), evaluated(context_of(mixed(SYSTEM, named(saved))[0], positions)), SAME
    )
    context.setParameter("lambda_interpolate", 0)
    assert_same(evaluated(context), evaluated(context_of(pure, positions)), SAME)


def test_energy_of_a_mixed_system_is_conserved() -> None:
    atoms = read(ACETYLACETONE)
    atoms.positions -= atoms.positions.mean(axis=0)
    shell = waters(2, 3.4)
    for water, side in zip(shell, (1, -1), strict=True):
        water.positions += [0, 0, 3.6 * side] - water.positions.mean(axis=0)
    system, _ = mixed([atoms, *shell], named("acac"))
    context = context_of(system, joined([atoms, *shell]).positions)
    context.setVelocitiesToTemperature(300 * unit.kelvin, 2)
    energies = total_energies(context, 60)
    assert 1000 * np.std(energies) / (len(atoms) + 6) < SPREAD


def test_link_atoms(saved: Path, make: Make) -> None:
    """The methyl group of ethanol, with a hydrogen atom where its bond to carbon was cut."""
    ethanol = molecule("CH3CH2OH")
    field, whole_topology = force_field(ethanol), topology([ethanol])
    methyl = [0 if ethanol.get_distance(0, 2) > ethanol.get_distance(1, 2) else 1]
    methyl += [k for k in range(9) if 0.5 < ethanol.get_distance(methyl[0], k) < 1.25]
    made = named(saved).createMixedSystem(
        whole_topology, field.createSystem(whole_topology), methyl, returnInfo=True
    )
    system, positions = made["system"], np.zeros((10, 3))
    positions[made["oldToNew"]] = ethanol.positions
    context = context_of(system, positions)
    context.computeVirtualSites()
    state = context.getState(positions=True)
    positions = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
    numbers = [atom.element.atomic_number for atom in made["topology"].atoms()]
    (link,) = [k for k in range(10) if system.isVirtualSite(k)]
    capped = [*(made["oldToNew"][k] for k in methyl), link]
    capped_energy, _ = by_ase(Atoms([numbers[k] for k in capped], positions[capped]), make)
    assert Atoms([numbers[k] for k in capped]).get_chemical_formula() == "CH4"
    # Interactions of the force field across the cut are left out by a model of nothing.
    without = copy.deepcopy(system)
    for index in reversed(range(without.getNumForces())):
        if isinstance(without.getForce(index), openmm.PythonForce):
            without.removeForce(index)
    rest, _ = evaluated(context_of(without, positions))
    assert evaluated(context)[0] - rest == pytest.approx(capped_energy, rel=SAME)


def test_openmm_knows_the_molecules(saved: Path) -> None:
    system, _ = mixed(SYSTEM, named(saved))
    assert sizes_of_molecules(system) == [6, 3, 3, 3, 3]
    # Without the bonds that we add, barostats would move the atoms of the region one by one.
    (added,) = [k for k, force in enumerate(system.getForces()) if "Molecules" in force.getName()]
    system.removeForce(added)
    assert sizes_of_molecules(system) == [1] * 6 + [3, 3, 3, 3]


def sizes_of_molecules(system: Any) -> list[int]:
    groups = context_of(system, joined(SYSTEM).positions).getMolecules()
    return [len(group) for group in groups]


# --- Events, copies, restarts ----------------------------------------------------------------


@pytest.mark.parametrize("interpolate", [False, True])
def test_events_are_written(interpolate: bool, saved: Path, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text("old\n")
    potential = named(saved, events=file)
    assert file.read_text() == ""
    molecules = [*waters(1), molecule("CH3OH")]
    all_atoms = topology(molecules)
    pure = force_field(molecules[1]).createSystem(all_atoms)
    system = potential.createMixedSystem(all_atoms, pure, range(3, 9), interpolate=interpolate)
    positions = joined(molecules).positions
    context = context_of(system, positions)
    evaluated(context)
    oxygen, hydrogen = 4, 6
    bond = positions[hydrogen] - positions[oxygen]
    context.setStepCount(7)
    context.setTime(0.25)
    positions[hydrogen] += 3 * bond
    context.setPositions(positions * unit.angstrom)
    evaluated(context)
    record = read_events(file)
    broken = [event for event in record.events if event.kind == "bond broken"]
    assert [(event.atoms, event.symbols) for event in broken] == [((oxygen, hydrogen), ("O", "H"))]
    # OpenMM does not pass the step to forces that it interpolates.
    assert {event.step for event in record.events} == {0 if interpolate else 7}
    assert set(record.times) == {250.0}


def test_saved_and_restarted(saved: Path, make: Make) -> None:
    system = named(saved).createSystem(topology([molecule("CH3OH")]))
    atoms = molecule("CH3OH")
    context = context_of(system, atoms.positions, timestep=0.1)
    context.setVelocitiesToTemperature(100 * unit.kelvin, 1)
    context.getIntegrator().step(5)
    checkpoint = context.createCheckpoint()
    context.getIntegrator().step(5)
    end = context.getState(positions=True).getPositions(asNumpy=True)._value
    again = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(system))
    for other in (again, copy.deepcopy(system)):
        resumed = context_of(other, atoms.positions, timestep=0.1)
        assert_same(evaluated(resumed), by_ase(atoms.copy(), make), SAME)
        resumed.loadCheckpoint(checkpoint)
        resumed.getIntegrator().step(5)
        found = resumed.getState(positions=True).getPositions(asNumpy=True)._value
        np.testing.assert_array_equal(found, end)
    assert np.abs(10 * end - atoms.positions).max() > 1e-3


# --- What is refused -------------------------------------------------------------------------


def test_what_is_refused(saved: Path, tmp_path: Path) -> None:
    potential, methanol = named(saved), topology([molecule("CH3OH")])
    with pytest.raises(UnsupportedSystem, match=r"expected the elements H, C, O, .* got N"):
        potential.createSystem(topology([molecule("NH3")]))
    with pytest.raises(UnsupportedSystem, match=r"expected charge 0, .* got 1"):
        potential.createSystem(methanol, charge=1)
    with pytest.raises(UnsupportedSystem, match=r"expected spin_multiplicity 1, .* got 3"):
        potential.createSystem(methanol, multiplicity=3)
    with pytest.warns(UserWarning, match=r"'net_charge'.* is not read; use charge"):
        potential.createSystem(methanol, net_charge=0)
    extra = topology([molecule("CH3OH")])
    extra.addAtom("EP", None, next(extra.residues()))
    with pytest.raises(UnsupportedSystem, match=r"expected atoms with an element, got <Atom 6 "):
        potential.createSystem(extra)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        named(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="expected a skin of 0 Angstrom or more"):
        named(saved, skin=-1.0).createSystem(methanol)


def test_charges_of_the_force_field_are_compared(tmp_path: Path) -> None:
    save_checkpoint(
        tmp_path, tiny_model(), replace(METADATA, charges=(-1, 0), multiplicities=(1, 2))
    )
    potential = named(tmp_path)
    with pytest.raises(UnsupportedSystem, match=r"expected charge=-1 of the atoms, got .*0\.00 e"):
        mixed(SYSTEM, potential, charge=-1, multiplicity=2)
    mixed(SYSTEM, potential, charge=0)


def test_corrections_have_no_cells(tmp_path: Path, make: Make) -> None:
    method = BaselineMethod(
        name="Morse", calculator="ase.calculators.morse:MorsePotential", package="ase"
    )
    save_checkpoint(tmp_path, tiny_model(), replace(METADATA, baseline=method))
    potential = named(tmp_path, baseline=MorsePotential)
    box = 20 * np.eye(3)
    with pytest.raises(UnsupportedSystem, match="cells are not possible with a baseline"):
        potential.createSystem(topology(SYSTEM, box))
    system, _ = mixed(SYSTEM, potential, box=box, method=app.PME)
    energy, _ = evaluated(context_of(system, joined(SYSTEM).positions))
    assert np.isfinite(energy)


def test_invalid_geometries(saved: Path) -> None:
    atoms = molecule("CH3OH")
    context = context_of(named(saved).createSystem(topology([atoms])), atoms.positions)
    atoms.positions[1] = atoms.positions[0]
    context.setPositions(atoms.positions * unit.angstrom)
    with pytest.raises(openmm.OpenMMException, match="atoms 0 and 1"):
        evaluated(context)
