"""Errors of `organic` against density functional theory, compared with GFN2-xTB.

    pip install '.[label]'
    python -m research.benchmarks.organic                       # minutes on one core
    python -m research.benchmarks.organic runs/organic/model    # another model

The labels (research/organic/data) are of molecules outside the training data: geometries of all
kinds, conformers, torsions, and dimers. (The monomers of the dimers, such as water, methane and
benzene, and other pairs of them may be in the training data.) research.organic.references makes the
geometries. Molecules of the kind ``assembled`` consist of fragments that are in training molecules
too; drugs are counted separately and have no labels yet. Writes organic.csv to docs/, or next to
the card of another model; next to the card also errors.md with the same table, and torsions.png and
dimers.png with all curves.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from tblite.ase import TBLite

from research.benchmarks.machine import about
from research.benchmarks.organic_errors import (
    DATA,
    KCAL,
    Family,
    beyond,
    column,
    counts,
    families,
)
from research.paths import DOCS
from research.tables import write_rows
from se3set_ase import SE3SetCalculator
from se3set_ase.checkpoint import resolve_model
from se3set_ase.io.files import write_atomically

#: Text around the plot of research/organic/calibrate.py.
DOUBTS = """## Uncertainty

`forces_uncertainty` against the errors of forces on test molecules, which are neither in the
training nor in the calibration data. Each point is a twentieth of all atoms, sorted by uncertainty.

![errors of forces against their uncertainty](calibration.png)

Of the errors of forces on these atoms, {} (39, 0.7 and 0 % for a Gaussian). `energy_uncertainty` is
rough: of the errors of energies, {} (32, 5 and 0.3 % for a Gaussian). Neither includes errors that
all members have in common from GFN2-xTB."""


def main() -> None:
    """Measure the model and GFN2-xTB, write table, page and figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="organic")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--output", type=Path, help="folder of the table")
    arguments = parser.parse_args()
    folder = resolve_model(arguments.model)
    output = arguments.output or (DOCS if arguments.model == "organic" else folder)
    calculators = {
        arguments.model: SE3SetCalculator(arguments.model, device="cpu"),
        "GFN2-xTB": TBLite(method="GFN2-xTB", verbosity=0),
    }
    columns = {name: column(calc, arguments.data) for name, calc in calculators.items()}
    quantities = dict.fromkeys(key for values in columns.values() for key in values)
    of = counts(arguments.data)
    rows = [
        {
            "quantity": q,
            **{name: values.get(q) for name, values in columns.items()},
            "of": of.get(q) or of[q.split()[0].strip(",")],
            **about(),
        }
        for q in quantities
    ]
    write_rows(output / "organic.csv", rows)
    for row in rows:
        print(row["quantity"], *(f"{name} {row[name]:.4g}" for name in columns))
    pictures = {}
    for kind, along in (("torsions", "angle"), ("dimers", "shift")):
        found = {name: families(calc, arguments.data, kind) for name, calc in calculators.items()}
        if any(found.values()):
            pictures[kind] = f"{kind}.png"
            draw(found, along, folder / pictures[kind])
    doubts = ""
    if (folder / "calibration.png").exists():
        calc = SE3SetCalculator(arguments.model, device="cpu")
        doubts = DOUBTS.format(*beyond(calc, arguments.data))
    write_atomically(folder / "errors.md", page(rows, list(columns), pictures, doubts).encode())


def page(
    rows: Sequence[dict[str, object]],
    methods: Sequence[str],
    pictures: dict[str, str],
    doubts: str,
) -> str:
    """Page of errors, which the site adds to the card of the model."""
    made = "{date}, {machine}, torch {torch}".format(**rows[0])
    table = [f"| | {' | '.join(methods)} | of |", "|---|" + "---|" * (len(methods) + 1)]
    for row in rows:
        values = (f"{row[name]:.3g}" for name in methods)
        table.append(f"| {row['quantity']} | {' | '.join(values)} | {row['of']} |")
    return "\n\n".join(
        [
            "## Errors against wB97X/6-31G(d)",
            "These molecules are not in the training data, except perhaps for the monomers of "
            "dimers. Agreement with this level is not agreement with experiment: its basis set is "
            "small, so it binds pairs of molecules too strongly, while GFN2-xTB is fitted to "
            "accurate references. Errors of conformers, torsions and dimers influenced which data "
            "were added. Molecules are known (common ones, seeds.smi), monomers (of the SPICE "
            "dataset), or assembled (from fragments that are also in training molecules). "
            "Geometries are modes (minima displaced along normal modes), hot (frames of hot "
            "runs), turned (torsions), stretched (bonds), monomer (as published), or pairs of "
            "molecules. The environment of an atom, everything within two bonds, is seen if a "
            "training molecule has the same. The last column has the numbers of geometries and "
            "molecules.",
            "\n".join(table),
            *(f"![{kind}: each curve by these methods]({name})" for kind, name in pictures.items()),
            *([doubts] if doubts else []),
            f"*Written by `python -m research.benchmarks.organic`, {made}.*",
            "",
        ]
    )


def draw(found: dict[str, list[Family]], along: str, path: Path) -> None:
    """Draw each curve with its reference."""
    first, apart = next(iter(found.values())), along == "shift"

    def relative(energies: np.ndarray) -> np.ndarray:
        """Energies in kcal/mol relative to the minimum; of dimers to the last frame, not drawn."""
        zero = energies[-1] if apart else energies.min()
        return (energies - zero)[: -1 if apart else None] / KCAL

    figure = Figure(figsize=(15, 6), layout="constrained")
    for k, axes in enumerate(figure.subplots(2, 5).ravel()[: len(first)]):
        x = [atoms.info[along] for atoms in first[k].frames][: -1 if apart else None]
        axes.plot(x, relative(first[k].reference), "k-", label="wB97X/6-31G(d)")
        for name, style in zip(found, styles(), strict=False):
            axes.plot(x, relative(found[name][k].found), style, label=name)
        axes.set_title(first[k].smiles, fontsize=9)
        axes.set_xlabel("shift, Å" if apart else "angle, degrees")
        axes.spines[["top", "right"]].set_visible(False)
        if apart:
            deepest = relative(first[k].reference).min()
            axes.set_ylim(2 * deepest, -3 * deepest)
    figure.axes[0].legend(fontsize=7)
    figure.supylabel("kcal/mol")
    figure.savefig(path, dpi=120)


def styles() -> Iterator[str]:
    """Line styles of the methods."""
    yield from ("o-", "s--")


if __name__ == "__main__":
    main()
