"""Geometries of the molecules of molecules.csv to label: displaced, hot, stretched, in pairs.

    pip install '.[label]'
    python -m research.organic.structures --processes 2 --output runs/geometries
    python -m research.organic.structures --processes 2 --output runs/geometries --round 2 \\
        --monomers FOLDER/des-monomers/conformers.xyz.gz
    python -m research.organic.structures --processes 2 --output runs/geometries --round 3
    python -m research.organic.structures --processes 2 --output runs/geometries --bound
    python -m research.organic.structures --processes 2 --output runs/geometries --paths

Each molecule has displacements along normal modes of several conformers, frames of a hot run,
conformers with random torsions, and stretched bonds. Random pairs have contacts from repulsive to
distant. Normal modes, relaxations and hot runs of training molecules use the MMFF94 force field;
hot runs of other molecules use GFN2-xTB, which takes a hundred times as long. The name of a
molecule is the seed of its random numbers. ``--monomers`` also assigns the geometries of SPICE to
the parts. ``--bound`` makes pairs of small molecules near their minima, which random contacts miss,
by a few steps of relaxation with GFN2-xTB; ``--paths`` keeps several geometries of such
relaxations, of many more training pairs. Writes structures-PART-ROUND.xyz, monomers-PART.xyz,
bound-PART.xyz and paths-train.xyz for ``se3set-ase label``; ``info`` of the frames has SMILES and
kind. An interrupted run resumes, except for pairs.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from ase import Atoms
from ase.io import write
from ase.io.extxyz import key_val_str_to_dict
from rdkit import Chem, rdBase
from tblite.ase import TBLite
from tqdm import tqdm

from research.organic.geometry import apart, as_atoms, embedded, generator
from research.organic.molecules import PARTS, read_molecules
from research.organic.motion import MMFF94, along_modes, hot, stretched, turned
from research.organic.pairs import kept_apart, pair, write_relaxing
from se3set_ase.io.extended_xyz import frames_of_file

CONFORMERS = 4
#: Numbers of pairs of each molecule with any other and with a small one; atoms of a small one.
PAIRS, SMALL_PAIRS, SMALL = 3, 3, 10


def main() -> None:
    """Make the geometries of all molecules in parallel."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("runs/geometries"))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--round", type=int, default=1, choices=(1, 2, 3))
    parser.add_argument("--monomers", type=Path)
    parser.add_argument("--bound", action="store_true", help="only these pairs")
    parser.add_argument("--paths", action="store_true", help="only these pairs")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    all_rows = read_molecules()
    if arguments.monomers is not None:
        write_monomers(arguments.monomers, all_rows, arguments.output)
    if arguments.bound or arguments.paths:
        rows = [row for row in all_rows if int(row["round"]) <= 2]
        for part in PARTS if arguments.bound else ("train",):
            names = [row["smiles"] for row in rows if row["part"] == part]
            path = arguments.output / f"{'bound' if arguments.bound else 'paths'}-{part}.xyz"
            write_relaxing(path, names, arguments.paths, arguments.processes)
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
    """Molecules that an interrupted run wrote, without the last one, which may be incomplete."""
    if not half.exists():
        return set()
    lines = half.read_text().split("\n")  # as ASE does
    starts: dict[str, int] = {}  # first line of each molecule
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
    """Write each geometry to the part of its molecule, unless the file exists."""
    part_of = {row["smiles"]: row["part"] for row in rows}
    parts: dict[str, list[Atoms]] = {part: [] for part in PARTS}
    for atoms in frames_of_file(path):
        smiles = Chem.MolToSmiles(Chem.MolFromSmiles(atoms.info["name"]))
        atoms.info = {"smiles": smiles, "kind": "monomer"}
        frames = parts.get(part_of.get(smiles, "drugs"))  # the SMILES may be of another tautomer
        if frames is not None:
            frames.append(atoms)
    for part, found in parts.items():
        if not (output / f"monomers-{part}.xyz").exists():
            write(output / f"monomers-{part}.xyz", found, format="extxyz")


def structures(
    smiles: str, tight_binding: bool, partners: list[str], small: list[str]
) -> list[Atoms]:
    """All geometries of one molecule, and of pairs of it with random others."""
    rdBase.DisableLog("rdApp.*")
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


if __name__ == "__main__":
    main()
