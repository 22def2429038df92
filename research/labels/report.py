"""Writes the card of the labelled data set, and a picture of how the labels were spent.

python -m research.labels.report
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from string import Template

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tabulate import tabulate

from research.labels.shards import SHARDS, is_labelled, is_waiting, read_all
from research.labels.work import LABELLER
from research.paths import DOCS
from research.splits import PARTS
from research.tables import read_rows

TEMPLATE = Path(__file__).with_name("card.md")
COST = DOCS / "label_cost.csv"
#: Kinds of a family that the card lists; the others are summed up.
KINDS = 12


def main() -> None:
    """Read all shards, write README.md and labels.png next to them."""
    frames = list(read_all())
    labelled = [atoms for atoms in frames if is_labelled(atoms)]
    elements = sorted({int(z) for atoms in labelled for z in atoms.numbers})
    tables = [
        by_part("family", labelled, lambda atoms: [str(atoms.info["family"])]),
        by_part("charge", labelled, lambda atoms: [f"{atoms.info['charge']:+d}"]),
        by_part("element", labelled, lambda atoms: sorted(set(atoms.get_chemical_symbols()))),
        kinds(labelled),
    ]
    text = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        total=len(labelled),
        elements=", ".join(chemical_symbols[z] for z in elements),
        waiting=sum(map(is_waiting, frames)),
        failed=sum("failure" in atoms.info for atoms in frames),
        unrestricted=sum(bool(atoms.info.get("unrestricted")) for atoms in labelled),
        settings=json.dumps(LABELLER.settings(), indent=1),
        cost=tabulate(read_rows(COST), headers="keys", tablefmt="github"),
        tables="\n\n".join(tables),
    )
    (SHARDS / "README.md").write_text(text, encoding="utf-8")
    draw(labelled, SHARDS / "labels.png")


def by_part(name: str, frames: Sequence[Atoms], values: Callable[[Atoms], Sequence[str]]) -> str:
    """Table of counts: a row for each value, a column for each part."""
    counts = Counter(
        (value, str(atoms.info["part"])) for atoms in frames for value in values(atoms)
    )
    rows = []
    for value in sorted({value for value, _ in counts}):
        row = [counts[value, part] for part in reversed(PARTS)]
        rows.append([value, *row, sum(row)])
    return tabulate(rows, [name, *reversed(PARTS), "all"], tablefmt="github")


def kinds(frames: Sequence[Atoms]) -> str:
    """Table of the most frequent kinds of each family."""
    rows = []
    for family in sorted({str(atoms.info["family"]) for atoms in frames}):
        of_family = [atoms for atoms in frames if atoms.info["family"] == family]
        counts = Counter(str(atoms.info["kind"]) for atoms in of_family)
        systems = len({atoms.info.get("reaction", atoms.info["smiles"]) for atoms in of_family})
        listed = [f"{kind} {n}" for kind, n in counts.most_common(KINDS)]
        if (others := len(counts) - len(listed)) > 0:
            listed.append(f"{others} other kinds")
        rows.append([family, systems, ", ".join(listed)])
    return tabulate(rows, ["family", "molecules or reactions", "kinds"], tablefmt="github")


def draw(frames: Sequence[Atoms], path: Path) -> None:
    """Stacked histogram of the number of atoms, by family."""
    families = sorted({str(atoms.info["family"]) for atoms in frames})
    sizes = [[len(a) for a in frames if a.info["family"] == family] for family in families]
    figure = Figure(figsize=(6.0, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    bins = np.arange(0.5, max(map(max, sizes)) + 1.0)
    axes.hist(sizes, bins=list(bins), stacked=True, label=families)
    axes.set_xlabel("atoms")
    axes.set_ylabel("labels")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
