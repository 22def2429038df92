"""Geometries of an ethanol dimer and of Ac-Ala3-NHMe with GFN2-xTB energies and forces.

    pip install tblite
    python -m research.benchmarks.gfn2.frames
    se3set-ase train research/benchmarks/gfn2/train.yaml

Langevin dynamics at 500 K, a frame each 20 fs, from several starts; the seeds are fixed. The small
model in this folder is trained on them. It serves only the benchmarks of energy conservation, which
need bound molecules that no bundled model has.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from ase import Atoms
from ase.io import read, write
from tblite.ase import TBLite
from tqdm import tqdm

from research.gfn2.frames import ethanol_dimer, isolated_atoms, labelled
from research.paths import DIMER_PEPTIDE, RUNS
from se3set_ase.simulate import md, relax

TEMPERATURE_K = 500.0


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=RUNS / "frames" / "dimer-peptide")
    parser.add_argument("--frames", type=int, default=300, help="of each system")
    parser.add_argument("--starts", type=int, default=10, help="of each system")
    arguments = parser.parse_args()
    frames = []
    for name, given in (("ethanol-dimer", ethanol_dimer()), ("ac-ala3-nhme", peptide())):
        start = relaxed(given)
        each = arguments.frames // arguments.starts
        for k in tqdm(range(arguments.starts), desc=name, disable=None):
            atoms = start.copy()
            atoms.calc = start.calc
            frames += run(atoms, each, seed=1000 * k)
    arguments.output.mkdir(parents=True, exist_ok=True)
    write(arguments.output / "frames.xyz", frames, format="extxyz")
    write(arguments.output / "isolated_atoms.xyz", isolated_atoms(), format="extxyz")


def peptide() -> Atoms:
    """Ac-Ala3-NHMe: the ideal helix in this folder."""
    atoms = read(DIMER_PEPTIDE / "ac-ala3-nhme.xyz")
    assert isinstance(atoms, Atoms)
    return atoms


def relaxed(atoms: Atoms) -> Atoms:
    """Relax by GFN2-xTB, which stays the calculator of the atoms."""
    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
    relax(atoms, fmax=0.02)
    return atoms


def run(atoms: Atoms, n_frames: int, seed: int) -> list[Atoms]:
    """Langevin dynamics from a relaxed geometry; the first 100 fs are left out."""
    on = partial(md, atoms, temperature_K=TEMPERATURE_K, timestep=1.0, velocities="keep")
    # Half of the kinetic energy of a relaxed molecule goes into the potential.
    md(atoms, temperature_K=2 * TEMPERATURE_K, steps=0, seed=seed)
    on(steps=100, seed=seed + 1)
    frames = []
    for k in range(n_frames):
        on(steps=20, seed=seed + 2 + k)
        frames.append(labelled(atoms))
    return frames


if __name__ == "__main__":
    main()
