"""What a table of measurements has to say of where they were made."""

from __future__ import annotations

import csv
import datetime
import os
import platform
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import ase
import torch

import se3set_ase
from se3set_ase.checkpoint import load_metadata, resolve_model
from se3set_ase.io.files import write_atomically


def about() -> dict[str, object]:
    """Date, machine, versions: the last columns of every table."""
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "ase": ase.__version__,
        "se3set_ase": se3set_ase.__version__,
    }


def write_rows(path: Path, rows: Sequence[dict[str, object]]) -> None:
    """As CSV; a column that a row lacks stays empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=columns, restval="")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())


def read_rows(path: Path) -> list[dict[str, str]]:
    """Back from :func:`write_rows`; none if there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def weights_of(model: str) -> str:
    """The beginning of the hash of a model's weights."""
    weights = load_metadata(resolve_model(model)).weights
    assert weights is not None
    return weights.sha256[:12]


def resident_kB(what: str) -> int:
    """Memory of this process, now (VmRSS) or at most (VmHWM); Linux."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{what}:")[1].split()[0])
