"""Error of `organic` against the number of labels by density functional theory.

    pip install '.[label,train]'
    python -m research.organic.atoms                # isolated atoms
    python -m research.benchmarks.learning_curve    # two hours on one core
    python -m research.benchmarks.learning_curve --labels 500 1500

Each point is a training by research/configs/organic.yaml with this number of labels, chosen at
random, and always the same number of steps. Errors are those of research.benchmarks.organic on test
molecules. Without labels the model is `organic-gfn2`, with all labels `organic`. Labels include
those too large for training (about 1 %), but not those of the validation part, which select the
best weights. Writes learning_curve.csv and .png; an interrupted run resumes, unless the labels or
the configuration have changed.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from matplotlib.figure import Figure

from research.benchmarks.machine import about, weights_of
from research.benchmarks.organic_errors import DATA, column, frames_of
from research.paths import CONFIGS, DOCS
from research.tables import read_rows, write_rows
from se3set_ase import SE3SetCalculator
from se3set_ase.io.files import sha256_of
from se3set_ase.train.config import RunConfig, load_config
from se3set_ase.train.run import train

CONFIG = CONFIGS / "organic.yaml"
#: Files of labels for training and for measurements.
FILES = ("train", "validation", "test", "conformers", "torsions", "dimers")
SHOWN = {
    "forces, MAE, meV/A: all": "forces, meV/Å",
    "conformers, MAE, kcal/mol": "conformers, kcal/mol",
    "torsional barriers, MAE, kcal/mol": "torsional barriers, kcal/mol",
}


def main() -> None:
    """Train, measure and draw each point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=int, nargs="+", default=[0, 300, 1000])
    parser.add_argument("--output", type=Path, default=DOCS)
    arguments = parser.parse_args()
    path = arguments.output / "learning_curve.csv"
    rows: dict[int, dict[str, object]] = {int(r["labels"]): dict(r) for r in read_rows(path)}
    data = {file: sha256_of(DATA / f"{file}.xyz.gz")[:12] for file in FILES}
    config = load_config(CONFIG)
    own = config.training.model_dump_json(exclude={"threads", "device", "devices"})
    own += f" {config.seed} {weights_of('organic-gfn2')}"
    data["training"] = hashlib.sha256(own.encode()).hexdigest()[:12]
    if any(row[name] != data[name] for row in rows.values() for name in data):
        parser.error(f"{path} is from other labels or another configuration; move it away")
    every = len(frames_of(DATA, "train"))
    if too_many := [labels for labels in arguments.labels if labels > every]:
        parser.error(f"expected at most {every} labels, got {too_many}")
    for labels in (*arguments.labels, every):
        bundled = {0: "organic-gfn2", every: "organic"}
        old = rows.get(labels)
        if old and (labels not in bundled or old["weights"] == weights_of(bundled[labels])):
            continue
        model = bundled[labels] if labels in bundled else trained_on(labels, every)
        found = column(SE3SetCalculator(str(model), device="cpu"), DATA)
        facts = {**data, "weights": weights_of(str(model)), **about()}
        rows[labels] = {"labels": labels, **found, **facts}
        write_rows(path, [rows[n] for n in sorted(rows)])
    draw([rows[n] for n in sorted(rows)], path.with_suffix(".png"))


def trained_on(labels: int, every: int) -> Path:
    """Train on this number of labels; returns the folder of the model."""
    config = load_config(CONFIG)
    more = every / labels
    each = {
        "epochs": round(config.training.epochs * more),
        "validate_every": round(config.training.validate_every * more),
    }
    return train(
        RunConfig(
            **{
                **config.model_dump(),
                "name": f"organic-{labels}",
                "data": {**config.data.model_dump(), "n_train": labels, "tests": {}},
                "training": {**config.training.model_dump(), **each},
            }
        )
    )


def draw(rows: list[dict[str, object]], path: Path) -> None:
    """Draw errors over the number of labels; a line shows the error without labels."""
    figure = Figure(figsize=(10, 3), layout="constrained")
    some = [row for row in rows if int(str(row["labels"]))]
    for (key, title), axes in zip(SHOWN.items(), figure.subplots(1, len(SHOWN)), strict=True):
        labels = [int(str(row["labels"])) for row in some]
        axes.loglog(labels, [float(str(row[key])) for row in some], "o-")
        for row in rows:
            if row not in some:
                axes.axhline(float(str(row[key])), ls="--", color="gray", label="no labels")
        axes.set_xticks(labels, [str(n) for n in labels])
        axes.set_xticks([], minor=True)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("labels")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
