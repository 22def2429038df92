"""Barriers of the test reactions by wB97X-3c and by GFN2-xTB, at the same geometries.

    python -m research.labels.barriers --output docs/barriers.csv

The difference between the methods is what a correction to GFN2-xTB has to learn; the error of
wB97X-3c itself is about 3 kcal/mol (BH28).
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from ase import Atoms

from research.geometries.reaction_ends import ENDS
from research.labels.shards import is_labelled, read_all
from research.truth.reactions import KCAL
from se3set_ase.label import make_labeller

TIGHT_BINDING = "GFN2-xTB"


def main() -> None:
    """Compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    rows = []
    labeller = make_labeller(TIGHT_BINDING)
    for smiles, (saddle, minima) in sorted(complete_reactions(read_all()).items()):
        row = {"reaction": smiles, "kind": saddle.info["kind"], "charge": saddle.info["charge"]}
        cheap = labeller(saddle).energy
        for end, minimum in minima.items():
            exact = saddle.get_potential_energy() - minimum.get_potential_energy()
            row[f"wb97x_3c_from_{end}"] = round(exact / KCAL, 2)
            row[f"gfn2_xtb_from_{end}"] = round((cheap - labeller(minimum).energy) / KCAL, 2)
        rows.append(row)
    if not rows:
        raise SystemExit("no test reaction has its saddle point and both minima labelled yet")
    errors = [row[f"gfn2_xtb_from_{e}"] - row[f"wb97x_3c_from_{e}"] for row in rows for e in ENDS]
    print(f"{len(rows)} reactions, {len(errors)} barriers, both directions, kcal/mol")
    mad, mean = np.abs(errors).mean(), np.mean(errors)
    print(f"GFN2-xTB: mean absolute deviation {mad:.2f}, mean deviation {mean:+.2f}")
    with arguments.output.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def complete_reactions(frames: Iterable[Atoms]) -> dict[str, tuple[Atoms, dict[str, Atoms]]]:
    """Labelled saddle point and minima of each test reaction that has all of them."""
    saddles: dict[str, Atoms] = {}
    minima: dict[str, dict[str, Atoms]] = {}
    for atoms in frames:
        if atoms.info["family"] != "reactions" or atoms.info["part"] != "test":
            continue
        if is_labelled(atoms) and atoms.info["saddle"]:
            saddles[str(atoms.info["smiles"])] = atoms
        elif is_labelled(atoms) and "end" in atoms.info:
            minima.setdefault(str(atoms.info["smiles"]), {})[str(atoms.info["end"])] = atoms
    return {
        smiles: (saddle, minima[smiles])
        for smiles, saddle in saddles.items()
        if len(minima.get(smiles, {})) == len(ENDS)
    }


if __name__ == "__main__":
    main()
