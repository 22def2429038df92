"""Test geometries of `organic` without labels: conformers, torsions, dimers and drugs.

    python -m research.organic.references --output runs/geometries
    se3set-ase label runs/geometries/conformers.xyz -m "wB97X/6-31G(d)" ...

Conformers and torsions are of test molecules with rotatable bonds, relaxed by GFN2-xTB (torsions at
fixed angles). Dimers are relaxed too; then their molecules are moved along the line between the
closest atoms, and far apart. Each drug has one geometry at 300 K from the MMFF94 force field.
Writes conformers.xyz, torsions.xyz, dimers.xyz and drugs.xyz; ``info`` of the frames has SMILES,
and the angle (degrees) or shift (Angstrom).
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.constraints import FixInternals
from ase.io import write
from ase.optimize import BFGS
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers, rdMolAlign
from tblite.ase import TBLite
from tqdm import tqdm

from research.organic.geometry import as_atoms, generator, side
from research.organic.molecules import read_molecules, read_names
from research.organic.motion import MMFF94, langevin
from research.organic.pairs import DIMERS
from research.paths import ORGANIC

#: Rotatable single bonds, including those of amides.
ROTATABLE = Chem.MolFromSmarts("[!#1]~[!#1;!$(*#*)]-;!@[!#1;!$(*#*)]~[!#1]")
#: Numbers of molecules with conformers, of conformers of each, and of embeddings; largest molecule.
MOLECULES, MOST, EMBEDDINGS, LARGEST = 30, 5, 20, 20
#: Conformers with a smaller distance are the same, Angstrom (root mean square, heavy atoms).
SAME = 0.3
TORSIONS, ANGLES = 10, np.arange(0.0, 360.0, 30.0)
SHIFTS = np.array(
    [-1.2, -0.9, -0.6, -0.4, -0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2, 2.0, 3.0]
)
#: Angstrom. At this distance molecules do not interact.
FAR = 30.0
FMAX, STEPS = 0.02, 300
#: Convergence of dimers, whose minima are flat.
FMAX_DIMER, STEPS_DIMER = 0.001, 2000
DRUG_K, DRUG_STEPS = 300.0, 2000


def main() -> None:
    """Write all files that do not exist."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("runs/geometries"))
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    rows = [row for row in read_molecules() if row["part"] == "test"]
    # The order does not depend on properties of the molecules.
    rows.sort(key=lambda r: hashlib.sha256(r["smiles"].encode()).hexdigest())
    turning = [
        row["smiles"]
        for row in rows
        if int(row["atoms"]) <= LARGEST
        and Chem.MolFromSmiles(row["smiles"]).HasSubstructMatch(ROTATABLE)
    ]
    found = (conformers(smiles) for smiles in turning)
    several = (frames for frames in found if len(frames) > 2)
    save(output / "conformers.xyz", several, MOLECULES)
    save(output / "torsions.xyz", map(torsion, turning), TORSIONS)
    save(output / "dimers.xyz", map(dimer, DIMERS), len(DIMERS))
    drugs = read_names(ORGANIC / "drugs.smi").values()
    save(output / "drugs.xyz", map(drug, drugs), len(drugs))


def save(path: Path, families: Iterator[list[Atoms]], number: int) -> None:
    """Write this number of families of geometries, unless the file exists."""
    if path.exists():
        return
    frames = [
        frame
        for _, family in zip(tqdm(range(number), path.stem), families, strict=False)
        for frame in family
    ]
    write(path, frames, format="extxyz")


def relaxed(atoms: Atoms, fmax: float = FMAX, steps: int = STEPS) -> Atoms:
    """Relax by GFN2-xTB under the constraints of the atoms; the result has none."""
    atoms = atoms.copy()
    # With the default accuracy the noise of the forces is larger than forces near flat minima.
    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0, accuracy=0.1)
    converged = BFGS(atoms, logfile=None).run(fmax=fmax, steps=steps)
    return Atoms(atoms.numbers, atoms.positions, info={"converged": bool(converged)})


def embedded(smiles: str, number: int) -> tuple[Chem.Mol, list[Atoms]]:
    """Conformers relaxed by MMFF94; a dimer is relaxed as a whole."""
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMultipleConfs(molecule, number, randomSeed=1)  # with 0 all are the same
    rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(
        molecule, maxIters=2000, ignoreInterfragInteractions=False
    )
    numbers = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    return molecule, [Atoms(numbers, c.GetPositions()) for c in molecule.GetConformers()]


def conformers(smiles: str) -> list[Atoms]:
    """Different minima of GFN2-xTB, starting from different minima of MMFF94."""
    molecule, embeddings = embedded(smiles, EMBEDDINGS)
    minima = [relaxed(start) for start in different(molecule, embeddings)]
    kept = different(molecule, [atoms for atoms in minima if atoms.info["converged"]])
    for atoms in kept:
        atoms.info = {"smiles": smiles, "kind": "conformer"}
    return kept


def different(molecule: Chem.Mol, frames: list[Atoms]) -> list[Atoms]:
    """Conformers that differ from all previous ones."""
    kept: list[Atoms] = []
    for atoms in frames:
        if len(kept) < MOST and all(distance(molecule, atoms, k) > SAME for k in kept):
            kept.append(atoms)
    return kept


def distance(molecule: Chem.Mol, one: Atoms, other: Atoms) -> float:
    """RMSD of heavy atoms, minimised over mirror images and equivalent atoms."""
    copies = []
    for positions in (one.positions, other.positions, other.positions * (1, 1, -1)):
        copy = Chem.Mol(molecule)
        copy.GetConformer(-1).SetPositions(np.ascontiguousarray(positions, dtype=float))
        copies.append(Chem.RemoveHs(copy))
    return min(rdMolAlign.GetBestRMS(Chem.Mol(copies[0]), image) for image in copies[1:])


def torsion(smiles: str) -> list[Atoms]:
    """Scan of the first rotatable bond."""
    molecule, (start,) = embedded(smiles, 1)
    indices = list(molecule.GetSubstructMatch(ROTATABLE))
    one_side = side(molecule, indices[1], indices[2])
    frames = []
    for angle in ANGLES:
        atoms = start.copy()
        atoms.set_dihedral(*indices, angle, indices=one_side)
        atoms.set_constraint(FixInternals(dihedrals_deg=[[angle, indices]]))
        atoms = relaxed(atoms)
        if not atoms.info["converged"]:
            raise RuntimeError(f"expected {smiles} to relax at {angle} degrees")
        atoms.info = {"smiles": smiles, "kind": "torsion", "angle": angle}
        frames.append(atoms)
    return frames


def dimer(smiles: str) -> list[Atoms]:
    """Scan of a relaxed dimer along the line between its nearest atoms."""
    molecule, starts = embedded(smiles, 10)
    relaxations = [relaxed(start, FMAX_DIMER, STEPS_DIMER) for start in starts]
    relaxations = [atoms for atoms in relaxations if atoms.info["converged"]]
    for atoms in relaxations:
        atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
    best = min(relaxations, key=Atoms.get_potential_energy)
    one, other = map(list, Chem.GetMolFrags(molecule))
    between = best.positions[other][None] - best.positions[one][:, None]
    lengths = np.linalg.norm(between, axis=-1)
    i, j = np.unravel_index(lengths.argmin(), lengths.shape)
    frames = []
    for shift in (*SHIFTS, FAR):
        atoms = Atoms(best.numbers, best.positions)
        atoms.positions[other] += shift * between[i, j] / lengths[i, j]
        atoms.info = {"smiles": smiles, "kind": "dimer", "shift": shift}
        frames.append(atoms)
    return frames


def drug(smiles: str) -> list[Atoms]:
    """Last geometry of a short run."""
    molecule, _ = embedded(smiles, 1)
    atoms = as_atoms(molecule, 0)
    run = langevin(atoms, MMFF94(molecule), DRUG_K, 0.01 / units.fs, generator(smiles))
    run.run(DRUG_STEPS)
    return [Atoms(atoms.numbers, atoms.positions, info={"smiles": smiles, "kind": "drug"})]


if __name__ == "__main__":
    main()
