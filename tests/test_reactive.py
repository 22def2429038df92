"""Bonds that break and form in dynamics: the log agrees with the trajectory."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import molecule
from ase.io import read
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet
from rdkit import Chem
from rdkit.Chem import rdDetermineBonds

from se3set_ase import SE3SetCalculator
from se3set_ase.events.log import lasting
from se3set_ase.simulate.relaxation import relax

ROOT = Path(__file__).parents[1]

#: Distance in Angstrom within which an O-H bond is there, and beyond which it is not, for anyone.
BONDED, APART = 1.15, 1.50
LARGEST_STEP = 2.0  # meV, of the total energy in 0.1 fs, from atoms that fly apart
RESIDENCE = 20.0  # fs


def rdkit_bonds(numbers: np.ndarray, positions: np.ndarray) -> set[tuple[int, int]]:
    """Bonds by RDKit's covalent radii and its default factor, 1.3."""
    mol = Chem.RWMol()
    for z in numbers.tolist():
        mol.AddAtom(Chem.Atom(z))
    conformer = Chem.Conformer(len(numbers))
    conformer.SetPositions(np.ascontiguousarray(positions))
    mol.AddConformer(conformer)
    rdDetermineBonds.DetermineConnectivity(mol)
    pairs = ((b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds())
    return {(min(pair), max(pair)) for pair in pairs}


def test_logged_proton_transfers_are_those_of_the_trajectory():
    atoms = read(ROOT / "examples" / "acetylacetone.xyz")
    atoms.calc = SE3SetCalculator("acac", dtype="float32")
    relax(atoms, fmax=0.05)
    atoms.calc = SE3SetCalculator("acac", dtype="float32")
    proton = proton_of(atoms)
    atoms.set_momenta(momenta(atoms, 600, seed=1))
    dynamics = Langevin(
        atoms,
        timestep=0.5 * units.fs,
        temperature_K=600,
        friction=0.02 / units.fs,
        fixcm=False,
        rng=np.random.RandomState(2),
    )
    frames, energies, first = [], [], []

    def observe() -> None:
        frames.append(atoms.get_positions())
        energies.append(atoms.get_potential_energy())
        if not first:
            first.append(set(atoms.calc.hypergraph.decided_bonds))

    dynamics.attach(observe)
    dynamics.run(1500)
    events = [e for e in atoms.calc.events if e.kind.startswith("bond")]
    assert all(e.energy == energies[e.step] for e in events)

    # Nobody's geometry but the log's: the bonds of the first frame, and the events since.
    oxygens = np.flatnonzero(atoms.numbers == 8)
    (bonds,) = first
    homes = []
    compared = 0
    for step, positions in enumerate(frames):
        for event in (e for e in events if e.step == step):
            assert (event.atoms in bonds) == (event.kind == "bond broken")
            bonds = bonds ^ {event.atoms}
        distance = np.linalg.norm(positions[oxygens, None] - positions, axis=2)
        near, far = sorted(distance[:, proton])
        if near < BONDED and far > APART:
            home = int(oxygens[distance[:, proton].argmin()])
            assert [i for i in oxygens if tuple(sorted((i, proton))) in bonds] == [home]
            if not homes or homes[-1] != home:
                homes.append(home)
            # All other bonds too, by another program.
            assert bonds == rdkit_bonds(atoms.numbers, positions)
            compared += 1
    assert compared > 300
    assert len(homes) >= 4  # three transfers that settled
    lasted = lasting(events, [0.5 * e.step for e in events], RESIDENCE)
    formed = [events[k] for k in lasted if events[k].kind == "bond formed"]
    assert len(formed) >= len(homes) - 1


def test_ethanol_heated_until_bonds_break_neither_crashes_nor_jumps():
    def largest_step(refragment: str) -> tuple[float, SE3SetCalculator]:
        atoms = molecule("CH3CH2OH")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about hard membership
            atoms.calc = SE3SetCalculator("gfn2", refragment=refragment)
        atoms.set_momenta(momenta(atoms, 5000, seed=3))
        total: list[float] = []
        dynamics = VelocityVerlet(atoms, timestep=0.1 * units.fs)
        dynamics.attach(lambda: total.append(atoms.get_total_energy()))
        dynamics.run(800)
        return 1000 * float(np.abs(np.diff(total)).max()), atoms.calc

    smooth, calc = largest_step("smooth")
    events = calc.events
    lasted = lasting(events, [0.1 * e.step for e in events], RESIDENCE)
    assert "bond broken" in {events[k].kind for k in lasted}
    assert smooth < LARGEST_STEP
    hard, _ = largest_step("hard")
    assert hard > 50 * LARGEST_STEP


def momenta(atoms: Atoms, temperature_K: float, seed: int) -> np.ndarray:
    """Velocities of a Boltzmann distribution, without total momentum."""
    rng = np.random.default_rng(seed)
    mass = atoms.get_masses()[:, None]
    p = rng.normal(size=(len(atoms), 3)) * np.sqrt(mass * units.kB * temperature_K)
    return p - mass * p.sum(axis=0) / mass.sum()


def proton_of(atoms: Atoms) -> int:
    """The hydrogen of the hydroxyl, found by its position between the oxygens."""
    oxygens = np.flatnonzero(atoms.numbers == 8)
    hydrogens = np.flatnonzero(atoms.numbers == 1)
    distance = atoms.get_all_distances()[np.ix_(hydrogens, oxygens)]
    return int(hydrogens[distance.sum(axis=1).argmin()])
