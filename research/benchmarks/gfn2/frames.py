"""Geometries of an ethanol dimer and of Ac-Ala3-NHMe with GFN2-xTB energies and forces.

    pip install tblite
    python benchmarks/gfn2/frames.py --output benchmarks/gfn2

Langevin dynamics at 500 K, a frame each 20 fs, from several starts; the seeds are fixed. The small
model in this folder is trained on them (train.yaml). It serves the benchmarks of energy
conservation, which want bound molecules other than the bundled models', and nothing else.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from tblite.ase import TBLite
from tqdm import tqdm

from se3set_ase.simulate import md, relax

HERE = Path(__file__).parent
TEMPERATURE_K = 500.0
UNPAIRED = {"H": 1, "C": 2, "N": 3, "O": 2}


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=HERE)
    parser.add_argument("--frames", type=int, default=300, help="of each system")
    parser.add_argument("--starts", type=int, default=10, help="of each system")
    arguments = parser.parse_args()
    frames = []
    for name, start in (("ethanol-dimer", ethanol_dimer()), ("ac-ala3-nhme", peptide())):
        each = arguments.frames // arguments.starts
        for k in tqdm(range(arguments.starts), desc=name, disable=None):
            atoms = start.copy()
            atoms.calc = start.calc
            frames += run(atoms, each, seed=1000 * k)
    arguments.output.mkdir(parents=True, exist_ok=True)
    write(arguments.output / "frames.xyz", frames, format="extxyz")
    write(arguments.output / "isolated_atoms.xyz", isolated_atoms(), format="extxyz")


def ethanol_dimer() -> Atoms:
    """One hydroxyl pointing at the oxygen of the other, before relaxation."""
    first, second = molecule("CH3CH2OH"), molecule("CH3CH2OH")
    oxygen = first.positions[2]
    hydrogen = first.positions[3]
    along = (hydrogen - oxygen) / np.linalg.norm(hydrogen - oxygen)
    second.rotate(120, along, center=second.positions[2])
    second.positions += oxygen + 2.9 * along - second.positions[2]
    dimer = first + second
    dimer.calc = TBLite(method="GFN2-xTB", verbosity=0)
    relax(dimer, fmax=0.02)
    return dimer


def peptide() -> Atoms:
    """Ac-Ala3-NHMe as it lies in this folder: an ideal helix."""
    atoms = read(HERE / "ac-ala3-nhme.xyz")
    assert isinstance(atoms, Atoms)
    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
    relax(atoms, fmax=0.02)
    return atoms


def run(atoms: Atoms, n_frames: int, seed: int) -> list[Atoms]:
    """Langevin dynamics from a relaxed geometry; the first 100 fs are left out."""
    options = {"temperature_K": TEMPERATURE_K, "timestep": 1.0, "velocities": "keep"}
    # Half of the kinetic energy of a relaxed molecule goes into the potential.
    md(atoms, temperature_K=2 * TEMPERATURE_K, steps=0, seed=seed)
    md(atoms, steps=100, seed=seed + 1, **options)
    frames = []
    for k in range(n_frames):
        md(atoms, steps=20, seed=seed + 2 + k, **options)
        frames.append(labelled(atoms))
    return frames


def isolated_atoms() -> list[Atoms]:
    """Each element alone."""
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


if __name__ == "__main__":
    main()
