"""Smoothness of the energy through every kind of refragmentation, with a hard control.

    python -m research.benchmarks.smoothness                   # ten minutes on one core
    python -m research.benchmarks.smoothness "ring opening"    # one path; other rows are kept

The scans are those of tests/paths.py. At each event: the largest third difference of the energy
and second difference of a force component in steps of 1e-4 Angstrom, float64. The control is hard
membership. Writes smoothness.csv.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from research.benchmarks.machine import about
from research.paths import DOCS
from research.tables import read_rows, write_rows
from se3set_ase.checkpoint import load_checkpoint, resolve_model
from se3set_ase.hypergraph import HypergraphConfig
from se3set_ase.nn.light.config import LightConfig
from se3set_ase.nn.model import SE3Set
from tests.paths import CROWDED, FAR, PATHS
from tests.scans import Surface, roughness

STEP = 1e-4  # Angstrom
ALL = {**PATHS, **FAR, **CROWDED}


def main() -> None:
    """Run the scans and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(ALL), metavar="PATH")
    parser.add_argument("--output", type=Path, default=DOCS)
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(ALL):
        parser.error(f"expected paths among {', '.join(ALL)}, got {', '.join(unknown)}")
    torch.set_num_threads(1)
    torch.manual_seed(11)
    untrained = SE3Set(
        elements=(1, 6, 7, 8),
        hypergraph=HypergraphConfig(),
        network=LightConfig(channels=16, heads=4, mean_members=16.0, mean_hyperedges=8.0),
        atomic_energies=(0.0,) * 4,
        shifts=(-2.0, -5.0, -4.0, -4.0),
    ).double()
    acac, _ = load_checkpoint(resolve_model("acac"), dtype=torch.float64)
    path = arguments.output / "smoothness.csv"
    rows: list[Mapping[str, object]] = [
        row for row in read_rows(path) if row["path"] not in arguments.names
    ]
    models = {"random weights": untrained, "acac": acac}
    for label, model in models.items():
        for name in arguments.names:
            if set(ALL[name]()[0].numbers.tolist()) <= set(model.elements):
                rows.append(scan(name, ALL[name], label, model))
    order = [(label, name) for label in models for name in ALL]
    write_rows(
        path, sorted(rows, key=lambda row: order.index((str(row["model"]), str(row["path"]))))
    )


def scan(name: str, path, label: str, model: SE3Set) -> dict[str, object]:  # type: ignore[no-untyped-def]
    """Largest differences over the events of a path, smooth and hard, as a row."""
    atoms, positions, (start, end) = path()
    row: dict[str, object] = {"path": name, "model": label}
    settings = model.hypergraph
    for kind, hard in (("smooth", False), ("hard", True)):
        model.hypergraph = replace(settings, hard=hard)
        surface = Surface(model, atoms.numbers, positions)
        events = surface.events(start, end, n=160, most=6)
        worst = [roughness(surface, t, STEP, n=5) for t in events]
        row[f"{kind}_events"] = len(worst)
        row[f"{kind}_energy_eV"] = f"{max(r.energy for r in worst):.2e}"
        row[f"{kind}_forces_eV_A"] = f"{max(r.forces for r in worst):.2e}"
    model.hypergraph = settings
    print(row, flush=True)
    return row | about()


if __name__ == "__main__":
    main()
