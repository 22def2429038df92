"""Errors of `organic` against density functional theory, with GFN2-xTB beside it.

    pip install '.[label]'
    python benchmarks/organic.py                       # minutes on one core
    python benchmarks/organic.py runs/organic/model    # another model

The labels (models/organic/data) are those of molecules that no training saw: geometries of all
kinds, conformers and torsions; and of dimers, whose halves (water, methane, benzene, ...) it may
have seen, other pairs of them too. models/organic/references.py tells how they were made.
Writes organic.csv, and organic_torsions.png and organic_dimers.png with every curve.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.io import read
from machine import about, write_rows
from matplotlib.figure import Figure
from scipy.interpolate import CubicSpline
from tblite.ase import TBLite
from tqdm import tqdm

from se3set_ase import SE3SetCalculator
from se3set_ase.files import unpacked

ROOT = Path(__file__).parents[1]
DATA = ROOT / "models" / "organic" / "data"
KCAL = units.kcal / units.mol
#: Points on a curve, to find its minimum between those that were calculated.
FINE = 2001
#: eV: less than this is bound, and not a wiggle of the curve between points.
BOUND = -0.02 * KCAL


class Family(NamedTuple):
    """Geometries of one molecule, and their energies (eV) by one method and another."""

    smiles: str
    frames: list[Atoms]
    reference: np.ndarray
    found: np.ndarray


def main() -> None:
    """Everything, by the model and by GFN2-xTB."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="organic")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--output", type=Path, default=ROOT / "docs")
    arguments = parser.parse_args()
    calculators = {
        arguments.model: SE3SetCalculator(arguments.model, device="cpu"),
        "GFN2-xTB": TBLite(method="GFN2-xTB", verbosity=0),
    }
    columns = {name: column(calc, arguments.data) for name, calc in calculators.items()}
    quantities = dict.fromkeys(key for values in columns.values() for key in values)
    rows = [
        {"quantity": q, **{name: values.get(q) for name, values in columns.items()}, **about()}
        for q in quantities
    ]
    write_rows(arguments.output / "organic.csv", rows)
    for row in rows:
        print(row["quantity"], *(f"{name} {row[name]:.4g}" for name in columns))
    for kind, along in (("torsions", "angle"), ("dimers", "shift")):
        found = {name: families(calc, arguments.data, kind) for name, calc in calculators.items()}
        draw(found, along, arguments.output / f"organic_{kind}.png")


def column(calc: Calculator, data: Path) -> dict[str, float]:
    """All that is measured of one method, by name with its unit."""
    return {
        **forces(calc, frames_of(data, "test")),
        **conformers(families(calc, data, "conformers")),
        **torsions(families(calc, data, "torsions")),
        **dimers(families(calc, data, "dimers")),
    }


def frames_of(data: Path, name: str) -> list[Atoms]:
    """Labelled."""
    return read(unpacked(data / f"{name}.xyz.gz"), ":", format="extxyz")


def families(calc: Calculator, data: Path, name: str) -> list[Family]:
    """Each molecule with all of its geometries."""
    found = []
    for smiles, group in groupby(frames_of(data, name), key=lambda atoms: atoms.info["smiles"]):
        frames = list(group)
        reference = np.array([atoms.get_potential_energy() for atoms in frames])
        found.append(Family(smiles, frames, reference, energies(calc, frames)))
    return found


def energies(calc: Calculator, frames: Sequence[Atoms]) -> np.ndarray:
    """Of other calculators, eV."""
    return np.array([results(calc, atoms)[0] for atoms in frames])


def results(calc: Calculator, atoms: Atoms) -> tuple[float, np.ndarray]:
    """Energy and forces, without touching the labels."""
    bare = Atoms(atoms.numbers, atoms.positions)
    bare.calc = calc
    return bare.get_potential_energy(), bare.get_forces()


def forces(calc: Calculator, frames: Sequence[Atoms]) -> dict[str, float]:
    """Mean absolute errors of components, also by kind of geometry and by element."""
    numbers, kinds, errors = [], [], []
    for atoms in tqdm(frames, "forces", disable=None):
        errors.append(np.abs(results(calc, atoms)[1] - atoms.get_forces()))
        numbers.append(atoms.numbers)
        kinds.append(np.full(len(atoms), atoms.info["kind"]))
    error = 1000 * np.concatenate(errors).mean(axis=1)
    kind, symbol = np.concatenate(kinds), np.concatenate(numbers)
    found = {"forces, MAE, meV/A": error.mean()}
    for name in np.unique(kind):
        found[f"forces, MAE, meV/A: {name}"] = error[kind == name].mean()
    for z in np.unique(symbol):
        found[f"forces, MAE, meV/A: {Atoms([z]).symbols}"] = error[symbol == z].mean()
    return found


def conformers(found: Sequence[Family]) -> dict[str, float]:
    """Energies relative to the conformer that is lowest by the reference; that one not counted."""
    errors = []
    for family in found:
        lowest = int(family.reference.argmin())
        error = (family.found - family.found[lowest]) - (
            family.reference - family.reference[lowest]
        )
        errors.append(np.delete(error, lowest))
    return {"conformers, MAE, kcal/mol": float(np.abs(np.concatenate(errors)).mean() / KCAL)}


def torsions(found: Sequence[Family]) -> dict[str, float]:
    """Highest less lowest energy of each turn."""
    errors = np.array([np.ptp(f.found) - np.ptp(f.reference) for f in found]) / KCAL
    return {
        "torsional barriers, MAE, kcal/mol": float(np.abs(errors).mean()),
        "torsional barriers, largest error, kcal/mol": float(np.abs(errors).max()),
    }


def dimers(found: Sequence[Family]) -> dict[str, float]:
    """Binding energy relative to the largest distance, and where it is deepest."""
    deep, where = [], []
    for family in found:
        (x, depth), (x_reference, depth_reference) = (
            minimum(family, values) for values in (family.found, family.reference)
        )
        deep.append((depth - depth_reference) / KCAL)
        where.append(x - x_reference)
    return {
        "dimers bound": float(sum(minimum(f, f.found)[1] < BOUND for f in found)),
        "dimers bound by the reference": float(
            sum(minimum(f, f.reference)[1] < BOUND for f in found)
        ),
        "dimers, binding energy, MAE, kcal/mol": float(np.abs(deep).mean()),
        "dimers, distance, largest error, A": float(np.abs(where).max()),
        "dimers that repel when pushed together": float(sum(map(repels, found))),
    }


def minimum(family: Family, values: np.ndarray) -> tuple[float, float]:
    """Shift (Angstrom) and energy (eV, to the farthest) of the lowest point of a curve."""
    shifts = np.array([atoms.info["shift"] for atoms in family.frames])
    fine = np.linspace(shifts[0], shifts[-1], FINE)
    curve = CubicSpline(shifts, values - values[-1])(fine)
    return float(fine[curve.argmin()]), float(curve.min())


def repels(family: Family) -> bool:
    """The energy falls on the way from the shortest distance to the minimum."""
    lowest = int(family.found.argmin())
    return lowest > 0 and bool((np.diff(family.found[: lowest + 1]) < 0).all())


def draw(found: dict[str, list[Family]], along: str, path: Path) -> None:
    """Each curve with its reference."""
    first = next(iter(found.values()))
    figure = Figure(figsize=(15, 6), layout="constrained")
    for k, axes in enumerate(figure.subplots(2, 5).ravel()[: len(first)]):
        x = [atoms.info[along] for atoms in first[k].frames]
        zero = (lambda e: e - e[-1]) if along == "shift" else (lambda e: e - e.min())
        axes.plot(x, zero(first[k].reference) / KCAL, "k-", label="wB97X/6-31G(d)")
        for name, style in zip(found, styles(), strict=False):
            axes.plot(x, zero(found[name][k].found) / KCAL, style, label=name)
        axes.set_title(first[k].smiles, fontsize=9)
        axes.set_xlabel("angle, degrees" if along == "angle" else "shift, Å")
        axes.spines[["top", "right"]].set_visible(False)
        if along == "shift":
            deepest = (first[k].reference - first[k].reference[-1]).min() / KCAL
            axes.set_ylim(2 * deepest, -3 * deepest)
    figure.axes[0].legend(fontsize=7)
    figure.supylabel("kcal/mol")
    figure.savefig(path, dpi=120)


def styles() -> Iterator[str]:
    """Of the methods."""
    yield from ("o-", "s--")


if __name__ == "__main__":
    main()
