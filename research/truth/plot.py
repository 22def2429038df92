"""Bar chart of the scores of all methods of a CSV file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from research.truth.reactions import CATEGORIES, SetErrors, score


def draw(methods: Mapping[str, Sequence[SetErrors]], path: Path) -> None:
    """Draw the score of each category, kcal/mol, a bar for each method."""
    categories = [
        c for c in CATEGORIES if any(e.category == c for s in methods.values() for e in s)
    ]
    figure = Figure(figsize=(7.0, 3.2), layout="constrained")
    axes = figure.subplots()
    at, width = np.arange(len(categories)), 0.8 / len(methods)
    for k, (method, found) in enumerate(methods.items()):
        heights = [
            score(ours) if (ours := [e for e in found if e.category == category]) else np.nan
            for category in categories
        ]
        bars = axes.bar(at + (k + 0.5) * width - 0.4, heights, width, label=method)
        axes.bar_label(bars, fmt="%.1f", fontsize=7)
    axes.set_xticks(at, categories)
    axes.set_ylabel("score, kcal/mol (smaller is better)")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=150)
