"""Date, machine and software versions, which every table of measurements records."""

from __future__ import annotations

import datetime
import os
import platform
from pathlib import Path

import ase
import torch

import se3set_ase
from se3set_ase.checkpoint import load_metadata, resolve_model


def about() -> dict[str, object]:
    """Date, machine and versions, the last columns of every table."""
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "ase": ase.__version__,
        "se3set_ase": se3set_ase.__version__,
    }


def weights_of(model: str) -> str:
    """First digits of the hash of a model's weights."""
    weights = load_metadata(resolve_model(model)).weights
    assert weights is not None
    return weights.sha256[:12]


def resident_kB(what: str) -> int:
    """Memory of this process: current (VmRSS) or peak (VmHWM); Linux only."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{what}:")[1].split()[0])
