"""The optional parts of the network, compared by one protocol and with three seeds.

    python -m research.options.compare --data FOLDER    # hours; resumes
    python -m research.options.compare --time           # minutes; the machine has to be idle
    python -m research.options.compare --table          # only the table

Each network is trained from random weights with the same data, order and number of steps:
acetylacetone (450 geometries of dynamics at 300 K), tested at 300 and 600 K, and the correction of
GFN2-xTB (research.correction.dataset), tested on held-out molecules and reactions and on the sets
BH28 and S22 of the benchmark. Writes network_options.csv and network_options_speed.csv. FOLDER is
that of the BOTNet datasets.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from research.benchmarks.long_range import compared
from research.benchmarks.machine import about
from research.correction.errors import measured
from research.paths import CONFIGS, DOCS, RUNS
from research.tables import read_rows, write_rows
from research.truth.__main__ import Method, errors_of
from se3set_ase import Potential
from se3set_ase.checkpoint import load_checkpoint
from se3set_ase.evaluate import evaluate
from se3set_ase.io.extended_xyz import frames_of_file
from se3set_ase.train.config import DataConfig, RunConfig, TrainingConfig, load_config
from se3set_ase.train.run import train

#: Networks: the present one, with one option each, and with the two that a free molecule may have.
NETWORKS: Mapping[str, dict[str, object]] = {
    "present": {},
    "fusion": {"fusion": True},
    "invariant gradient": {"invariant_gradient": True},
    "both": {"fusion": True, "invariant_gradient": True},
    "relaxed weights": {"relaxed": True},
}
TASKS = ("acac", "correction")
#: Number of epochs of each task.
EPOCHS = {"acac": 160, "correction": 12}
SETS = ("BH28", "S22")
SIZES = (27, 102)


def main() -> None:
    """Train and measure what is missing, or time, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the BOTNet datasets")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--output", type=Path, default=DOCS)
    arguments = parser.parse_args()
    path = arguments.output / "network_options.csv"
    speed = arguments.output / "network_options_speed.csv"
    if arguments.time:
        write_rows(speed, timed(), line_end="\n")
    elif not arguments.table:
        if arguments.data is None and "acac" in arguments.tasks:
            parser.error("expected --data, the folder of the BOTNet datasets")
        rows: list[dict[str, object]] = [dict(row) for row in read_rows(path)]
        done = {(row["task"], row["network"], row["seed"]) for row in rows}
        for task in arguments.tasks:
            for seed in arguments.seeds:
                for network in arguments.networks:
                    if (task, network, str(seed)) in done:
                        continue
                    row = trained_and_measured(task, network, seed, arguments.data)
                    rows.append({"task": task, "network": network, "seed": seed, **row, **about()})
                    write_rows(path, rows, line_end="\n")
    print(table(read_rows(path), read_rows(speed)))


def trained_and_measured(task: str, network: str, seed: int, data: Path) -> dict[str, object]:
    """Columns of one training."""
    name = f"options-{task}-{network.replace(' ', '-')}-{seed}"
    config = acac(data) if task == "acac" else correction()
    values = {**config, "name": name, "seed": seed, "network": dict(NETWORKS[network])}
    model = train(RunConfig(**values))
    columns = dict.fromkeys(
        ("forces_300K_meV_A", "forces_600K_meV_A", "forces_test_meV_A", *SETS), ""
    )
    row: dict[str, object] = {"parameters": parameters(model), **columns}
    potential = Potential(model, device="cpu")
    if task == "acac":
        for kelvin in (300, 600):
            frames = list(frames_of_file(data / "acac" / f"test_MD_{kelvin}K.xyz"))
            errors = evaluate(potential, frames)
            row[f"forces_{kelvin}K_meV_A"] = round(errors["forces_rmse_meV_A"], 2)
    else:
        groups, _ = measured(potential, list(frames_of_file(RUNS / "labels" / "test.xyz")))
        row["forces_test_meV_A"] = groups[0]["forces_mae_meV_A"]
        for found in errors_of(Method(str(model), {}), sets=SETS):
            row[found.set] = round(found.mad, 3)
    return row


def acac(data: Path) -> dict[str, Any]:
    """Training on acetylacetone."""
    folder = data.resolve() / "acac"
    return {
        "data": DataConfig(
            train=folder / "train_300K.xyz",
            validation=50,
            isolated_atoms=folder / "isolated_atoms.xyz",
            level_of_theory="PBE-D3/def2-SVP",
        ),
        "training": TrainingConfig(
            epochs=EPOCHS["acac"],
            batch_size=5,
            learning_rate=2e-3,
            energy_weight=(0.001, 0.1),
            validate_every=EPOCHS["acac"] // 8,
            threads=1,
        ),
        "output": RUNS,
    }


def correction() -> dict[str, Any]:
    """Training of the correction, from random weights."""
    config = load_config(CONFIGS / "organic-xtb.yaml")
    changes = {
        "epochs": EPOCHS["correction"],
        "learning_rate": 2e-3,
        "validate_every": EPOCHS["correction"] // 3,
    }
    return {
        "baseline": config.baseline,
        "data": config.data.model_copy(update={"tests": {}}),
        "training": config.training.model_copy(update=changes),
        "output": RUNS,
    }


def parameters(model: Path) -> int:
    """Number of weights."""
    return sum(p.numel() for p in load_checkpoint(model)[0].parameters())


def timed() -> list[dict[str, object]]:
    """Milliseconds of a force call with each network, in one run."""
    networks = {name: {"network": options} for name, options in NETWORKS.items()}
    return compared(networks, SIZES, rounds=3, compiled=True)


def table(rows: Sequence[Mapping[str, str]], speed: Sequence[Mapping[str, str]]) -> str:
    """Mean and standard deviation over seeds of each network."""
    lines = []
    for network in NETWORKS:
        line: list[object] = [network]
        own = [row for row in rows if row["network"] == network]
        line.append(own[0]["parameters"] if own else "")
        for column in ("forces_300K_meV_A", "forces_600K_meV_A", "forces_test_meV_A", *SETS):
            values = [float(row[column]) for row in own if row[column]]
            spread = np.std(values, ddof=1) if len(values) > 1 else 0.0
            line.append(f"{np.mean(values):.3g} ± {spread:.2g}" if values else "")
        for row in speed:
            if row["model"] == network:
                line.append(row["ms"])
        lines.append(line)
    times = [f"{r['atoms']} atoms{', compiled' * (r['compiled'] == 'True')}, ms"
             for r in speed if r["model"] == "present"]  # fmt: skip
    head = ["network", "weights", "300 K", "600 K", "correction", *SETS, *times]
    return tabulate(lines, headers=head, tablefmt="github")


if __name__ == "__main__":
    main()
