"""Dimer scans: pairs of small molecules relaxed by GFN2-xTB, then moved apart or together.

    pip install '.[label]'
    python -m research.organic.dimer_scans --processes 2 --output runs/geometries

Shallow minima, such as those of pairs of hydrocarbons, depend on a few meV. The pairs of
research.organic.structures are random or at their minima, and few are hydrocarbons; here half of
the pairs are. Test dimers and molecules outside the training part are excluded. The name of a pair
is the seed of its random numbers. Writes pulled-train.xyz; ``info`` of the frames has the SMILES of
the first molecule, the kind and the shift (Angstrom).
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from ase.io import write
from ase.optimize import BFGS
from rdkit import Chem, rdBase
from tblite.ase import TBLite
from tqdm import tqdm

from research.organic.geometry import apart, as_atoms, embedded, generator
from research.organic.pairs import kept_apart, pair
from research.organic.torsions import options, to_train_on

#: Largest number of atoms of a pair; number of pairs of hydrocarbons, and of other pairs.
ATOMS, PAIRS = 16, 40
#: Number of relaxations of each pair from random placements; the most stable pair is used.
STARTS, FMAX, STEPS = 3, 0.01, 120
#: Angstrom, along the line between the closest atoms: a random shift from each of these ranges.
SHIFTS = ((-0.6, -0.2), (-0.2, 0.2), (0.2, 0.6), (0.6, 1.5))


def main() -> None:
    """Make all pairs in parallel and write them."""
    arguments = options(__doc__)
    names = chosen_pairs(to_train_on(ATOMS))
    with ProcessPoolExecutor(arguments.processes) as pool:
        jobs = pool.map(scan, names)
        found = [a for frames in tqdm(jobs, total=len(names), disable=None) for a in frames]
    write(arguments.output / "pulled-train.xyz", found, format="extxyz")


def chosen_pairs(smiles: list[str]) -> list[str]:
    """Draw pairs of hydrocarbons, then pairs of any two molecules."""
    rng = generator("pulled pairs")
    sizes = {s: Chem.AddHs(Chem.MolFromSmiles(s)).GetNumAtoms() for s in smiles}
    hydrocarbons = [s for s in smiles if set(s) <= set("C=#()[]H123c")]
    pairs: list[str] = []
    for names, wanted in ((hydrocarbons, PAIRS), (smiles, 2 * PAIRS)):
        while len(pairs) < wanted:
            one, other = sorted(str(s) for s in rng.choice(names, 2))
            name = f"{one}.{other}"
            new = name not in pairs and not kept_apart(one, other)
            if sizes[one] + sizes[other] <= ATOMS and new:
                pairs.append(name)
    return pairs


def scan(name: str) -> list[Atoms]:
    """Geometries of one pair."""
    rdBase.DisableLog("rdApp.*")
    rng = generator(f"{name} pulled")
    first, second = (embedded(smiles, rng, 1) for smiles in name.split("."))
    if first is None or second is None:
        return []
    one, other = as_atoms(first, 0), as_atoms(second, 0)
    minima: list[tuple[float, Atoms]] = []
    for _ in range(STARTS):
        atoms = pair(one, other, rng)
        atoms.calc = TBLite(method="GFN2-xTB", verbosity=0, accuracy=0.1)
        with suppress(CalculationFailed):
            BFGS(atoms, logfile=None).run(fmax=FMAX, steps=STEPS)
            minima.append((atoms.get_potential_energy(), Atoms(atoms.numbers, atoms.positions)))
    if not minima:
        return []
    _, best = min(minima, key=lambda found: found[0])
    between = best.positions[len(one) :][None] - best.positions[: len(one), None]
    lengths = np.linalg.norm(between, axis=-1)  # atom i of the one, atom j of the other
    i, j = np.unravel_index(lengths.argmin(), lengths.shape)
    frames = []
    for between_shifts in SHIFTS:
        shift = float(rng.uniform(*between_shifts))
        atoms = best.copy()
        atoms.positions[len(one) :] += shift * between[i, j] / lengths[i, j]
        atoms.info = {"smiles": name.split(".")[0], "kind": "pulled", "shift": shift}
        frames.append(atoms)
    return [frame for frame in frames if apart(frame)]


if __name__ == "__main__":
    main()
