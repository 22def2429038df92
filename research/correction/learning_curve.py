"""Errors of the correction and of a direct network against the number of labels.

    python -m research.correction.learning_curve    # after research.correction.dataset; hours

Each point is a training by research/configs/organic-xtb.yaml or organic-direct.yaml with this
number of labels, chosen at random, from the weights of gfn2-large.yaml, and with the same number of
steps. Errors are those of held-out molecules and reactions (research.correction.errors), and the
scores of the benchmark reactions up to 40 atoms (research.truth). Writes correction_curve.csv and
.png; an interrupted run resumes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from research.benchmarks.machine import about
from research.correction.errors import measured
from research.paths import CONFIGS, DOCS, RUNS
from research.tables import read_rows, write_rows
from research.truth.__main__ import Method, errors_of
from research.truth.reactions import CATEGORIES, score
from se3set_ase import Potential
from se3set_ase.io.extended_xyz import frames_of_file
from se3set_ase.train.config import RunConfig, load_config
from se3set_ase.train.run import train

KINDS = {"organic-xtb": "correction", "organic-direct": "direct network"}
#: Frames that each training sees, repeated or not.
VISITS = 80_000
LARGEST = 40
#: Columns that are drawn, with titles.
SHOWN = {
    "forces_mae_meV_A": "forces, meV/Å",
    "barriers_mae_kcal_mol": "barriers, kcal/mol",
    "noncovalent": "contacts, score",
    "barriers": "benchmark barriers, score",
}


def main() -> None:
    """Train, measure and draw each point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=int, nargs="+", default=[500, 1000, 2000])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--output", type=Path, default=DOCS)
    arguments = parser.parse_args()
    path = arguments.output / "correction_curve.csv"
    every = sum(1 for _ in frames_of_file(RUNS / "labels" / "train.xyz"))
    rows: dict[tuple[str, int], dict[str, object]] = {
        (r["kind"], int(r["labels"])): dict(r) for r in read_rows(path)
    }
    for kind in arguments.kinds:
        for labels in (*arguments.labels, every):
            if (kind, labels) not in rows:
                model = trained_on(kind, labels)
                rows[kind, labels] = {"kind": kind, "labels": labels, **row_of(model)}
                write_rows(path, [rows[key] for key in sorted(rows)], line_end="\n")
    draw([rows[key] for key in sorted(rows)], path.with_suffix(".png"))


def trained_on(kind: str, labels: int) -> Path:
    """Train on this number of labels; returns the folder of the model."""
    config = load_config(CONFIGS / f"{kind}.yaml")
    epochs = max(1, round(VISITS / labels))
    training = config.training.model_dump()
    training |= {"epochs": epochs, "validate_every": max(1, round(epochs / 8))}
    values = config.model_dump()
    values |= {"name": f"{kind}-{labels}", "initial": RUNS / "gfn2-large" / "model"}
    values["data"] |= {"n_train": labels, "tests": {}}
    return train(RunConfig(**{**values, "training": training}))


def row_of(model: Path) -> dict[str, object]:
    """Errors of a model on held-out labels and on the benchmark."""
    groups, barriers = measured(
        Potential(model, device="cpu"), list(frames_of_file(RUNS / "labels" / "test.xyz"))
    )
    sets = errors_of(Method(str(model), {}), largest=LARGEST)
    scores = {
        category: round(score([one for one in sets if one.category == category]), 2)
        for category in CATEGORIES
    }
    return {
        "forces_mae_meV_A": groups[0]["forces_mae_meV_A"],
        "barriers_mae_kcal_mol": round(float(np.abs(barriers).mean()), 2),
        **scores,
        **about(),
    }


def draw(rows: Sequence[dict[str, object]], path: Path) -> None:
    """Draw errors over the number of labels."""
    figure = Figure(figsize=(12, 3), layout="constrained")
    for (key, title), axes in zip(SHOWN.items(), figure.subplots(1, len(SHOWN)), strict=True):
        for kind, label in KINDS.items():
            own = [row for row in rows if row["kind"] == kind]
            labels = [int(str(row["labels"])) for row in own]
            axes.loglog(labels, [float(str(r[key])) for r in own], "o-", label=label)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("labels")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
