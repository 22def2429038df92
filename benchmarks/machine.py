"""What a table of measurements has to say of where they were made."""

from __future__ import annotations

import csv
import datetime
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import ase
import torch

import se3set_ase


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
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def resident_kB(what: str) -> int:
    """Memory of this process, now (VmRSS) or at most (VmHWM); Linux."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{what}:")[1].split()[0])
