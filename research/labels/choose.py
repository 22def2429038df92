"""Adds geometries to the queue, spread evenly over families, kinds and molecules.

    python -m research.labels.choose runs/geometries/*.xyz --number 1500 --seed 1

Families take turns; within a family its kinds do, then its molecules or reactions (saddles first).
Whatever is near a benchmark geometry, in the queue already, or too expensive is left out.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from research.labels.leaks import Leaks, truth_geometries
from research.labels.shards import SHARDS, read_all, rounded, shard_files, write_shard
from research.truth.reactions import TRUTH
from se3set_ase.io.extended_xyz import frames_of_file

#: Functions of vDZP: of hydrogen, of anything else up to krypton and of heavier elements.
HYDROGEN, OTHERS = 5, 15
FRAMES_PER_SHARD = 250
KEPT = (
    "family", "kind", "sampling", "smiles", "charge", "part", "reaction", "path", "saddle",
    "gfn2_barrier", "end",
)  # fmt: skip


def main() -> None:
    """Read, choose, write new shards."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--number", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--largest", type=int, default=150, help="functions of the basis")
    parser.add_argument("--family", action="append", help="only these; all by default")
    parser.add_argument("--part", help="only this one; all by default")
    parser.add_argument("--weight", action="append", default=[], help="FAMILY=TIMES as many")
    parser.add_argument("--truth", type=Path, default=TRUTH)
    arguments = parser.parse_args()
    leaks = Leaks(truth_geometries(arguments.truth))
    queue = list(read_all())
    had = {identity(atoms) for atoms in queue}
    candidates = []
    refused: Counter[str] = Counter()
    for path in arguments.files:
        for atoms in map(rounded, frames_of_file(path)):
            if arguments.family and atoms.info["family"] not in arguments.family:
                continue
            if arguments.part not in (None, atoms.info["part"]):
                continue
            if functions(atoms) > arguments.largest:
                refused["too large"] += 1
            elif identity(atoms) in had:
                refused["already there"] += 1
            elif name := leaks.copied(atoms):
                refused[f"near copy in {name.split('/')[0]}"] += 1
            else:
                had.add(identity(atoms))
                candidates.append(atoms)
    rng = np.random.default_rng(arguments.seed)
    weights = {f: float(w) for f, w in (pair.split("=") for pair in arguments.weight)}
    chosen = spread(candidates, queue, arguments.number, rng, weights)
    rng.shuffle(chosen)  # type: ignore[arg-type]
    for atoms in chosen:
        atoms.info = {key: atoms.info[key] for key in KEPT if key in atoms.info}
    first = 1 + max((int(path.name.split(".")[0]) for path in shard_files()), default=0)
    SHARDS.mkdir(parents=True, exist_ok=True)
    for index, start in enumerate(range(0, len(chosen), FRAMES_PER_SHARD), start=first):
        write_shard(SHARDS / f"{index:04d}.xyz.gz", chosen[start : start + FRAMES_PER_SHARD])
    print(f"{len(chosen)} of {len(candidates)} chosen; left out: {dict(refused)}")
    print(dict(Counter(atoms.info["family"] for atoms in chosen)))


def spread(
    candidates: Sequence[Atoms],
    before: Iterable[Atoms],
    number: int,
    rng: np.random.Generator,
    weights: Mapping[str, float] | None = None,
) -> list[Atoms]:
    """Fewest so far first: by family, then by kind, then by molecule or reaction.

    Parameters
    ----------
    candidates, before : frames to choose from, and those that were chosen earlier.
    weights : families that get a multiple of the others' share.
    """
    weights = weights or {}
    turns: Counter[tuple[str, ...]] = Counter()
    for atoms in before:
        turns.update(_levels(atoms))
    waiting: dict[str, dict[str, dict[str, list[Atoms]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for index in rng.permutation(len(candidates)):
        family, kind, system = _levels(candidates[index])[-1]
        waiting[family][kind][system].append(candidates[index])
    for kinds in waiting.values():
        for systems in kinds.values():
            for frames in systems.values():
                frames.sort(key=lambda atoms: bool(atoms.info.get("saddle")))  # taken from the end
    chosen: list[Atoms] = []
    while waiting and len(chosen) < number:
        family = min(waiting, key=lambda f: turns[(f,)] / weights.get(f, 1.0))
        kinds = waiting[family]
        kind = min(kinds, key=lambda k: turns[(family, k)])
        systems = kinds[kind]
        system = min(systems, key=lambda s: turns[(family, kind, s)])
        chosen.append(atoms := systems[system].pop())
        turns.update(_levels(atoms))
        if not systems[system]:
            del systems[system]
        if not systems:
            del kinds[kind]
        if not kinds:
            del waiting[family]
    return chosen


def _levels(atoms: Atoms) -> list[tuple[str, ...]]:
    family, kind = str(atoms.info["family"]), str(atoms.info["kind"])
    system = str(atoms.info.get("reaction", atoms.info["smiles"]))
    return [(family,), (family, kind), (family, kind, system)]


def functions(atoms: Atoms) -> int:
    """Size of the basis, roughly; a label costs it to the power of two to three."""
    return int(np.where(atoms.numbers == atomic_numbers["H"], HYDROGEN, OTHERS).sum())


def identity(atoms: Atoms) -> tuple[str, bytes]:
    """The same only for the same geometry."""
    return atoms.get_chemical_formula(mode="reduce"), atoms.positions.tobytes()


if __name__ == "__main__":
    main()
