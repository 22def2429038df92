"""Accuracy and cost of variants of the network, all trained in the same way.

    pip install ".[train]"
    python -m research.benchmarks.front --data FOLDER    # two hours on one core
    python -m research.benchmarks.front --data FOLDER "32 channels" "3 blocks"
    python -m research.benchmarks.front --time           # minutes, on an idle machine

Each variant is trained on acetylacetone at 300 K (FOLDER is dataset_acac of the BOTNet datasets;
450 geometries and 50 for validation) for the same number of epochs, and tested at 300 and 600 K. A
variant is one change of BASE, the default before these measurements; the default now is
"3 radial functions". ``--time`` times a force call of each trained variant in turn: eager, on 3-BPA
and on a peptide of 102 atoms, float32, one thread. Writes front.csv and front.png; rows of other
variants are kept.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from matplotlib.figure import Figure

from research.benchmarks.machine import about
from research.benchmarks.speed import molecules
from research.paths import DOCS, MODELS, RUNS
from research.tables import read_rows, write_rows
from se3set_ase.hypergraph import HypergraphConfig, build_hypergraph
from se3set_ase.nn.architecture import network_config, preset_values
from se3set_ase.nn.graph import collate
from se3set_ase.nn.model import SE3Set
from se3set_ase.nn.outputs import outputs
from se3set_ase.potential import Potential
from se3set_ase.train.config import load_config
from se3set_ase.train.run import train

#: Number of times that each variant is timed; the fastest counts.
ROUNDS = 3
#: All atoms bonded to each other: one fragment, and each atom has one hyperedge, its neighbourhood.
ONE_FRAGMENT = {"bond_on": 8.0, "bond_off": 9.0, "hydrogen_bond_on": 8.0, "hydrogen_bond_off": 9.0}
#: No bonds: each neighbour is a hyperedge of its own, as in a plain graph.
NO_BONDS = {"bond_on": 0.3, "bond_off": 0.4, "hydrogen_bond_on": 0.3, "hydrogen_bond_off": 0.4}
BASE = {"radial_functions": 8}
VARIANTS: dict[str, dict[str, Any]] = {
    "8 radial functions": {},
    "no fragments, neighbourhoods": {"hypergraph": {**ONE_FRAGMENT, "reach": 5.0}},
    "no fragments, pairs": {"hypergraph": {**NO_BONDS, "reach": 5.0}},
    "32 channels": {"network": {"channels": 32}},
    "96 channels": {"network": {"channels": 96}},
    "1 block": {"network": {"blocks": 1}},
    "3 blocks": {"network": {"blocks": 3}},
    "cutoff 4 A": {"hypergraph": {"cutoff": 4.0, "reach": 3.5}},
    "cutoff 6 A": {"hypergraph": {"cutoff": 6.0}},
    "6 radial functions": {"network": {"radial_functions": 6}},
    "4 radial functions": {"network": {"radial_functions": 4}},
    "3 radial functions": {"network": {"radial_functions": 3}},
    "2 radial functions": {"network": {"radial_functions": 2}},
    "3 radial functions, mean absolute errors": {
        "network": {"radial_functions": 3},
        "training": {"loss": "l2mae"},
    },
    "4 radial functions, cutoff 6 A": {
        "network": {"radial_functions": 4},
        "hypergraph": {"cutoff": 6.0},
    },
    "16 radial functions": {"network": {"radial_functions": 16}},
    "radial network of 32": {"network": {"radial_hidden": 32}},
    "1 head": {"network": {"heads": 1}},
    "no saturation": {"network": {"saturation": 1e6}},
    "batches of 2": {"training": {"batch_size": 2}},
    "batches of 10": {"training": {"batch_size": 10}},
    "energies weigh 100 times more": {"training": {"energy_weight": [0.1, 10.0]}},
    "messages of any size": {"training": {"excess_weight": 0.0}},
    "no average of weights": {"training": {"ema_decay": 0.0}},
    "mean absolute errors": {"training": {"loss": "l2mae"}},
    "begun from gfn2": {"initial": True},
}


def main() -> None:
    """Train or time the variants, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("variants", nargs="*", metavar="VARIANT", help="default: all")
    parser.add_argument("--data", type=Path, help="the folder dataset_acac; trains variants")
    parser.add_argument("--time", action="store_true", help="time trained variants")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=RUNS / "front")
    parser.add_argument("--output", type=Path, default=DOCS)
    arguments = parser.parse_args()
    if unknown := set(arguments.variants) - set(VARIANTS):
        parser.error(f"expected variants among {list(VARIANTS)}, got {sorted(unknown)}")
    if (arguments.data is None) != arguments.time:
        parser.error("expected either --data (to train) or --time")
    torch.set_num_threads(1)
    path = arguments.output / "front.csv"
    for name in [] if arguments.time else arguments.variants or VARIANTS:
        new = {"variant": name, **measure(name, arguments), **about()}
        print(new, flush=True)
        write_rows(path, [old for old in read_rows(path) if old["variant"] != name] + [new])
    if arguments.time:
        rows = read_rows(path)
        if not rows:
            parser.error(f"expected variants that have been trained in {path}, got none")
        calls = {row["variant"]: force_calls(VARIANTS[row["variant"]]) for row in rows}
        times: dict[str, list[list[float]]] = {name: [] for name in calls}
        for _ in range(ROUNDS):  # alternating, because the speed of a machine can change
            for name, called in calls.items():
                times[name].append([call_ms(call) for call in called.values()])
        for row in rows:
            fastest = np.min(times[row["variant"]], axis=0)
            for n_atoms, ms in zip(calls[row["variant"]], fastest, strict=True):
                row[f"ms_{n_atoms}_atoms"] = str(round(float(ms), 1))
        write_rows(path, sorted(rows, key=lambda row: list(VARIANTS).index(str(row["variant"]))))
        print(markdown(rows))
        draw(rows, arguments.output / "front.png")


def measure(name: str, arguments: argparse.Namespace) -> dict[str, object]:
    """Train one variant and return its errors."""
    changes = VARIANTS[name]
    label = "".join(c if c.isalnum() else "-" for c in name)
    data = arguments.data.resolve()
    config: dict[str, Any] = {
        "name": f"{label}-{arguments.epochs}-{arguments.seed}",
        "seed": arguments.seed,
        "data": {
            "train": str(data / "train_300K.xyz"),
            "validation": 50,
            "isolated_atoms": str(data / "isolated_atoms.xyz"),
            "tests": {t: str(data / f"test_MD_{t}K.xyz") for t in ("300", "600")},
            "level_of_theory": "PBE-D3/def2-SVP",
        },
        "training": {
            "epochs": arguments.epochs,
            "batch_size": 5,
            "learning_rate": 4.0e-3,
            "energy_weight": [0.001, 0.1],
            "threads": 1,
            **changes.get("training", {}),
        },
        "output": str(arguments.runs.resolve()),
    }
    if "initial" in changes:
        config["initial"] = str(MODELS / "gfn2")
        config["training"]["learning_rate"] = 2.0e-3
    else:
        config["network"] = {"preset": "light", **BASE, **changes.get("network", {})}
        config["hypergraph"] = changes.get("hypergraph", {})
    arguments.runs.mkdir(parents=True, exist_ok=True)
    file = arguments.runs / f"{config['name']}.yaml"
    file.write_text(yaml.safe_dump(config))
    model = train(load_config(file))
    potential = Potential(model, device="cpu", dtype="float32")
    log = read_rows(model.parent / "log.csv")
    tests = {t.data.file: t for t in potential.metadata.measured}
    row: dict[str, object] = {
        "parameters": sum(p.numel() for p in potential.model.parameters()),
        "epochs": arguments.epochs,
        "training_forces_rmse_meV_A": round(float(log[-1]["train_forces_rmse_meV_A"]), 2),
    }
    for kelvin in ("300", "600"):
        errors = tests[f"test_MD_{kelvin}K.xyz"]
        row[f"energy_rmse_{kelvin}K_meV"] = round(errors.energy_rmse_meV or np.nan, 2)
        row[f"forces_rmse_{kelvin}K_meV_A"] = round(errors.forces_rmse_meV_A or np.nan, 2)
    return row


def force_calls(changes: dict[str, Any]) -> dict[int, Callable[[], object]]:
    """Force calls of a variant with random weights, by number of atoms (3-BPA, peptide)."""
    calls: dict[int, Callable[[], object]] = {}
    for atoms in (molecules()[2], molecules()[4]):
        model = SE3Set(
            elements=sorted(set(atoms.numbers.tolist())),
            hypergraph=HypergraphConfig.from_dict(changes.get("hypergraph", {})),
            network=network_config(preset_values({**BASE, **changes.get("network", {})})),
            atomic_energies=[0.0] * len(set(atoms.numbers)),
            backend="by_hand",  # as a potential does
        )
        model.requires_grad_(False)
        hypergraph = build_hypergraph(atoms.numbers, atoms.positions, model.hypergraph)
        graph = collate([hypergraph], model.species_of, model.hypergraph, dtype=torch.float32)
        calls[len(atoms)] = partial(outputs, model, torch.as_tensor(atoms.positions), graph)
    return calls


def call_ms(call: Callable[[], object]) -> float:
    """Processor time of a call in ms, the median of some calls."""
    times = []
    for _ in range(8):
        began = time.process_time()
        call()
        times.append(time.process_time() - began)
    return 1e3 * statistics.median(times[2:])


def markdown(rows: list[dict[str, str]]) -> str:
    """Table as Markdown."""
    columns = {
        "variant": "variant",
        "forces_rmse_300K_meV_A": "300 K",
        "forces_rmse_600K_meV_A": "600 K",
        "ms_27_atoms": "27 atoms",
        "ms_102_atoms": "102 atoms",
    }
    lines = [list(columns.values()), ["---"] * len(columns)]
    lines += [[row[key] for key in columns] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def draw(rows: list[dict[str, str]], path: Path) -> None:
    """Draw force errors at 300 K and 600 K over the time of a call; points are numbered."""
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    *plots, names = figure.subplots(1, 3, width_ratios=(2, 2, 1.1))
    for axes, kelvin in zip(plots, ("300", "600"), strict=True):
        for number, row in enumerate(rows, 1):
            x, y = float(row["ms_27_atoms"]), float(row[f"forces_rmse_{kelvin}K_meV_A"])
            chosen = row["variant"] == "3 radial functions"
            colour, layer = ("#0072B2", 5) if chosen else ("#BBBBBB", 3)
            axes.plot(x, y, "o", color=colour, ms=13, zorder=layer)
            axes.annotate(
                str(number),
                (x, y),
                ha="center",
                va="center",
                fontsize=8,
                color="white" if chosen else "black",
                zorder=layer + 1,
            )
        axes.set_title(f"{kelvin} K, {rows[0]['epochs']} epochs", fontsize=10)
        axes.set_xlabel("ms per call, 27 atoms, eager")
        axes.set_ylabel("force RMSE, meV/Å")
        axes.spines[["top", "right"]].set_visible(False)
    names.set_axis_off()
    text = "\n".join(f"{number:2d}  {row['variant']}" for number, row in enumerate(rows, 1))
    names.text(0.0, 1.0, text, va="top", fontsize=9, linespacing=1.5)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
