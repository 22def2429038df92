"""Geometries of zwitterions, which without a solvent would transfer a proton with GFN2-xTB.

Springs keep the lengths of the X-H bonds while the rest is relaxed, so the acidic proton stays.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from ase.constraints import Hookean
from ase.optimize import BFGS
from rdkit import Chem

from research.geometries import xtb
from research.geometries.bonding import canonical, clash
from research.geometries.sampling import (
    MODES_K,
    accepted,
    as_atoms,
    distorted,
    embedded,
    generator,
)

#: Springs act on X-H bonds longer than this multiple of their length in the force field. Their
#: force constants (eV/Angstrom^2) are about those of the bonds.
SPRING, LOOSE = 30.0, 1.04
STEPS = 30


def frames_of(smiles: str, family: str, seed: int, number: int) -> list[Atoms]:
    """Geometries of a zwitterion, and from the second draw on of the molecule after the transfer.

    Parameters are those of `research.geometries.sampling.frames_of`.
    """
    rng = generator(smiles, seed, number)
    molecule = embedded(smiles, rng)
    if molecule is None:
        return []
    best = held(molecule)
    if best is None:
        return []
    label = {"family": family, "kind": "zwitterion", "start": canonical(smiles), "draw": number}
    return list(accepted(molecule, _drawn(molecule, best, number, rng), label))


def _drawn(
    molecule: Chem.Mol, best: Atoms, number: int, rng: np.random.Generator
) -> Iterator[tuple[str, Atoms]]:
    charge = Chem.GetFormalCharge(molecule)
    yield "relaxed", best
    for atoms in xtb.along_modes(best, charge, MODES_K, 2, rng):
        yield "modes", atoms
    yield from distorted(molecule, best, rng, 2)
    if number > 0:
        stops = sorted(int(stop) for stop in rng.choice(np.arange(5, 60), 3, replace=False))
        for atoms in xtb.hot(best, charge, 300.0, stops, rng):
            yield "hot", atoms


def held(molecule: Chem.Mol) -> Atoms | None:
    """Relax with X-H bonds that cannot break; None if GFN2-xTB does not converge."""
    start = as_atoms(molecule)
    if clash(start.numbers, start.positions):
        return None
    springs = []
    for bond in molecule.GetBonds():
        one, other = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        if 1 in start.numbers[[one, other]]:
            longest = LOOSE * start.get_distance(one, other)
            springs.append(Hookean(a1=one, a2=other, rt=longest, k=SPRING))
    moving = xtb.with_gfn2(start, Chem.GetFormalCharge(molecule))
    moving.set_constraint(springs)
    try:
        BFGS(moving, logfile=None).run(fmax=0.1, steps=STEPS)
    except CalculationFailed:
        return None
    return xtb.plain(moving)
