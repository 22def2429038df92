"""Rows of CSV files, and how numbers are written in tables."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

Row = Mapping[str, str]
Content = tuple[Sequence[str], Iterable[Sequence[str]]]
"""Headings, and the cells of each row."""


def read(path: Path) -> list[Row]:
    """The rows of a CSV file, by column name."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def number(text: str, digits: int = 3) -> str:
    """A number with significant digits, or an empty cell for an empty one."""
    if not text:
        return ""
    value = float(text)
    if value and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.{digits - 1}e}"
    shown = f"{value:.{digits}g}"
    return f"{value:.0f}" if "e" in shown else shown


def median(rows: Iterable[Row], column: str) -> str:
    """The median of a column, over the rows that have a value."""
    values = [float(row[column]) for row in rows if row[column]]
    return f"{statistics.median(values):.0f}" if values else ""
