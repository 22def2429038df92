"""Makes frames for pre-training: dynamics of six systems with GFN2-xTB.

    pip install tblite
    python -m research.gfn2.frames --processes 2    # half an hour; the frames of `gfn2`
    python -m research.gfn2.frames --system acetylacetone --frames 3000 --rotamers 3000 \\
        --output runs/frames/acac/frames.xyz        # one system, for its own model

Langevin dynamics in steps of 1 fs at several temperatures, a frame each 8 fs, and short runs from
random rotamers; the seeds are fixed.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.calculator import CalculationFailed
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from ase.md.langevin import Langevin
from ase.optimize import LBFGS
from rdkit.Chem import rdMolTransforms
from tblite.ase import TBLite
from tqdm import tqdm

from research.organic.geometry import as_atoms, embedded_once
from research.organic.motion import TORSION
from research.paths import ROOT, RUNS

PEPTIDE = "CC(=O)NC(C)C(=O)NC(C)C(=O)NC(C)C(=O)NC"
EQUILIBRATION, STRIDE = 200, 8  # steps of 1 fs
#: Unpaired electrons of an isolated atom.
UNPAIRED = {"H": 1, "C": 2, "N": 3, "O": 2}


@dataclass(frozen=True)
class System:
    """A system: start, temperatures, number of frames at each, and number of frames of rotamers.

    ``start`` is a SMILES string, a file of this repository, or ``"ethanol dimer"``.
    """

    name: str
    start: str
    smiles: str
    temperatures_K: tuple[float, ...]
    frames: int
    rotamers: int


SYSTEMS = (
    System(
        "acetylacetone",
        "examples/acetylacetone.xyz",
        r"CC(=O)/C=C(/C)O",
        (300, 600, 1000),
        2000,
        2000,
    ),
    System("ethanol", "CCO", "CCO", (300, 600, 1000), 1500, 500),
    System("3bpa", "Nc1ncccc1OCc1ccccc1", "Nc1ncccc1OCc1ccccc1", (300, 600, 1200), 1300, 800),
    System(
        "aspirin", "CC(=O)Oc1ccccc1C(=O)O", "CC(=O)Oc1ccccc1C(=O)O", (300, 600, 1000), 1300, 600
    ),
    System("Ac-Ala3-NHMe", PEPTIDE, PEPTIDE, (300, 500), 600, 300),
    System("ethanol dimer", "ethanol dimer", "", (200, 400), 600, 0),
)
#: Temperature and length of short runs that start from rotamers.
ROTAMERS_K, SHORT = 400.0, 2  # strides


def main() -> None:
    """Run the dynamics and write the frames."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=RUNS / "frames" / "gfn2" / "frames.xyz")
    parser.add_argument("--system", choices=[system.name for system in SYSTEMS])
    parser.add_argument("--frames", type=int, help="number of frames at each temperature")
    parser.add_argument("--rotamers", type=int, help="frames from random rotamers")
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    systems = dict(enumerate(SYSTEMS))
    if arguments.system:
        systems = {k: s for k, s in systems.items() if s.name == arguments.system}
    for number, system in systems.items():
        systems[number] = replace(
            system,
            frames=system.frames if arguments.frames is None else arguments.frames,
            rotamers=system.rotamers if arguments.rotamers is None else arguments.rotamers,
        )
    runs = [
        (system, temperature_K, 100 * number + k)
        for number, system in systems.items()
        for k, temperature_K in enumerate(system.temperatures_K)
    ]
    scrambled = [(system, 100 * number + 50) for number, system in systems.items()]
    with ProcessPoolExecutor(arguments.processes) as pool:
        jobs = [pool.submit(run, *each) for each in runs]
        jobs += [pool.submit(run_rotamers, *each) for each in scrambled]
        done = [job.result() for job in tqdm(jobs, disable=None)]
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    write(arguments.output.with_name("isolated_atoms.xyz"), isolated_atoms(), format="extxyz")
    half = arguments.output.with_suffix(".part")  # frames.xyz exists only when complete
    write(half, [frame for frames in done for frame in frames], format="extxyz")
    half.replace(arguments.output)


def run(system: System, temperature_K: float, seed: int) -> list[Atoms]:
    """Frames of one trajectory; a dimer that dissociates restarts."""
    rng = np.random.default_rng(seed)
    frames: list[Atoms] = []
    while len(frames) < system.frames:
        atoms = geometry(system.start)
        atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
        LBFGS(atoms, logfile=None).run(fmax=0.05, steps=300)
        dynamics = heated(atoms, temperature_K, rng)
        dynamics.run(EQUILIBRATION)
        while len(frames) < system.frames:
            dynamics.run(STRIDE)
            if atoms.get_all_distances().max() > 20.0:  # Angstrom; no system is that large
                break
            frames.append(labelled(atoms))
    return frames


def run_rotamers(system: System, seed: int) -> list[Atoms]:
    """Frames of short runs, each from a random rotamer relaxed for a few steps."""
    rng = np.random.default_rng(seed)
    frames: list[Atoms] = []
    while len(frames) < system.rotamers:
        start = embedded_once(system.smiles)
        conformer = start.GetConformer()
        for i, j, k, l in start.GetSubstructMatches(TORSION):  # noqa: E741
            rdMolTransforms.SetDihedralDeg(conformer, i, j, k, l, rng.uniform(0.0, 360.0))
        atoms = as_atoms(start, 0)
        distances = atoms.get_all_distances()
        if distances[np.triu_indices(len(atoms), 1)].min() < 0.85:  # Angstrom
            continue
        atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
        try:
            LBFGS(atoms, logfile=None, maxstep=0.1).run(fmax=0.5, steps=20)
            dynamics = heated(atoms, ROTAMERS_K, rng)
            for _ in range(SHORT):
                dynamics.run(STRIDE)
                frames.append(labelled(atoms))
        except CalculationFailed:  # of the method, where atoms hit each other
            continue
    return frames


def heated(atoms: Atoms, temperature_K: float, rng: np.random.Generator) -> Langevin:
    """Langevin dynamics with initial velocities of that temperature."""
    spread = np.sqrt(atoms.get_masses() * units.kB * temperature_K)[:, None]
    atoms.set_momenta(spread * rng.standard_normal((len(atoms), 3)))
    return Langevin(
        atoms,
        timestep=units.fs,
        temperature_K=temperature_K,
        friction=0.02 / units.fs,
        fixcm=False,
        rng=rng,
    )


def isolated_atoms() -> list[Atoms]:
    """Isolated atoms with energies."""
    atoms = []
    for symbol, unpaired in UNPAIRED.items():
        atom = Atoms(symbol)
        atom.calc = TBLite(method="GFN2-xTB", multiplicity=unpaired + 1, verbosity=0)
        atoms.append(labelled(atom))
    return atoms


def labelled(atoms: Atoms) -> Atoms:
    """A copy with energy and forces, without velocities."""
    copy = Atoms(atoms.numbers, atoms.positions)
    copy.calc = SinglePointCalculator(
        copy, energy=float(atoms.get_potential_energy()), forces=atoms.get_forces()
    )
    return copy


def geometry(start: str) -> Atoms:
    """Initial geometry."""
    if start == "ethanol dimer":
        return ethanol_dimer()
    if start.endswith(".xyz"):
        return read(ROOT / start)
    return as_atoms(embedded_once(start), 0)


def ethanol_dimer() -> Atoms:
    """Two molecules, one hydroxyl pointing at the oxygen of the other."""
    first, second = molecule("CH3CH2OH"), molecule("CH3CH2OH")
    oxygen, hydrogen = first.positions[2], first.positions[3]
    along = (hydrogen - oxygen) / np.linalg.norm(hydrogen - oxygen)
    second.rotate(120, along, center=second.positions[2])
    second.positions += oxygen + 2.9 * along - second.positions[2]
    return first + second


if __name__ == "__main__":
    main()
