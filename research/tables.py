"""Tables as CSV files."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path

from se3set_ase.io.files import write_atomically


def write_rows(path: Path, rows: Sequence[Mapping[str, object]], *, line_end: str = "\r\n") -> None:
    """Write rows atomically; a column that a row lacks stays empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=columns, restval="", lineterminator=line_end)
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a file, or none if there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
