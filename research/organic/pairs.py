"""Pairs of molecules: random contacts, and relaxations by GFN2-xTB."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from ase.data import vdw_radii
from ase.io import write
from ase.optimize import BFGS
from rdkit import Chem, rdBase
from scipy.spatial.transform import Rotation
from tblite.ase import TBLite
from tqdm import tqdm

from research.organic.geometry import apart, as_atoms, embedded, generator

#: Bound pairs: largest number of heavy atoms, number of partners, range of relaxation steps.
BOUND_HEAVY, PARTNERS, BOUND_STEPS = 4, 8, (3, 40)
#: Paths: heavy atoms of the larger molecule, number of partners, steps that are kept.
PATH_HEAVY, PATH_PARTNERS, PATH_STEPS = 7, 6, (1, 5, 12, 25, 40)
#: Test dimers: first those with hydrogen bonds, then those bound by dispersion.
DIMERS = (
    "O.O",
    "CO.O",
    "NC=O.NC=O",
    "OC=O.OC=O",
    "CN.O",
    "CC(C)=O.O",
    "C.C",
    "C=C.C=C",
    "c1ccccc1.C",
    "CF.CCl",
)
#: Canonical SMILES of both molecules of each test dimer, sorted.
KEPT_APART = {tuple(sorted(map(Chem.CanonSmiles, name.split(".")))) for name in DIMERS}


def write_relaxing(path: Path, names: list[str], paths: bool, processes: int) -> None:
    """Write pairs of small molecules with smaller ones, unless the file exists."""
    if path.exists():
        return
    small, larger = (
        [s for s in names if Chem.MolFromSmiles(s).GetNumHeavyAtoms() <= most]
        for most in (BOUND_HEAVY, PATH_HEAVY)
    )
    with ProcessPoolExecutor(processes) as pool:
        chosen = larger if paths else small
        jobs = pool.map(partial(relaxing, partners=small, paths=paths), chosen)
        found = list(tqdm(jobs, path.stem, len(chosen), disable=None))
    write(path, [atoms for frames in found for atoms in frames], format="extxyz")


def relaxing(smiles: str, partners: list[str], paths: bool) -> list[Atoms]:
    """Frames of relaxations by GFN2-xTB of pairs of a molecule with random others."""
    rdBase.DisableLog("rdApp.*")
    kind = "path" if paths else "bound"
    rng = generator(f"{smiles} {kind}")
    one = embedded(smiles, rng, 1)
    found = []
    for name in rng.choice(partners, PATH_PARTNERS if paths else PARTNERS):
        other = embedded(str(name), rng, 1)
        if one is None or other is None or kept_apart(smiles, str(name)):
            continue
        atoms = pair(as_atoms(one, 0), as_atoms(other, 0), rng)
        atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
        optimizer, kept = BFGS(atoms, logfile=None), []
        stops = PATH_STEPS if paths else (int(rng.integers(*BOUND_STEPS)),)
        with suppress(CalculationFailed):  # earlier frames are kept
            for stop in stops:
                optimizer.run(fmax=0.01, steps=stop - optimizer.nsteps)
                kept.append(Atoms(atoms.numbers, atoms.positions))
                if optimizer.nsteps < stop:  # the minimum
                    break
        for frame in kept:
            frame.info = {"smiles": smiles, "kind": kind}
            frame.positions += 0.02 * rng.standard_normal(frame.positions.shape)
        found += [frame for frame in kept if apart(frame)]
    return found


def pair(one: Atoms, other: Atoms, rng: np.random.Generator) -> Atoms:
    """Place two molecules with random orientations.

    The closest atoms are 0.65 to 1.7 times the sum of their van der Waals radii apart.
    """
    for atoms in (one, other):
        atoms.positions -= atoms.positions.mean(axis=0)
        atoms.positions = Rotation.random(random_state=rng).apply(atoms.positions)
        atoms.positions += 0.03 * rng.standard_normal(atoms.positions.shape)
    radii = vdw_radii[one.numbers][:, None] + vdw_radii[other.numbers]
    wanted, direction = rng.uniform(0.65, 1.7), np.array([1.0, 0.0, 0.0])
    for distance in np.arange(0.0, 40.0, 0.05):
        apart_by = one.positions[:, None] - other.positions - distance * direction
        if (np.linalg.norm(apart_by, axis=-1) / radii).min() > wanted:
            break
    return Atoms(
        [*one.numbers, *other.numbers], [*one.positions, *(other.positions + distance * direction)]
    )


def kept_apart(one: str, other: str) -> bool:
    """Whether two molecules are a test dimer."""
    return tuple(sorted(map(Chem.CanonSmiles, (one, other)))) in KEPT_APART
