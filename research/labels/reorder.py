"""Puts what a committee of corrections disagrees about first in the queue, family by family.

    python -m research.labels.reorder runs/organic-xtb/model runs/organic-xtb-first/model

Only shards without any label are rewritten; nothing is added or lost. Run it while no labelling run
works on one of them.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from ase import Atoms

from research.labels.choose import FRAMES_PER_SHARD
from research.labels.shards import is_waiting, shard_files, write_shard
from se3set_ase import Potential
from se3set_ase.hypergraph.build import build_hypergraph
from se3set_ase.hypergraph.mixing import FragmentMixer
from se3set_ase.io.extended_xyz import frames_of_file
from se3set_ase.uncertainty.committee import disagreement

#: Factor of the disagreement for each frame of the same molecule or reaction that is ahead.
AGAIN = 0.6
#: Geometries that are evaluated together.
BATCH = 20


def main() -> None:
    """Evaluate, sort, rewrite."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", help="two models or more")
    parser.add_argument("--weight", action="append", default=[], help="FAMILY=TIMES as many")
    arguments = parser.parse_args()
    shards = {path: list(frames_of_file(path)) for path in shard_files()}
    untouched = [path for path, frames in shards.items() if all(map(is_waiting, frames))]
    frames = [atoms for path in untouched for atoms in shards[path]]
    scores = disagreements([Potential(model) for model in arguments.models], frames)
    weights = {f: float(w) for f, w in (pair.split("=") for pair in arguments.weight)}
    order = interleaved(frames, scores, weights)
    sizes = [len(shards[path]) for path in untouched]
    for path, part in zip(untouched, np.split(order, np.cumsum(sizes)[:-1]), strict=True):
        write_shard(path, [frames[k] for k in part])
    first = order[:FRAMES_PER_SHARD]
    print(f"{len(frames)} frames in {len(untouched)} shards, eV/A: mean {scores.mean():.3f}, ")
    print(f"first {len(first)}: mean {scores[first].mean():.3f}")
    print(dict(Counter(str(frames[k].info["family"]) for k in first)))


def disagreements(potentials: Sequence[Potential], frames: Sequence[Atoms]) -> np.ndarray:
    """(M,) standard deviation of the members' forces, root mean square over atoms, eV/Angstrom.

    Only networks are evaluated, because a baseline is the same for all.
    """
    mixer = FragmentMixer()
    found = []
    for start in range(0, len(frames), BATCH):
        batch = frames[start : start + BATCH]
        config = potentials[0].model.hypergraph
        graphs = [build_hypergraph(a.numbers, a.positions, config, mixer=mixer) for a in batch]
        positions = [atoms.positions for atoms in batch]
        charges = [int(atoms.info.get("charge", 0)) for atoms in batch]
        members = [potential.evaluate(graphs, positions, charges) for potential in potentials]
        for predictions in zip(*members, strict=True):
            _, forces = disagreement(predictions)
            found.append(float(np.sqrt((forces**2).mean())))
    return np.array(found)


def interleaved(
    frames: Sequence[Atoms], scores: np.ndarray, weights: dict[str, float]
) -> np.ndarray:
    """(M,) order in which families take turns, each with its largest disagreement first."""
    of_family: dict[str, list[tuple[float, int]]] = defaultdict(list)
    seen: Counter[str] = Counter()
    for k in np.argsort(-scores):
        atoms = frames[k]
        system = str(atoms.info.get("reaction", atoms.info["smiles"]))
        of_family[str(atoms.info["family"])].append((-scores[k] * AGAIN ** seen[system], int(k)))
        seen[system] += 1
    turns = []
    for family, ranked in of_family.items():
        for place, (_, k) in enumerate(sorted(ranked)):
            turns.append(((place + 0.5) / weights.get(family, 1.0), k))
    return np.array([k for _, k in sorted(turns)], dtype=int)


if __name__ == "__main__":
    main()
