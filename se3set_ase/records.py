"""Results of a run as files for programs."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
from pathlib import Path

from se3set_ase.simulate import DynamicsResult, RelaxResult

__all__ = ["write_events", "write_table"]


def write_events(path: str | os.PathLike[str], result: DynamicsResult | RelaxResult) -> None:
    """Write the refragmentation log as JSON lines: one event per line, in order of time.

    Each line has the fields of the event (``step`` being that of this run, ``energy`` in eV)
    and, for molecular dynamics, ``time_ps``.
    """
    if isinstance(result, DynamicsResult):
        stamps = [{"time_ps": time} for time in result.event_times]
    else:
        stamps = [{"step": step} for step in result.event_steps]
    lines = [
        json.dumps({**dataclasses.asdict(event), **stamp}) + "\n"
        for event, stamp in zip(result.events, stamps, strict=True)
    ]
    Path(path).write_text("".join(lines), encoding="utf-8")


def write_table(path: str | os.PathLike[str], result: DynamicsResult) -> None:
    """Write temperature, energies and hyperedges over time as CSV; units are in the header.

    A cell is empty where the calculator has no hypergraph.
    """
    columns = {
        "time_ps": result.time,
        "temperature_K": result.temperature,
        "potential_eV": result.potential,
        "kinetic_eV": result.kinetic,
        "total_eV": result.total,
        "hyperedges": result.n_hyperedges,
    }
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in zip(*columns.values(), strict=True):
            writer.writerow("" if value != value else f"{value:.12g}" for value in row)
