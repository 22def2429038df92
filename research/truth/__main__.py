"""Errors of a method on the benchmark reactions.

    python -m research.truth organic
    python -m research.truth GFN2-xTB --output docs/truth.csv
    python -m research.truth wB97X-3c --sets S22 HB49 WATER27 --largest 12
    python -m research.truth my_module:MyCalculator --all

A method is a bundled model, the folder of a model, or a method of ``se3set-ase label``. By default
only reactions of neutral molecules of H, C, N, O, F, S and Cl are included, which all methods
support. Energies are kept in ``runs/truth``, so that an interrupted run resumes.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from ase import Atoms
from tqdm import tqdm

from research.benchmarks.machine import about
from research.tables import read_rows, write_rows
from research.truth.plot import draw
from research.truth.reactions import (
    CATEGORIES,
    TRUTH,
    SetErrors,
    errors,
    is_neutral_organic,
    load,
    score,
)
from se3set_ase.calculator import SE3SetCalculator
from se3set_ase.checkpoint.registry import list_models, resolve_model
from se3set_ase.checkpoint.store import load_metadata
from se3set_ase.label import LabelError, make_labeller

KEPT = Path("runs") / "truth"


def main() -> None:
    """Calculate missing energies, then print and write the errors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("method")
    parser.add_argument("--reactions", type=Path, default=TRUTH, help="file of the benchmark")
    parser.add_argument("--sets", nargs="+", help="only these sets; default: all")
    parser.add_argument("--largest", type=int, default=70, help="most atoms of a species")
    parser.add_argument("--all", action="store_true", help="include ions and all elements")
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="option of the method"
    )
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--output", type=Path, help="CSV file; rows of other methods are kept")
    parser.add_argument("--plot", type=Path, help="picture of the scores of all methods in it")
    arguments = parser.parse_args()
    if arguments.plot and not arguments.output:
        parser.error("expected --output, the file that --plot draws")
    options = {name: json.loads(value) for name, value in (o.split("=") for o in arguments.option)}
    found = errors_of(
        Method(arguments.method, options),
        arguments.reactions,
        sets=arguments.sets,
        largest=arguments.largest,
        everything=arguments.all,
        processes=arguments.processes,
    )
    report(arguments.method, found)
    if arguments.output:
        write(arguments.output, arguments.method, found)
    if arguments.plot:
        draw(read_errors(arguments.output), arguments.plot)


def errors_of(
    method: Method,
    file: Path = TRUTH,
    *,
    sets: Sequence[str] | None = None,
    largest: int = 70,
    everything: bool = False,
    processes: int = 1,
) -> list[SetErrors]:
    """Errors of a method on the sets of a file, with its missing energies.

    ``sets`` : only these. ``largest`` : most atoms of a species. ``everything`` : ions and all
    elements as well.
    """
    reactions, species = load(file)
    usable = {
        name
        for name, atoms in species.items()
        if len(atoms) <= largest and (everything or is_neutral_organic(atoms))
    }
    reactions = [
        reaction
        for reaction in reactions
        if (not sets or reaction.set in sets) and reaction.species.keys() <= usable
    ]
    needed = {name: species[name] for reaction in reactions for name in reaction.species}
    return list(errors(reactions, kept_energies(method.file, needed, method, processes)))


class Method:
    """Computes energies with a model or a labeller. It can be sent to another process."""

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        self.name, self.options = name, json.dumps(options, sort_keys=True)
        known = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)
        parts = [known, *(f"{k}_{v}" for k, v in sorted(options.items()))]
        if is_model(name) and (weights := load_metadata(resolve_model(name)).weights):
            parts.append(weights.sha256[:8])  # a model may be trained again
        self.file = KEPT / "-".join(parts)

    def __call__(self, atoms: Atoms) -> float | str:
        """Return the total energy in eV, or the reason why there is none."""
        try:
            return energy_function(self.name, self.options)(atoms)
        except (LabelError, ValueError, RuntimeError) as error:
            return f"{type(error).__name__}: {error}"


@cache
def energy_function(name: str, options: str) -> Callable[[Atoms], float]:
    """Load a model or make a labeller, once for each process."""
    arguments = json.loads(options)
    if not is_model(name):
        labeller = make_labeller(name, options=arguments)
        return lambda atoms: labeller(atoms).energy
    calculator = SE3SetCalculator(name, **arguments)

    def energy(atoms: Atoms) -> float:
        with warnings.catch_warnings():  # about uncertain predictions: here errors are measured
            warnings.simplefilter("ignore")
            return float(calculator.get_potential_energy(atoms.copy()))

    return energy


def is_model(name: str) -> bool:
    """Whether a method is a model of this package."""
    return Path(name, "model.json").exists() or name in {info.name for info in list_models()}


def kept_energies(
    file: Path, needed: dict[str, Atoms], method: Method, processes: int
) -> dict[str, float]:
    """Return energies of earlier runs, and calculate and write the missing ones."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = file.read_text().splitlines() if file.exists() else []
    kept = dict(json.loads(line) for line in lines)
    missing = {name: atoms for name, atoms in needed.items() if name not in kept}
    with ProcessPoolExecutor(processes) as pool, file.open("a") as out:
        results = pool.map(method, missing.values())
        for name, energy in zip(missing, tqdm(results, total=len(missing)), strict=True):
            kept[name] = energy
            out.write(json.dumps([name, energy]) + "\n")
            out.flush()
    for name in needed:
        if isinstance(kept[name], str):
            print(f"{name}: {kept[name]}")
    return {name: kept[name] for name in needed if not isinstance(kept[name], str)}


def report(method: str, found: Sequence[SetErrors]) -> None:
    """Print errors by set, and scores by category."""
    print(f"{method}: mean absolute deviations, kcal/mol")
    for one in found:
        print(f"{one.set:18s}{one.n:5d}{one.mean_abs_energy:9.2f}{one.mad:9.3f}  {one.category}")
    for category in CATEGORIES:
        if sets := [one for one in found if one.category == category]:
            print(f"{category:24s} N {sum(s.n for s in sets):5d}   score {score(sets):6.1f}")


def write(path: Path, method: str, found: Sequence[SetErrors]) -> None:
    """Replace the rows of this method in a CSV file."""
    rows: list[Mapping[str, object]] = [r for r in read_rows(path) if r["method"] != method]
    rows += [{"method": method, **asdict(one), **about()} for one in found]
    write_rows(path, rows, line_end="\n")


def read_errors(path: Path) -> dict[str, list[SetErrors]]:
    """Errors of each method in a CSV file."""
    found: dict[str, list[SetErrors]] = {}
    for row in read_rows(path):
        found.setdefault(row["method"], []).append(
            SetErrors(
                set=row["set"],
                category=row["category"],
                n=int(row["n"]),
                mean_abs_energy=float(row["mean_abs_energy"]),
                mad=float(row["mad"]),
            )
        )
    return found


if __name__ == "__main__":
    main()
