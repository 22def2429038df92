"""Measures a method against the benchmark reactions.

    python -m research.truth organic
    python -m research.truth GFN2-xTB --output docs/truth.csv
    python -m research.truth wB97X-3c --sets S22 HB49 WATER27 --largest 12
    python -m research.truth my_module:MyCalculator --all

A method is a bundled model or the folder of one, or what ``se3set-ase label --method`` takes. By
default only reactions of neutral molecules of H, C, N, O, F, S and Cl count, which all methods
cover. Energies are kept in ``runs/truth``, so a run that was stopped resumes.
"""

from __future__ import annotations

import argparse
import csv
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from ase import Atoms
from tqdm import tqdm

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
    """Calculate what is missing, then print and write the errors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("method")
    parser.add_argument("--reactions", type=Path, default=TRUTH, help="the benchmark's file")
    parser.add_argument("--sets", nargs="+", help="only these; all by default")
    parser.add_argument("--largest", type=int, default=70, help="atoms of a species")
    parser.add_argument("--all", action="store_true", help="ions and all elements, too")
    parser.add_argument("--option", action="append", default=[], help="NAME=VALUE of the method")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--output", type=Path, help="CSV; rows of other methods are kept")
    arguments = parser.parse_args()
    reactions, species = load(arguments.reactions)
    usable = {
        name
        for name, atoms in species.items()
        if len(atoms) <= arguments.largest and (arguments.all or is_neutral_organic(atoms))
    }
    reactions = [
        reaction
        for reaction in reactions
        if (not arguments.sets or reaction.set in arguments.sets)
        and reaction.species.keys() <= usable
    ]
    needed = {name: species[name] for reaction in reactions for name in reaction.species}
    options = {name: json.loads(value) for name, value in (o.split("=") for o in arguments.option)}
    method = Method(arguments.method, options)
    energies = kept_energies(method.file, needed, method, arguments.processes)
    found = list(errors(reactions, energies))
    report(arguments.method, found)
    if arguments.output:
        write(arguments.output, arguments.method, found)


class Method:
    """Energy of a molecule by a model or a labeller. Can be sent to another process."""

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        self.name, self.options = name, json.dumps(options, sort_keys=True)
        known = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)
        parts = [known, *(f"{k}_{v}" for k, v in sorted(options.items()))]
        if is_model(name) and (weights := load_metadata(resolve_model(name)).weights):
            parts.append(weights.sha256[:8])  # a model may be trained again
        self.file = KEPT / "-".join(parts)

    def __call__(self, atoms: Atoms) -> float | str:
        """Total energy in eV, or why there is none."""
        try:
            return energy_function(self.name, self.options)(atoms)
        except (LabelError, ValueError, RuntimeError) as error:
            return f"{type(error).__name__}: {error}"


@cache
def energy_function(name: str, options: str) -> Callable[[Atoms], float]:
    """One for each process: a model is loaded once."""
    arguments = json.loads(options)
    if not is_model(name):
        labeller = make_labeller(name, options=arguments)
        return lambda atoms: labeller(atoms).energy
    calculator = SE3SetCalculator(name, **arguments)

    def energy(atoms: Atoms) -> float:
        with warnings.catch_warnings():  # of doubt: it is measured here
            warnings.simplefilter("ignore")
            return float(calculator.get_potential_energy(atoms.copy()))

    return energy


def is_model(name: str) -> bool:
    """Whether a method is a model of this package."""
    return Path(name, "model.json").exists() or name in {info.name for info in list_models()}


def kept_energies(
    file: Path, needed: dict[str, Atoms], method: Method, processes: int
) -> dict[str, float]:
    """Energies of earlier runs, and those that were missing; each is written as it comes."""
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
    """CSV with the rows of this method replaced."""
    rows = [row for row in _rows(path) if row["method"] != method]
    rows += [{"method": method, **asdict(one)} for one in found]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _rows(path: Path) -> Iterator[dict[str, object]]:
    if path.exists():
        with path.open() as file:
            yield from csv.DictReader(file)


if __name__ == "__main__":
    main()
