"""Tables of the site, made from the CSV files that the benchmarks write into ``docs/``.

The line ``--table-- "name"`` inserts one into a page. Numbers are never copied by hand: to update
them, run the benchmark and build the site again. Below each table are its command, date and
machine, from the same CSV file.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cells import Content, Row, median, number, read
from long_range import cost
from long_range import growth as long_range_growth
from truth import benchmark_scores, benchmark_sets

RUN = "python -m research"
LONG_RANGE = "benchmarks.long_range --compile"
TRUTH = "truth METHOD --output docs/truth.csv"


def table(name: str, docs: Path) -> str:
    """Markdown of one table and of where it comes from.

    Raises KeyError for a name that is not in :data:`TABLES`.
    """
    file, command, make = TABLES[name]
    rows = read(docs / file)
    headings, cells = make(rows)
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    lines += ["| " + " | ".join(row) + " |" for row in cells]
    return "\n".join(lines) + f"\n\n*{source(rows, file, command)}*{{ .source }}\n"


def source(rows: Sequence[Row], file: str, command: str) -> str:
    """The command, date, machine and file of a table."""
    dates = sorted({row["date"] for row in rows})
    days = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    threads = rows[0]["threads"]
    return (
        f"`{RUN}.{command}`, {days}, {rows[0]['machine']}, "
        f"{threads} thread{'' if threads == '1' else 's'}, torch {rows[0]['torch']}; "
        f"[`docs/{file}`](../{file})"
    )


def accuracy(rows: list[Row]) -> Content:
    columns = {
        "model": "model",
        "test": "test",
        "frames": "n_frames",
        "energy MAE, meV": "energy_mae_meV",
        "energy RMSE, meV": "energy_rmse_meV",
        "force MAE, meV/Å": "forces_mae_meV_A",
        "force RMSE, meV/Å": "forces_rmse_meV_A",
    }
    ordered = sorted(rows, key=lambda row: (row["model"], row["test"]))
    return list(columns), (
        [row[c] if c in ("model", "test", "n_frames") else number(row[c]) for c in columns.values()]
        for row in ordered
    )


def along_paths(rows: list[Row]) -> Content:
    columns = ["largest_along_path_meV", "reference_barrier_meV", "barrier_meV"]
    return ["model", "path", "largest error, meV", "barrier, reference, meV", "barrier, meV"], (
        [row["model"], row["test"], *(number(row[column]) for column in columns)]
        for row in rows
        if row["largest_along_path_meV"]
    )


def organic(rows: list[Row]) -> Content:
    return ["quantity", "`organic`", "GFN2-xTB", "measured on"], (
        [
            row["quantity"],
            number(row["organic"]),
            number(row["GFN2-xTB"]),
            row["of"],
        ]
        for row in rows
    )


def energy_conservation(rows: list[Row]) -> Content:
    headings = ["molecule", "model", "membership", "dtype", "ps", "mean temperature, K"]
    headings += ["events", "of which bonds", "drift, meV/atom/ps", "spread, meV/atom"]
    return headings, (
        [
            row["system"],
            f"`{row['model']}`" + (", compiled" if row["compiled"] == "True" else ""),
            row["refragment"],
            row["dtype"],
            number(row["picoseconds"]),
            row["mean_temperature_K"],
            row["events"],
            row["bond_events"],
            number(row["drift_meV_atom_ps"], 2),
            number(row["spread_meV_atom"], 2),
        ]
        for row in rows
    )


def smoothness(rows: list[Row]) -> Content:
    headings = ["path", "model", "energy, smooth, eV", "energy, hard, eV"]
    headings += ["forces, smooth, eV/Å", "forces, hard, eV/Å"]
    columns = ["smooth_energy_eV", "hard_energy_eV", "smooth_forces_eV_A", "hard_forces_eV_A"]
    return headings, ([row["path"], row["model"], *(row[c] for c in columns)] for row in rows)


def refragmentation(rows: list[Row]) -> Content:
    headings = ["atoms", "step, ms", "hypergraph, ms", "share of the step, %"]
    headings += ["steps that rebuild the neighbour list, %"]
    columns = ["step_ms", "hypergraph_ms", "hypergraph_percent", "rebuilt_percent"]
    return headings, (
        [row["atoms"], *(number(row[column]) for column in columns)]
        for row in rows
        if row["measurement"] == "step"
    )


def first_hypergraph(rows: list[Row]) -> Content:
    return ["system", "atoms", "ambiguous bonds", "hypergraph, ms"], (
        [row["system"], row["atoms"], row["ambiguous_bonds"], number(row["hypergraph_ms"])]
        for row in rows
        if row["measurement"] == "unseen"
    )


def growth(rows: list[Row]) -> Content:
    columns = ["call_ms", "memory_MB", "edges"]
    return ["system", "atoms", "call, ms", "memory, MB", "edges"], (
        [row["system"], row["atoms"], *(number(row[column]) for column in columns)]
        for row in rows
        if row["measurement"] == "growth" and row["atoms"]
    )


def exponents(rows: list[Row]) -> Content:
    columns = ["exponent_call_ms", "exponent_memory_MB", "exponent_edges"]
    return ["system", "time", "memory", "edges"], (
        [row["system"], *(number(row[column]) for column in columns)]
        for row in rows
        if row["measurement"] == "growth" and not row["atoms"]
    )


def endurance(rows: list[Row]) -> Content:
    """Averages over blocks of 200,000 steps; memory and events at their ends."""
    block = 200_000
    cells = []
    for end in range(block, int(rows[-1]["steps"]) + 1, block):
        inside = [row for row in rows if end - block < int(row["steps"]) <= end]
        mean = statistics.fmean(float(row["wall_ms_per_step"]) for row in inside)
        last = inside[-1]
        cells.append([f"{end:,}", f"{mean:.2f}", number(last["resident_MB"]), last["events"]])
    return ["steps", "ms per step", "memory, MB", "events so far"], cells


def busy_calls(rows: list[Row]) -> Content:
    return ["calculator", "atoms", "idle machine, ms", "busy machine, ms", "ratio"], (
        [row["mode"], row["atoms"], number(row["idle_ms"]), number(row["busy_ms"]), row["ratio"]]
        for row in rows
        if row["measurement"] == "force call"
    )


def busy_dynamics(rows: list[Row]) -> Content:
    headings = ["calculator", "atoms", "steps per second, alone", "one run per core", "ratio"]
    columns = ["idle_steps_per_s", "busy_steps_per_s"]
    return headings, (
        [
            row["mode"],
            "" if row["atoms"] == "0" else row["atoms"],
            *(number(row[column]) for column in columns),
            row["ratio"],
        ]
        for row in rows
        if row["measurement"] == "dynamics"
    )


def pivot(rows: list[Row], column: str) -> Content:
    """One row for each potential, one column for each size."""
    sizes = sorted({int(row["atoms"]) for row in rows})
    names = list(dict.fromkeys(row["potential"] for row in rows))
    found = {(row["potential"], int(row["atoms"])): number(row[column]) for row in rows}
    return ["atoms", *map(str, sizes)], (
        [name, *(found.get((name, size), "") for size in sizes)] for name in names
    )


def speed(rows: list[Row]) -> Content:
    return pivot(rows, "ms")


def memory(rows: list[Row]) -> Content:
    return pivot(rows, "peak_MB")


def training(rows: list[Row]) -> Content:
    return ["system", "atoms", "batch", "compiled", "geometries per second"], (
        [
            row["system"],
            row["atoms"],
            row["batch_size"],
            "yes" if row["compiled"] == "True" else "no",
            row["geometries_per_s"],
        ]
        for row in rows
    )


def relax_many(rows: list[Row]) -> Content:
    headings = ["way", "compiled", "molecules", "time, s", "largest difference in energy, meV"]
    return headings, (
        [
            row["way"],
            "yes" if row["compiled"] == "True" else "no",
            row["molecules"],
            row["seconds"],
            row["largest_difference_meV"],
        ]
        for row in rows
    )


def batches(rows: list[Row]) -> Content:
    headings = ["motion", "way", "molecules", "atoms of each", "new hypergraphs", "work, ms"]
    columns = ["motion", "way", "molecules", "atoms", "rebuilt_per_step", "ms_per_step"]
    return headings, ([row[column] for column in columns] for row in rows)


VARIANTS = {
    "3 radial functions": "**3 radial functions (the default)**",
    "8 radial functions": "8 radial functions (the base of the rows below)",
    "no fragments, neighbourhoods": "no fragments: one hyperedge per neighbourhood",
    "no fragments, pairs": "no fragments: one hyperedge per pair",
    "no saturation": "messages without saturation",
    "messages of any size": "no penalty on large messages",
    "no average of weights": "no moving average of the weights",
    "energies weigh 100 times more": "energies weighted 100 times more",
    "mean absolute errors": "trained on absolute errors",
    "3 radial functions, mean absolute errors": "3 radial functions, trained on absolute errors",
    "begun from gfn2": "8 radial functions, initial weights from `gfn2`",
}
"""What the rows of front.csv are called on the site."""


def parts_of_the_network(rows: list[Row]) -> Content:
    headings = ["variant", "300 K, force RMSE, meV/Å", "600 K, force RMSE, meV/Å"]
    headings += ["27 atoms, ms", "102 atoms, ms"]
    columns = ["forces_rmse_300K_meV_A", "forces_rmse_600K_meV_A", "ms_27_atoms", "ms_102_atoms"]
    first = ["3 radial functions", "8 radial functions"]
    ordered = sorted(rows, key=lambda row: row["variant"] not in first)
    ordered[:2] = sorted(ordered[:2], key=lambda row: first.index(row["variant"]))
    return headings, (
        [VARIANTS.get(row["variant"], row["variant"]), *(number(row[c]) for c in columns)]
        for row in ordered
    )


def drug_relaxations(rows: list[Row]) -> Content:
    """How many converge, and the median number of steps, by method and optimiser."""
    optimisers = ["BFGS", "LBFGS", "FIRE2"]
    cells = []
    for method, prefix in (("`organic`", ""), ("GFN2-xTB", "GFN2-xTB_")):
        line = [method]
        for optimiser in optimisers:
            converged = sum(row[f"{prefix}{optimiser}_converged"] == "True" for row in rows)
            line.append(f"{converged}, {median(rows, f'{prefix}{optimiser}_steps')} steps")
        cells.append(line)
    return [f"of {len(rows)} drugs", *optimisers], cells


def drugs(rows: list[Row]) -> Content:
    headings = ["drug", "atoms", "to the GFN2-xTB minimum, Å", "to the wB97X/6-31G(d) minimum, Å"]
    headings += ["bonds broken in MD", "energy drift, meV/atom/ps"]
    runs = ["50 ps at 300 K", "10 ps at 500 K", "nve"]
    return headings, (
        [
            row["drug"],
            row["atoms"],
            number(row["rmsd_to_gfn2_A"], 2),
            number(row["rmsd_to_dft_A"], 2),
            str(sum(int(row[f"{run}: bonds broken on the way"]) for run in runs)),
            number(row["drift_meV_atom_ps"], 2),
        ]
        for row in rows
    )


def handover(rows: list[Row]) -> Content:
    columns = ["from MMFF94", "from the model", "with its Hessian"]
    headings = ["method", "drugs", "from the MMFF94 geometry", "from the minimum of `organic`"]
    headings += ["from there, with the Hessian of `organic`"]
    cells = []
    for method in dict.fromkeys(row["method"] for row in rows):
        ours = [row for row in rows if row["method"] == method]
        cells.append([method, str(len(ours)), *(median(ours, column) for column in columns)])
    return headings, cells


ERRORS = {
    "force MAE, meV/Å": "forces, MAE, meV/A: all",
    "conformers, MAE, kcal/mol": "conformers, MAE, kcal/mol",
    "torsional profiles, RMSE, kcal/mol": "torsional profiles, RMSE, kcal/mol",
    "binding of dimers, MAE, kcal/mol": "dimers, binding energy, MAE, kcal/mol",
}
"""Columns of learning_curve.csv and two_levels.csv, by heading."""


def learning_curve(rows: list[Row]) -> Content:
    return ["labels", *ERRORS], (
        [row["labels"], *(number(row[column]) for column in ERRORS.values())] for row in rows
    )


def two_levels(rows: list[Row]) -> Content:
    names = {
        "one after the other": "GFN2-xTB first, then wB97X/6-31G(d)",
        "both at once": "both in one network at once",
        "alone": "wB97X/6-31G(d) alone",
    }
    return ["training", "geometries seen", *ERRORS], (
        [names[row["way"]], row["geometries seen"], *(number(row[c]) for c in ERRORS.values())]
        for row in rows
    )


TABLES: Mapping[str, tuple[str, str, Callable[[list[Row]], Content]]] = {
    "accuracy": ("accuracy.csv", "benchmarks.accuracy", accuracy),
    "along paths": ("accuracy.csv", "benchmarks.accuracy", along_paths),
    "organic": ("organic.csv", "benchmarks.organic", organic),
    "energy conservation": (
        "energy_conservation.csv",
        "benchmarks.energy_conservation",
        energy_conservation,
    ),
    "smoothness": ("smoothness.csv", "benchmarks.smoothness", smoothness),
    "refragmentation": ("engine.csv", "benchmarks.engine", refragmentation),
    "first hypergraph": ("engine.csv", "benchmarks.engine", first_hypergraph),
    "growth": ("engine.csv", "benchmarks.engine", growth),
    "exponents": ("engine.csv", "benchmarks.engine", exponents),
    "endurance": ("endurance.csv", "benchmarks.endurance", endurance),
    "busy: force calls": ("busy.csv", "benchmarks.busy", busy_calls),
    "busy: dynamics": ("busy.csv", "benchmarks.busy", busy_dynamics),
    "speed": ("speed.csv", "benchmarks.speed --environments FOLDER", speed),
    "memory": ("speed.csv", "benchmarks.speed --environments FOLDER", memory),
    "training": ("training.csv", "benchmarks.training --data FOLDER", training),
    "relax many": ("relax_many.csv", "benchmarks.relax_many", relax_many),
    "batches": ("batches.csv", "benchmarks.batches", batches),
    "cost of charges and dispersion": ("long_range.csv", LONG_RANGE, cost),
    "growth with charges and dispersion": ("long_range.csv", LONG_RANGE, long_range_growth),
    "parts of the network": ("front.csv", "benchmarks.front", parts_of_the_network),
    "drug relaxations": ("drugs.csv", "benchmarks.drugs --dft", drug_relaxations),
    "drugs": ("drugs.csv", "benchmarks.drugs --dft", drugs),
    "handover": ("handover.csv", "benchmarks.handover", handover),
    "learning curve": ("learning_curve.csv", "benchmarks.learning_curve", learning_curve),
    "two levels": ("two_levels.csv", "benchmarks.two_levels", two_levels),
    "benchmark scores": ("truth.csv", TRUTH, benchmark_scores),
    "benchmark sets": ("truth.csv", TRUTH, benchmark_sets),
}
"""CSV file in ``docs/``, command that writes it, and function that lays it out, by name."""
