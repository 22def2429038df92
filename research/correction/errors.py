"""Errors of a model against labels it was not trained on, by family and charge; barriers.

python -m research.correction.errors organic-xtb --output docs/organic_xtb_errors.csv
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from tabulate import tabulate

from research.benchmarks.machine import about
from research.labels.barriers import complete_reactions
from research.paths import RUNS
from research.tables import write_rows
from research.truth.reactions import KCAL
from se3set_ase import Potential
from se3set_ase.io.extended_xyz import frames_of_file

#: Geometries near a minimum, by how they were sampled: minima and thermal displacements.
NEAR_MINIMA = ("relaxed", "modes")
FAMILIES = (
    "molecules", "conformers", "ions", "elements", "limits", "contacts", "reactions",
)  # fmt: skip
#: Names of groups of frames, and what belongs to them.
GROUPS: Mapping[str, Callable[[Atoms], bool]] = {
    "all": lambda _: True,
    "near minima": lambda atoms: atoms.info.get("sampling") in NEAR_MINIMA,
    **{
        family: (lambda atoms, family=family: atoms.info["family"] == family)  # type: ignore[misc]
        for family in FAMILIES
    },
    "charge -1": lambda atoms: atoms.info["charge"] == -1,
    "charge +1": lambda atoms: atoms.info["charge"] == 1,
}


def main() -> None:
    """Print and write the errors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, default=RUNS / "labels" / "test.xyz")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    frames = list(frames_of_file(arguments.data))
    rows, barriers = measured(Potential(arguments.model), frames)
    print(tabulate(rows, headers="keys"))
    if len(barriers):
        mad, bias = np.abs(barriers).mean(), barriers.mean()
        print(f"{len(barriers)} barriers: mean absolute error {mad:.2f}, mean {bias:+.2f} kcal/mol")
    if arguments.output:
        write_rows(arguments.output, [{**row, **about()} for row in rows], line_end="\n")


def measured(
    potential: Potential, frames: Sequence[Atoms]
) -> tuple[list[dict[str, object]], np.ndarray]:
    """Errors of each group of labelled frames, and of the barriers between them, kcal/mol."""
    predictions = potential.predict(frames, warn=False)
    energies = np.array(
        [p.energy - a.get_potential_energy() for p, a in zip(predictions, frames, strict=True)]
    )
    forces = [np.abs(p.forces - a.get_forces()) for p, a in zip(predictions, frames, strict=True)]
    base = [
        np.abs(p.baseline.forces - a.get_forces()) if p.baseline else None
        for p, a in zip(predictions, frames, strict=True)
    ]
    rows: list[dict[str, object]] = []
    for name, belongs in GROUPS.items():
        which = [k for k, atoms in enumerate(frames) if belongs(atoms)]
        if not which:
            continue
        errors = np.abs(energies[which]) / KCAL
        rows.append(
            {
                "group": name,
                "frames": len(which),
                "energy_mae_kcal_mol": round(float(errors.mean()), 2),
                "energy_median_kcal_mol": round(float(np.median(errors)), 2),
                "forces_mae_meV_A": mean(forces, which),
                "baseline_forces_mae_meV_A": mean(base, which) if base[0] is not None else "",
            }
        )
    of_frame = {id(atoms): energy for atoms, energy in zip(frames, energies, strict=True)}
    barriers = [
        (of_frame[id(saddle)] - of_frame[id(minimum)]) / KCAL
        for saddle, minima in complete_reactions(frames).values()
        for minimum in minima.values()
    ]
    return rows, np.array(barriers)


def mean(errors: Sequence[np.ndarray | None], which: Sequence[int]) -> float:
    """Mean absolute error of the force components of some frames, meV/Angstrom."""
    values = [found.ravel() for k in which if (found := errors[k]) is not None]
    return round(1e3 * float(np.concatenate(values).mean()), 1)


if __name__ == "__main__":
    main()
