"""Optimisation steps of a more expensive method that starts from the minimum of the model.

    pip install '.[label]'
    python -m research.benchmarks.handover          # GFN2-xTB, 25 drugs: minutes
    python -m research.benchmarks.handover --dft    # also wB97X/6-31G(d), the five smallest: hours

BFGS converges forces to 0.02 eV/Angstrom: from the MMFF94 geometry (GFN2-xTB only), from the
minimum of the model, and from there with the Hessian of the model. Writes handover.csv, with an
empty cell if 500 steps are not enough; an interrupted run resumes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator
from tblite.ase import TBLite
from tqdm import tqdm

from research.benchmarks.drugs import DFT, DFT_LEVEL, DRUGS, FMAX, Labelled, embedded
from research.benchmarks.machine import about, weights_of
from research.organic.molecules import read_names
from research.paths import DOCS
from research.tables import read_rows, write_rows
from se3set_ase import SE3SetCalculator
from se3set_ase.label.labellers import make_labeller
from se3set_ase.simulate import relax

#: Convergence criterion of the more expensive method: largest force, eV/Angstrom.
ENOUGH = 0.02
WAYS = ("from MMFF94", "from the model", "with its Hessian")


def main() -> None:
    """Measure each drug with each method, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="organic")
    parser.add_argument("--dft", action="store_true")
    parser.add_argument("--output", type=Path, default=DOCS / "handover.csv")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    weights = weights_of(arguments.model)
    rows: list[dict[str, object]] = [dict(row) for row in read_rows(arguments.output)]
    if {row["weights"] for row in rows} - {weights}:
        parser.error(f"expected {arguments.output} to be of this model; give another name")
    drugs = read_names(DRUGS)
    starts = sorted(
        ((name, embedded(smiles)) for name, smiles in drugs.items()), key=lambda it: len(it[1])
    )
    todo = [("GFN2-xTB", *start) for start in starts]
    if arguments.dft:
        todo += [(DFT_LEVEL, *start) for start in starts[:DFT]]
    done = {(row["method"], row["drug"]) for row in rows}
    for method, name, start in tqdm([it for it in todo if it[:2] not in done], disable=None):
        found = steps(method, start, SE3SetCalculator(arguments.model, device="cpu"))
        row = {"method": method, "drug": name, "atoms": len(start), **found, "weights": weights}
        rows.append({**row, **about()})
        write_rows(arguments.output, rows)
    for method in dict.fromkeys(str(row["method"]) for row in rows):
        for way in WAYS:
            taken = [int(str(row[way])) for row in rows if row["method"] == method and row[way]]
            if taken:
                summary = f"{np.median(taken):.0f} steps (median), {max(taken)} at most"
                print(f"{method}, {way}: {summary}, {len(taken)} drugs")


def steps(method: str, start: Atoms, model: SE3SetCalculator) -> dict[str, object]:
    """Number of steps of each way, or None if it does not converge."""
    minimum = start.copy()
    minimum.calc = model
    relax(minimum, fmax=FMAX)
    ways = {"from the model": (minimum, None), "with its Hessian": (minimum, model.get_hessian())}
    if method == "GFN2-xTB":
        ways = {"from MMFF94": (start, None), **ways}
    found: dict[str, object] = dict.fromkeys(WAYS)
    for way, (begin, hessian) in ways.items():
        atoms = begin.copy()
        atoms.calc = calculator(method)
        result = relax(atoms, fmax=ENOUGH, optimizer="BFGS", hessian=hessian)
        found[way] = result.n_steps if result.converged else None
    return found


def calculator(method: str) -> Calculator:
    """Calculator of the more expensive method."""
    if method == "GFN2-xTB":
        return TBLite(method=method, verbosity=0)
    return Labelled(make_labeller(method))


if __name__ == "__main__":
    main()
