"""Chooses geometries to label: first at random, then where the members of a committee disagree.

    cd runs/geometries
    python -m research.organic.choose gfn2-train.xyz --number 1200 --largest 120 \\
        --output chosen-train-1.xyz
    python -m research.organic.choose gfn2-train.xyz --number 2000 --largest 100 \\
        --committee ../organic-1/model ../organic-2/model --without chosen-train-*.xyz \\
        --output chosen-train-4.xyz

Without a committee, every molecule gets one geometry before any gets a second, including those of
earlier choices; kinds of geometry are drawn at random. With a committee, geometries are ranked by
their largest force uncertainty divided by the cost of a label, with a limit for each molecule.
Molecules larger than ``--largest`` are left out, because they are expensive.
research/organic/data/README.md has all calls.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import iread, write
from tqdm import tqdm

from se3set_ase.io.extended_xyz import frames_of_file
from se3set_ase.potential import Potential

#: Basis functions of 6-31G(d), spherical, by period.
HYDROGEN, SECOND_PERIOD, THIRD_PERIOD = 2, 14, 18
#: The cost of a label grows with the number of basis functions to about this power.
COST_EXPONENT = 2.5
#: Largest number of geometries of one molecule chosen with a committee.
SHARE = 8
#: eV/Angstrom. A geometry with a larger force uncertainty is unphysical and left out.
ABSURD = 20.0
BATCH = 64


def main() -> None:
    """Read the candidates, choose, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("frames", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--number", type=int, required=True)
    parser.add_argument("--largest", type=int, default=200, help="number of basis functions")
    parser.add_argument("--longest-force", type=float, default=15.0, help="by GFN2-xTB, eV/A")
    parser.add_argument("--kind", help="kind of geometries, e.g. pair; default: all")
    parser.add_argument("--committee", nargs="+", default=[], help="models")
    parser.add_argument("--without", nargs="*", type=Path, default=[], help="earlier choices")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chosen_before = [atoms for path in arguments.without for atoms in frames_of_file(path)]
    before = set(map(fingerprint, chosen_before))
    frames = [
        atoms
        for atoms in iread(arguments.frames, ":")
        if functions(atoms) <= arguments.largest
        and np.linalg.norm(atoms.get_forces(), axis=1).max() < arguments.longest_force
        and arguments.kind in (None, atoms.info["kind"])
        and fingerprint(atoms) not in before
    ]
    if len(arguments.committee) == 1:
        parser.error("expected at least two models for a committee, got one")
    rng = np.random.default_rng(arguments.seed)
    if arguments.committee:
        chosen = by_doubt(frames, arguments.committee, arguments.number)
    else:
        chosen = in_turn(frames, chosen_before, arguments.number, rng)
    for atoms in chosen:
        atoms.calc = None  # these labels are by another method
    write(arguments.output, chosen, format="extxyz")
    kinds = Counter(atoms.info["kind"] for atoms in chosen)
    molecules = len({atoms.info["smiles"] for atoms in chosen})
    print(f"{len(chosen)} of {len(frames)}, of {molecules} molecules: {dict(kinds)}")


def in_turn(
    frames: Sequence[Atoms], before: Sequence[Atoms], number: int, rng: np.random.Generator
) -> list[Atoms]:
    """Choose one geometry of each molecule, then a second one, and so on."""
    turns = Counter(atoms.info["smiles"] for atoms in before)
    ranked: list[tuple[int, int, int]] = []
    for index in rng.permutation(len(frames)):
        smiles = frames[index].info["smiles"]
        turns[smiles] += 1
        ranked.append((turns[smiles], len(ranked), int(index)))
    return [frames[index] for *_, index in sorted(ranked)[:number]]


def functions(atoms: Atoms) -> int:
    """Number of basis functions."""
    z = atoms.numbers
    return int(np.where(z > 10, THIRD_PERIOD, np.where(z > 2, SECOND_PERIOD, HYDROGEN)).sum())


def by_doubt(frames: Sequence[Atoms], models: Sequence[str], number: int) -> list[Atoms]:
    """Rank by uncertainty divided by cost."""
    members = [Potential(model, dtype="float32") for model in models]
    worth = []
    for start in tqdm(range(0, len(frames), BATCH), "committee", disable=None):
        batch = frames[start : start + BATCH]
        forces = [[p.forces for p in member.predict(batch)] for member in members]
        for atoms, *found in zip(batch, *forces, strict=True):
            spread = np.sqrt(np.var(found, axis=0, ddof=1).sum(axis=-1)).max()
            worth.append(spread / functions(atoms) ** COST_EXPONENT if spread < ABSURD else 0.0)
    doubtful = [frames[i] for i in np.argsort(worth)[::-1] if worth[i] > 0.0]
    return list(with_shares(doubtful, number))


def with_shares(ordered: Sequence[Atoms], number: int) -> Iterator[Atoms]:
    """Take the first geometries, with a limit for each molecule."""
    had: Counter[str] = Counter()
    for atoms in ordered:
        if had.total() == number:
            return
        if had[atoms.info["smiles"]] < SHARE:
            had[atoms.info["smiles"]] += 1
            yield atoms


def fingerprint(atoms: Atoms) -> tuple[str, bytes]:
    """Key that is equal for equal geometries only."""
    return atoms.info["smiles"], np.round(atoms.positions, 5).tobytes()


if __name__ == "__main__":
    main()
