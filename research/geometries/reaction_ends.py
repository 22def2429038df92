"""Minima on both sides of saddle points, for barriers.

    python -m research.geometries.reaction_ends runs/geometries/reactions*.xyz --part test \\
        --output runs/geometries/ends.xyz

The frames nearest to both ends of a path are relaxed by GFN2-xTB to the minima of the reactants and
the products, which are complexes if there are several molecules. ``info["end"]`` of the frames is
``reactants`` or ``products``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from tqdm import tqdm

from research.geometries.reaction_surface import Surface, descend
from research.geometries.reactions import append
from se3set_ase.io.extended_xyz import frames_of_file

ENDS = ("reactants", "products")


def main() -> None:
    """Relax the ends of all reactions of a part that are not in the output yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--part", default="test")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    done = {str(a.info["smiles"]) for a in _frames(filter(Path.exists, [arguments.output]))}
    frames = [a for a in _frames(arguments.files) if a.info["part"] == arguments.part]
    for smiles, path in tqdm(groupby(frames, key=lambda a: str(a.info["smiles"])), disable=None):
        if smiles not in done and (found := ends(list(path))):
            append(arguments.output, found)


def ends(path: list[Atoms]) -> list[Atoms]:
    """Relax the first and the last frame of a path to minima; an empty list if that fails."""
    path = sorted(path, key=lambda atoms: atoms.info["path"])
    found = []
    for atoms, end in zip((path[0], path[-1]), ENDS, strict=True):
        surface = Surface(atoms.numbers, int(atoms.info["charge"]))
        try:
            images, _ = descend(surface, atoms.positions)
        except CalculationFailed:
            return []
        minimum = Atoms(atoms.numbers, images[-1] - images[-1].mean(axis=0), info=dict(atoms.info))
        minimum.info |= {"path": float(ENDS.index(end)), "end": end}
        found.append(minimum)
    return found


def _frames(files: Iterable[Path]) -> Iterator[Atoms]:
    for path in files:
        yield from frames_of_file(path)


if __name__ == "__main__":
    main()
