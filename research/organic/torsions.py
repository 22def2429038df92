"""Conformers and torsions of training molecules, relaxed by GFN2-xTB, to label.

    pip install '.[label]'
    python -m research.organic.torsions --processes 2 --output runs/geometries

Users often compare relaxed energies of conformers, or along torsions. The geometries of
research.organic.structures are displaced, hot or dissociated, with few of each molecule. Here each
molecule with a rotatable bond has several conformers, and geometries with one bond fixed at random
angles while the rest relaxes. The name of a molecule is the seed of its random numbers. Writes
turning-train.xyz; ``info`` of the frames has SMILES and kind.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from ase.constraints import FixInternals
from ase.io import write
from ase.optimize import BFGS
from rdkit import Chem, rdBase
from tblite.ase import TBLite
from tqdm import tqdm

from research.organic.geometry import apart, as_atoms, embedded, generator, side
from research.organic.molecules import read_molecules
from research.organic.references import LARGEST, ROTATABLE, different

#: Number of rounds of molecules.csv that are used; later rounds have their own geometries.
ROUNDS = 4
#: Numbers of embeddings, conformers and angles of each molecule.
EMBEDDINGS, CONFORMERS, ANGLES = 6, 3, 3
#: Convergence and steps of relaxations, which end near a minimum with forces that are not zero.
FMAX, STEPS = 0.05, 30


def main() -> None:
    """Make the geometries of all molecules in parallel and write them."""
    arguments = options(__doc__)
    small = to_train_on(LARGEST)
    chosen = [s for s in small if Chem.MolFromSmiles(s).HasSubstructMatch(ROTATABLE)]
    with ProcessPoolExecutor(arguments.processes) as pool:
        jobs = pool.map(sample, chosen, chunksize=4)
        found = [a for frames in tqdm(jobs, total=len(chosen), disable=None) for a in frames]
    write(arguments.output / "turning-train.xyz", found, format="extxyz")


def options(doc: str) -> argparse.Namespace:
    """Parse the command line and create the output folder."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("runs/geometries"))
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    return arguments


def to_train_on(largest: int) -> list[str]:
    """SMILES of training molecules of the first rounds with at most that many atoms."""
    rows = [row for row in read_molecules() if row["part"] == "train"]
    old = [row for row in rows if int(row["round"]) <= ROUNDS]
    return [row["smiles"] for row in old if int(row["atoms"]) <= largest]


def sample(smiles: str) -> list[Atoms]:
    """Conformers and torsions of one molecule."""
    rdBase.DisableLog("rdApp.*")
    rng = generator(f"{smiles} turning")
    molecule = embedded(smiles, rng, EMBEDDINGS)
    if molecule is None:
        return []
    conformers = conformers_of(molecule)
    starts = [("conformer", atoms) for atoms in different(molecule, conformers)[:CONFORMERS]]
    starts += [("torsion", atoms) for atoms in at_angles(molecule, conformers[0], rng)]
    frames = list(relaxed(starts))
    for frame in frames:
        frame.info["smiles"] = smiles
    return frames


def conformers_of(molecule: Chem.Mol) -> list[Atoms]:
    """All conformers as ASE atoms."""
    return [as_atoms(molecule, k) for k in range(molecule.GetNumConformers())]


def relaxed(starts: Iterable[tuple[str, Atoms]]) -> Iterator[Atoms]:
    """Relax by GFN2-xTB under the constraints of the atoms; the results have none."""
    for kind, atoms in starts:
        atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
        with suppress(CalculationFailed):  # for example if two atoms overlap
            BFGS(atoms, logfile=None).run(fmax=FMAX, steps=STEPS)
            frame = Atoms(atoms.numbers, atoms.positions, info={"kind": kind})
            if apart(frame):
                yield frame


def at_angles(molecule: Chem.Mol, start: Atoms, rng: np.random.Generator) -> Iterator[Atoms]:
    """Set one rotatable bond to random angles, fixed while the rest relaxes."""
    matches = molecule.GetSubstructMatches(ROTATABLE)
    indices = [int(i) for i in matches[rng.integers(len(matches))]]
    one_side = side(molecule, indices[1], indices[2])
    for angle in rng.uniform(0.0, 360.0, ANGLES):
        atoms = start.copy()
        atoms.set_dihedral(*indices, angle, indices=one_side)
        atoms.set_constraint(FixInternals(dihedrals_deg=[[angle, indices]]))
        yield atoms


if __name__ == "__main__":
    main()
