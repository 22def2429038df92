"""The log of a training run, as CSV and as a plot."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping
from pathlib import Path

LOG_FILE = "log.csv"
CURVE_FILE = "learning_curve.png"


def read_log(folder: Path) -> list[dict[str, str]]:
    """Rows of the log; empty without a log."""
    path = folder / LOG_FILE
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write_row(folder: Path, row: Mapping[str, object]) -> None:
    """Add a row, replacing rows of the same and later epochs; the file is always complete.

    Such rows remain if a run was killed between writing its log and its state.
    """
    rows = [r for r in read_log(folder) if int(r["epoch"]) < int(str(row["epoch"]))]
    temporary = folder / f".{LOG_FILE}.new"
    with temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(row))
        writer.writeheader()
        writer.writerows([*rows, row])
    os.replace(temporary, folder / LOG_FILE)


def draw_learning_curve(folder: Path) -> None:
    """Errors on training and validation data over the epochs."""
    from matplotlib.figure import Figure

    rows = read_log(folder)
    epochs = [int(r["epoch"]) for r in rows]
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    for axes, key, unit in zip(
        figure.subplots(1, 2),
        ("energy_rmse_meV", "forces_rmse_meV_A"),
        ("energy RMSE (meV)", "force RMSE (meV/Å)"),
        strict=True,
    ):
        for part, colour in (("train", "tab:gray"), ("validation", "tab:blue")):
            # Isolated atoms have zero forces, which have no logarithm.
            values = [float(r[f"{part}_{key}"]) or math.nan for r in rows]
            axes.plot(epochs, values, color=colour, label=part)
        drawn = any(math.isfinite(y) for line in axes.lines for y in line.get_ydata())
        axes.set(xlabel="epoch", ylabel=unit, yscale="log" if drawn else "linear")
        axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(folder / CURVE_FILE, dpi=150)
