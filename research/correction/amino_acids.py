"""Amino acids in their charge states: a model against wB97X-3c.

    python -m research.correction.amino_acids organic-xtb --output docs/amino_acids.csv

Each system is relaxed with the model, then from there with wB97X-3c. ``rmsd`` is the distance
between both minima after alignment, ``strain`` the energy of the model's geometry above the minimum
of wB97X-3c, by wB97X-3c: both are zero for a model that is the same. Glycine in six waters starts
as zwitterion and as neutral molecule, and the energies between both are compared. In the gas, the
zwitterion has to transfer its proton, as it does by wB97X-3c.

Relaxations are kept in runs/amino_acids; an interrupted run resumes with its last geometry. By
wB97X-3c those with waters take hours.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import minimize_rotation_and_translation
from ase.calculators.calculator import Calculator
from ase.io import read, write
from rdkit import Chem

from research.benchmarks.machine import about
from research.geometries.bonding import perceived
from research.geometries.clusters import assembled
from research.labels.calculator import LabelCalculator
from research.organic.geometry import as_atoms, embedded_once
from research.paths import RUNS
from research.tables import write_rows
from research.truth.reactions import KCAL
from se3set_ase import SE3SetCalculator
from se3set_ase.simulate import relax

METHOD = "wB97X-3c"
WATERS = ".".join(["O"] * 6)
ZWITTERION, NEUTRAL = "[NH3+]CC(=O)[O-]", "NCC(=O)O"
#: SMILES of each system.
SYSTEMS = {
    "glycine zwitterion, gas": ZWITTERION,
    "alanine, protonated": "C[C@@H](C(=O)O)[NH3+]",
    "alanine, deprotonated": "C[C@@H](C(=O)[O-])N",
    "glycine zwitterion, 6 waters": f"{ZWITTERION}.{WATERS}",
    "glycine, 6 waters": f"{NEUTRAL}.{WATERS}",
}
FMAX = {"model": 0.01, METHOD: 0.03}
SEED = 1


def main() -> None:
    """Relax, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    calculator = SE3SetCalculator(arguments.model, device="cpu")
    exact = LabelCalculator(METHOD)
    folder = RUNS / "amino_acids" / calculator.potential.metadata.name
    folder.mkdir(parents=True, exist_ok=True)
    rows, energies = [], {}
    for name in arguments.systems:
        found = relaxed(start(name), calculator, folder / f"{name} model.xyz", FMAX["model"])
        found.calc = calculator
        hessian = calculator.get_hessian(found)
        own = found.get_potential_energy()
        strained = found.copy()
        strained.calc = exact
        best = relaxed(found, exact, folder / f"{name} {METHOD}.xyz", FMAX[METHOD], hessian)
        best.calc = exact
        energies[name] = own, best.get_potential_energy()
        rows.append(
            {
                "system": name,
                "model": calculator.potential.metadata.name,
                "rmsd_A": round(rmsd(found, best), 3),
                "strain_kcal_mol": round(
                    (strained.get_potential_energy() - energies[name][1]) / KCAL, 2
                ),
                "molecules_model": perceived(found.numbers, found.positions),
                "molecules_wb97x_3c": perceived(best.numbers, best.positions),
                **about(),
            }
        )
        print(rows[-1], flush=True)
    names = [name for name in energies if name.endswith("6 waters")]
    if len(names) == 2:
        one, other = (np.array(energies[name]) for name in names)
        own, exact_difference = (one - other) / KCAL
        print(f"zwitterion - neutral: {own:.2f}, {METHOD} {exact_difference:.2f} kcal/mol")
    if arguments.output:
        write_rows(arguments.output, rows, line_end="\n")


def start(name: str) -> Atoms:
    """A first geometry: of the force field, with waters one after another where they fit best."""
    molecules = [embedded_once(smiles) for smiles in SYSTEMS[name].split(".")]
    charges = [Chem.GetFormalCharge(molecule) for molecule in molecules]
    parts = [as_atoms(molecule, 0) for molecule in molecules]
    atoms = assembled(parts, charges, np.random.default_rng(SEED))
    atoms.info = {"charge": sum(charges)}
    return atoms


def relaxed(
    atoms: Atoms,
    calculator: Calculator,
    path: Path,
    fmax: float,
    hessian: np.ndarray | None = None,
) -> Atoms:
    """The minimum in a file, or one that is found and written."""
    done = path.with_suffix(".done")
    moving = read(path) if path.exists() else atoms.copy()
    moving.info = dict(atoms.info)
    if not done.exists():
        moving.calc = calculator
        relax(
            moving,
            fmax=fmax,
            hessian=hessian,
            progress=lambda _: write(path, moving),
        )
        write(path, moving)
        done.touch()
    return Atoms(moving.numbers, moving.positions, info=dict(atoms.info))


def rmsd(one: Atoms, other: Atoms) -> float:
    """Root mean square distance of the atoms after alignment, Angstrom."""
    moved = one.copy()
    minimize_rotation_and_translation(other, moved)
    return float(np.sqrt(np.square(moved.positions - other.positions).sum(1).mean()))


if __name__ == "__main__":
    main()
