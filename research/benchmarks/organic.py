"""Errors of `organic` against density functional theory, compared with GFN2-xTB.

    pip install '.[label]'
    python -m research.benchmarks.organic                       # minutes on one core
    python -m research.benchmarks.organic runs/organic/model    # another model

The labels (research/organic/data) are of molecules that no training used: geometries of all kinds,
conformers and torsions; and of dimers, whose halves (water, methane, benzene, ...) and other pairs
of which the training may have used. research.organic.references made them. Molecules that are
``assembled`` consist of fragments that training molecules have too; drugs are counted apart (their
labels are not made yet). Writes organic.csv to docs/, or next to the card of another model; and
next to the card errors.md with the same table, torsions.png and dimers.png with every curve.
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

#: What stands with the plot that research/organic/calibrate.py draws.
DOUBTS = """## How sure it is

`forces_uncertainty` beside the errors of forces on the same molecules, which no training saw, nor
the calibration: each point is a twentieth of all atoms, those of the smallest uncertainty first.

![errors of forces against what the committee says of them](calibration.png)

Of the forces on these atoms, {} (39, 0.7 and 0 % of a Gaussian's would). `energy_uncertainty` is
rough: of the energies of the geometries, {} (32, 5 and 0.3 %). Neither sees what all members learnt
from GFN2-xTB."""


def main() -> None:
    """Everything, by the model and by GFN2-xTB."""
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
    """What the site adds to the card of the model."""
    made = "{date}, {machine}, torch {torch}".format(**rows[0])
    table = [f"| | {' | '.join(methods)} | of |", "|---|" + "---|" * (len(methods) + 1)]
    for row in rows:
        values = (f"{row[name]:.3g}" for name in methods)
        table.append(f"| {row['quantity']} | {' | '.join(values)} | {row['of']} |")
    return "\n\n".join(
        [
            "## Errors against wB97X/6-31G(d)",
            "Of molecules that no training saw; of dimers the halves may have been seen. Near "
            "to this level is not near to the truth: it binds pairs of molecules too strongly "
            "(its basis set is small), and GFN2-xTB is made for experiments. Conformers, "
            "torsions and dimers were looked at while rounds of the training were planned. "
            "Known molecules are common ones (seeds.smi), monomers those of the SPICE dataset, "
            "assembled ones are made of fragments that others in the training have. "
            "Geometries are minima moved along their modes, of hot runs, with a bond turned or "
            "stretched, monomers as they came, and pairs of molecules. "
            "Surroundings of an atom, all within two bonds, were seen if a molecule of the "
            "training has the same. The last column has geometries and molecules.",
            "\n".join(table),
            *(f"![{kind}: each curve by these methods]({name})" for kind, name in pictures.items()),
            *([doubts] if doubts else []),
            f"*Written by `python -m research.benchmarks.organic`, {made}.*",
            "",
        ]
    )


def draw(found: dict[str, list[Family]], along: str, path: Path) -> None:
    """Each curve with its reference."""
    first, apart = next(iter(found.values())), along == "shift"

    def relative(energies: np.ndarray) -> np.ndarray:
        """kcal/mol, to the lowest or, of dimers, to the last frame, which is not drawn."""
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
    """Of the methods."""
    yield from ("o-", "s--")


if __name__ == "__main__":
    main()
