"""Finds near copies of benchmark geometries, which must not be trained on.

    python -m research.labels.leaks runs/geometries/*.xyz --truth reactions.json.gz

Two geometries are near copies if they have the same atoms and charge, and their interatomic
distances, sorted for each pair of elements, differ by less than 0.05 Angstrom (root mean square).
That needs no alignment and no order of atoms; mirror images count as copies.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.geometry import get_distances

from research.truth.reactions import TRUTH, load
from se3set_ase.io.extended_xyz import frames_of_file

#: Root mean square difference of sorted distances, Angstrom.
NEAR = 0.05


class Leaks:
    """Geometries to keep away from, by their atoms and charge.

    Parameters
    ----------
    geometries : atoms with ``info["charge"]`` (0 where it is absent) and ``info["name"]``.
    """

    def __init__(self, geometries: Iterable[Atoms]) -> None:
        self._known: dict[tuple[str, int], list[tuple[str, np.ndarray]]] = {}
        for atoms in geometries:
            entry = (str(atoms.info.get("name", "")), sorted_distances(atoms))
            self._known.setdefault(_key(atoms), []).append(entry)

    def copied(self, atoms: Atoms) -> str | None:
        """Name of a geometry that this one is a near copy of, or None."""
        if not (known := self._known.get(_key(atoms))):
            return None
        distances = sorted_distances(atoms)
        for name, other in known:
            if len(atoms) == 1 or np.sqrt(np.mean((distances - other) ** 2)) < NEAR:
                return name
        return None


def truth_geometries(path: Path = TRUTH) -> list[Atoms]:
    """Every species of the benchmark reactions, with its name in ``info``."""
    _, species = load(path)
    for name, atoms in species.items():
        atoms.info["name"] = name
    return list(species.values())


def sorted_distances(atoms: Atoms) -> np.ndarray:
    """(N (N - 1) / 2,), Angstrom: sorted for each pair of elements, these in a fixed order."""
    i, j = np.triu_indices(len(atoms), 1)
    if len(i) == 0:
        return np.zeros(0)
    _, distances = get_distances(atoms.positions)
    pairs = np.sort(np.stack([atoms.numbers[i], atoms.numbers[j]]), axis=0)
    order = np.lexsort((distances[i, j], pairs[1], pairs[0]))
    return distances[i, j][order]


def _key(atoms: Atoms) -> tuple[str, int]:
    return atoms.get_chemical_formula(), int(atoms.info.get("charge", 0))


def main() -> None:
    """Report the near copies in files, by benchmark set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--truth", type=Path, default=TRUTH)
    arguments = parser.parse_args()
    leaks = Leaks(truth_geometries(arguments.truth))
    for path in arguments.files:
        names = [leaks.copied(atoms) for atoms in frames_of_file(path)]
        sets = Counter(name.split("/")[0] for name in names if name)
        print(f"{path}: {sets.total()} of {len(names)} are near copies: {dict(sets)}")


if __name__ == "__main__":
    main()
