"""Geometries of the molecules of molecules.csv, for labels: near minima, hot, turned, torn, paired.

    pip install '.[label]'
    python models/organic/structures.py --processes 2 --output runs/geometries
    python models/organic/structures.py --processes 2 --output runs/geometries --round 2 \\
        --monomers ../shared/data/des-monomers/conformers.xyz.gz
    python models/organic/structures.py --processes 2 --output runs/geometries --round 3
    python models/organic/structures.py --processes 2 --output runs/geometries --bound
    python models/organic/structures.py --processes 2 --output runs/geometries --paths

Of each molecule: displacements along normal modes of several conformers, a hot run, conformers
with their torsions at random, and stretched bonds. Of random pairs: contacts from repulsive to far.
Normal modes and relaxations are those of the MMFF94 force field, as is the hot run of a molecule to
train on, where those of the others are GFN2-xTB's (a hundred times the cost); every number is drawn
with the seed of its molecule. With ``--monomers``, its geometries (of SPICE) are parted, too. With
``--bound``, pairs of small molecules, let relax for a while by GFN2-xTB: at their minima, which
random contacts miss; with ``--paths``, of many more pairs of molecules to train on, several
geometries on the way there.
Writes structures-PART-ROUND.xyz, monomers-PART.xyz, bound-PART.xyz and paths-train.xyz, which
``se3set-ase label`` takes; frames carry SMILES and kind. A stopped run goes on, but for pairs.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import CalculationFailed, Calculator
from ase.data import covalent_radii, vdw_radii
from ase.io import write
from ase.io.extxyz import key_val_str_to_dict
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.optimize import BFGS
from rdkit import Chem, RDLogger
from rdkit.Chem import AllChem, rdMolTransforms
from scipy.spatial.transform import Rotation
from tblite.ase import TBLite
from tqdm import tqdm

from se3set_ase.io.extended_xyz import frames_of_file

HERE = Path(__file__).parent
PARTS = ("train", "validation", "test")
KCAL = units.kcal / units.mol
CONFORMERS, PER_CONFORMER = 4, 3
MODES_K = (150.0, 1200.0)  # temperatures of the displacements, drawn between
HOT_K, HOT_FRAMES, STRIDE, EQUILIBRATION = 800.0, 8, 15, 50  # steps of 1 fs
TURNED, STRETCHED = 5, 3
#: Pairs for each molecule: with any other one, and with a small one of at most so many atoms.
PAIRS, SMALL_PAIRS, SMALL = 3, 3, 10
#: Bound pairs: of molecules of at most so many heavy atoms, partners of each, and steps of their
#: relaxation.
BOUND_HEAVY, PARTNERS, BOUND_STEPS = 4, 8, (3, 40)
#: Paths: heavy atoms of the larger molecule, partners of each, and steps that are kept.
PATH_HEAVY, PATH_PARTNERS, PATH_STEPS = 7, 6, (1, 5, 12, 25, 40)
#: Kept for the tests: bound by hydrogen bonds, then by dispersion.
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
#: Of each, its halves as RDKit writes them, in order.
KEPT_APART = {tuple(sorted(map(Chem.CanonSmiles, name.split(".")))) for name in DIMERS}
#: Softest modes that are moved along, in (eV/Angstrom^2/u): softer ones are torsions.
SOFTEST = 0.02
#: Nearer than this, in sums of covalent radii, nothing is kept.
TOO_NEAR = 0.65
TORSION = Chem.MolFromSmarts("*~[!#1]-!@[!#1]~*")
BOND = Chem.MolFromSmarts("*-!@*")


def main() -> None:
    """All molecules, in as many processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("runs/geometries"))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--round", type=int, default=1, choices=(1, 2, 3))
    parser.add_argument("--monomers", type=Path)
    parser.add_argument("--bound", action="store_true", help="these pairs alone")
    parser.add_argument("--paths", action="store_true", help="these pairs alone")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    with (HERE / "molecules.csv").open() as file:
        all_rows = list(csv.DictReader(file))
    if arguments.monomers is not None:
        write_monomers(arguments.monomers, all_rows, arguments.output)
    if arguments.bound or arguments.paths:
        rows = [row for row in all_rows if int(row["round"]) <= 2]
        for part in PARTS if arguments.bound else ("train",):
            here = [row["smiles"] for row in rows if row["part"] == part]
            path = arguments.output / f"{'bound' if arguments.bound else 'paths'}-{part}.xyz"
            write_relaxing(path, here, arguments.paths, arguments.processes)
        return
    rows = [row for row in all_rows if int(row["round"]) <= arguments.round]
    for part in PARTS:
        here = [row for row in rows if row["part"] == part]
        partners = [row["smiles"] for row in here]
        small = [row["smiles"] for row in here if int(row["atoms"]) <= SMALL]
        here = [row for row in here if int(row["round"]) == arguments.round]
        small_first = [row["smiles"] for row in sorted(here, key=lambda row: int(row["atoms"]))]
        path = arguments.output / f"structures-{part}-{arguments.round}.xyz"
        if path.exists() or not here:
            continue
        half = path.with_suffix(".part")
        done = finished(half)
        chosen = [s for s in small_first if s not in done]
        job = partial(structures, tight_binding=part != "train", partners=partners, small=small)
        with ProcessPoolExecutor(arguments.processes) as pool:
            jobs = pool.map(job, chosen, chunksize=4)
            for frames in tqdm(jobs, part, len(chosen), disable=None):
                if frames:
                    write(half, frames, format="extxyz", append=True)
        half.replace(path)


def finished(half: Path) -> set[str]:
    """Molecules that a stopped run wrote; of the last one, perhaps torn, the frames are dropped."""
    if not half.exists():
        return set()
    lines = half.read_text().split("\n")  # as ASE does
    starts: dict[str, int] = {}  # the line at which each molecule begins
    at = 0
    while at < len(lines) - 1 and at + int(lines[at]) + 2 < len(lines):
        starts.setdefault(key_val_str_to_dict(lines[at + 1])["smiles"], at)
        at += int(lines[at]) + 2
    if not starts:
        return set()
    _, last = starts.popitem()
    half.write_text("".join(f"{line}\n" for line in lines[:last]))
    return set(starts)


def write_monomers(path: Path, rows: list[dict[str, str]], output: Path) -> None:
    """Each geometry to the part of its molecule; a file that is there stays."""
    part_of = {row["smiles"]: row["part"] for row in rows}
    parts: dict[str, list[Atoms]] = {part: [] for part in PARTS}
    for atoms in frames_of_file(path):
        smiles = Chem.MolToSmiles(Chem.MolFromSmiles(atoms.info["name"]))
        atoms.info = {"smiles": smiles, "kind": "monomer"}
        frames = parts.get(part_of.get(smiles, "drugs"))  # a tautomer's name may be the other one's
        if frames is not None:
            frames.append(atoms)
    for part, found in parts.items():
        if not (output / f"monomers-{part}.xyz").exists():
            write(output / f"monomers-{part}.xyz", found, format="extxyz")


def write_relaxing(path: Path, names: list[str], paths: bool, processes: int) -> None:
    """Pairs of small molecules with smaller ones; a file that is there stays."""
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
    """Pairs of a molecule with random others, on their way to a minimum of GFN2-xTB."""
    RDLogger.DisableLog("rdApp.*")
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
        with suppress(CalculationFailed):  # what came before it is kept
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


def structures(
    smiles: str, tight_binding: bool, partners: list[str], small: list[str]
) -> list[Atoms]:
    """All geometries of one molecule, and of pairs of it with random others."""
    RDLogger.DisableLog("rdApp.*")
    molecule = embedded(smiles, generator(smiles), CONFORMERS)
    if molecule is None:
        return []
    rng = generator(f"{smiles} modes")
    found: list[tuple[str, Atoms]] = []
    for conformer in molecule.GetConformers():
        found += [("modes", a) for a in along_modes(molecule, conformer.GetId(), rng)]
    rng = generator(smiles)
    method = TBLite(method="GFN2-xTB", verbosity=0) if tight_binding else MMFF94(molecule)
    found += [("hot", atoms) for atoms in hot(as_atoms(molecule, 0), method, rng)]
    found += [("turned", atoms) for atoms in turned(molecule, rng)]
    found += [("stretched", atoms) for atoms in stretched(molecule, rng)]
    for number, names in ((PAIRS, partners), (SMALL_PAIRS, small)):
        for name in rng.choice(names, number):
            other = embedded(str(name), rng, 1)
            if other is None or kept_apart(smiles, str(name)):
                continue
            if other.GetNumAtoms() + molecule.GetNumAtoms() <= 50:
                found.append(("pair", pair(as_atoms(molecule, 0), as_atoms(other, 0), rng)))
    frames = []
    for kind, atoms in found:
        if apart(atoms):
            atoms.info = {"smiles": smiles, "kind": kind}
            atoms.calc = None
            frames.append(atoms)
    return frames


def generator(name: str) -> np.random.Generator:
    """Of random numbers that depend on the name alone."""
    return np.random.default_rng(int(hashlib.sha256(name.encode()).hexdigest()[:16], 16))


def embedded(smiles: str, rng: np.random.Generator, conformers: int) -> Chem.Mol | None:
    """With conformers relaxed by MMFF94, or None where RDKit or the force field knows none."""
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    seed = int(rng.integers(2**31))
    if not AllChem.MMFFHasAllMoleculeParams(molecule) or molecule.GetNumAtoms() < 2:
        return None
    if not AllChem.EmbedMultipleConfs(molecule, conformers, randomSeed=seed):
        return None
    AllChem.MMFFOptimizeMoleculeConfs(molecule, maxIters=2000)
    return molecule


def as_atoms(molecule: Chem.Mol, conformer: int) -> Atoms:
    """A conformer."""
    numbers = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    ids = [c.GetId() for c in molecule.GetConformers()]
    return Atoms(numbers, molecule.GetConformer(ids[conformer]).GetPositions())


class MMFF94(Calculator):
    """RDKit's force field of a molecule, for ASE."""

    implemented_properties = ("energy", "forces")

    def __init__(self, molecule: Chem.Mol, conformer: int = -1):
        super().__init__()
        properties = AllChem.MMFFGetMoleculeProperties(molecule)
        self.field = AllChem.MMFFGetMoleculeForceField(molecule, properties, confId=conformer)

    def calculate(self, atoms=None, properties=(), system_changes=()):  # type: ignore[no-untyped-def]
        """All that there is."""
        super().calculate(atoms, properties, system_changes)
        energy, gradient = self.evaluate(self.atoms.positions.ravel())
        self.results = {"energy": energy, "forces": -gradient.reshape(-1, 3)}

    def evaluate(self, flat: np.ndarray) -> tuple[float, np.ndarray]:
        """Energy (eV) and its gradient (eV/Angstrom) at positions (3N,)."""
        # The energy first: without it the gradient has the distances of an earlier call in it.
        energy = self.field.CalcEnergy(flat.tolist())
        return KCAL * energy, KCAL * np.array(self.field.CalcGrad(flat.tolist()))


def along_modes(molecule: Chem.Mol, conformer: int, rng: np.random.Generator) -> Iterator[Atoms]:
    """Of a conformer, by the force field."""
    method = MMFF94(molecule, conformer)
    start = Atoms(
        [atom.GetAtomicNum() for atom in molecule.GetAtoms()],
        molecule.GetConformer(conformer).GetPositions(),
    )
    return displaced(start, lambda flat: method.evaluate(flat)[1], MODES_K, PER_CONFORMER, rng)


def displaced(
    atoms: Atoms,
    gradient: Callable[[np.ndarray], np.ndarray],
    between: tuple[float, float],
    number: int,
    rng: np.random.Generator,
) -> Iterator[Atoms]:
    """Classical harmonic displacements at random temperatures (as of ANI-1, arXiv:1610.08935).

    Of a minimum, along the modes of the gradient (eV/Angstrom) of flat positions, between two
    temperatures (K).
    """
    step, flat = 1e-3, atoms.positions.ravel()
    rows = []
    for k in range(flat.size):
        ends = []
        for sign in (1.0, -1.0):
            moved = flat.copy()
            moved[k] += sign * step
            ends.append(gradient(moved))
        rows.append((ends[0] - ends[1]) / (2.0 * step))
    weight = np.repeat(atoms.get_masses(), 3) ** -0.5
    hessian = 0.5 * (np.array(rows) + np.array(rows).T) * np.outer(weight, weight)
    stiffness, modes = np.linalg.eigh(hessian)
    modes, stiffness = modes[:, stiffness > SOFTEST], stiffness[stiffness > SOFTEST]
    for _ in range(number):
        width = np.sqrt(units.kB * rng.uniform(*between) / stiffness)
        shift = weight * (modes @ (width * rng.standard_normal(len(width))))
        yield Atoms(atoms.numbers, atoms.positions + shift.reshape(-1, 3))


def hot(atoms: Atoms, method: Calculator, rng: np.random.Generator) -> Iterator[Atoms]:
    """Frames of a short run."""
    dynamics = langevin(atoms, method, HOT_K, 0.02 / units.fs, rng)
    try:
        dynamics.run(EQUILIBRATION)
        for _ in range(HOT_FRAMES):
            dynamics.run(STRIDE)
            yield Atoms(atoms.numbers, atoms.positions)
    except CalculationFailed:  # of the method, where atoms hit each other
        return


def langevin(
    atoms: Atoms, method: Calculator, kelvin: float, friction: float, rng: np.random.Generator
) -> Langevin:
    """From a minimum, whose bonds take half of the energy of the first momenta."""
    atoms.calc = method
    thermalize_momenta(atoms, temperature_K=2 * kelvin, rng=rng)
    return Langevin(
        atoms,
        1.0 * units.fs,
        temperature_K=kelvin,
        friction=friction,
        fixcm=False,  # ASE's own is not quite right
        rng=rng,
    )


def turned(molecule: Chem.Mol, rng: np.random.Generator) -> Iterator[Atoms]:
    """Torsions at random, a little relaxed: from the maxima between conformers."""
    torsions = molecule.GetSubstructMatches(TORSION)
    for _ in range(TURNED if torsions else 0):
        copy = Chem.Mol(molecule)
        for torsion in torsions:
            rdMolTransforms.SetDihedralDeg(copy.GetConformer(), *torsion, rng.uniform(0, 360))
        AllChem.MMFFOptimizeMolecule(copy, maxIters=int(rng.integers(5, 30)))
        atoms = as_atoms(copy, 0)
        atoms.positions += 0.03 * rng.standard_normal(atoms.positions.shape)
        yield atoms


def stretched(molecule: Chem.Mol, rng: np.random.Generator) -> Iterator[Atoms]:
    """One bond outside rings, up to twice as long; its ends move as they are."""
    bonds = molecule.GetSubstructMatches(BOND)
    for _ in range(STRETCHED if bonds else 0):
        copy = Chem.Mol(molecule)
        one, other = map(int, bonds[rng.integers(len(bonds))])
        length = rdMolTransforms.GetBondLength(copy.GetConformer(), one, other)
        rdMolTransforms.SetBondLength(
            copy.GetConformer(), one, other, length * rng.uniform(0.85, 1.9)
        )
        atoms = as_atoms(copy, 0)
        atoms.positions += 0.04 * rng.standard_normal(atoms.positions.shape)
        yield atoms


def pair(one: Atoms, other: Atoms, rng: np.random.Generator) -> Atoms:
    """At random orientations, their nearest atoms at 0.65 to 1.7 sums of van der Waals radii."""
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
    """Whether the two are a pair that is kept for the tests."""
    return tuple(sorted(map(Chem.CanonSmiles, (one, other)))) in KEPT_APART


def apart(atoms: Atoms) -> bool:
    """No two atoms on top of each other."""
    radii = covalent_radii[atoms.numbers]
    distances = atoms.get_all_distances() + np.diag(np.full(len(atoms), np.inf))
    return bool((distances > TOO_NEAR * (radii[:, None] + radii)).all())


if __name__ == "__main__":
    main()
