"""Relaxes 25 drugs that are in no training data with three optimisers, then runs MD of each.

    pip install '.[label]'
    python -m research.benchmarks.drugs --processes 2         # hours
    python -m research.benchmarks.drugs runs/organic/model    # another model
    python -m research.benchmarks.drugs --dft                 # also DFT minima of five: an hour

RDKit embeds each molecule (research/organic/drugs.smi) and relaxes it with MMFF94; the lowest of
ten conformers is the start for ASE's optimisers, once on the surface of the model and once on that
of GFN2-xTB. MD at 300 K and 500 K and at constant energy is compiled, in float32. Minima are
compared with those that GFN2-xTB and wB97X/6-31G(d) reach from the minimum of the model, by the
root mean square distance of all atoms after superposition; wB97X/6-31G(d) starts with the Hessian
of the model, which saves most of its steps. Writes drugs.csv; an interrupted run resumes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from ase import Atoms
from ase.build import minimize_rotation_and_translation
from ase.calculators.calculator import Calculator, all_changes
from ase.io import read
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers
from tblite.ase import TBLite
from tqdm import tqdm

from research.benchmarks.machine import about, weights_of
from research.organic.molecules import read_names
from research.paths import DOCS, ORGANIC, RUNS
from research.tables import read_rows, write_rows
from se3set_ase import SE3SetCalculator
from se3set_ase.label.labellers import make_labeller
from se3set_ase.label.protocol import Labeller
from se3set_ase.simulate import DynamicsResult, md, relax

DRUGS = ORGANIC / "drugs.smi"
OPTIMIZERS = ("BFGS", "LBFGS", "FIRE2")
FMAX, STEPS = 0.01, 250
#: Name, kelvin, steps, step (fs), ensemble.
DYNAMICS: tuple[tuple[str, float, int, float, Literal["langevin", "nve"]], ...] = (
    ("50 ps at 300 K", 300.0, 50_000, 1.0, "langevin"),
    ("10 ps at 500 K", 500.0, 10_000, 1.0, "langevin"),
    ("nve", 600.0, 20_000, 0.5, "nve"),  # half of the heat becomes potential energy
)
#: Number of drugs with a minimum by density functional theory (the smallest), and its level.
DFT, DFT_LEVEL = 5, "wB97X/6-31G(d)"


def main() -> None:
    """Measure the drugs that are not in the table, or their minima by density functional theory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="organic")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--dft", action="store_true")
    parser.add_argument("--output", type=Path, default=DOCS / "drugs.csv")
    arguments = parser.parse_args()
    drugs = read_names(DRUGS)
    rows: dict[str, dict[str, object]] = {r["drug"]: dict(r) for r in read_rows(arguments.output)}
    if {row["weights"] for row in rows.values()} - {weights_of(arguments.model)}:
        parser.error(f"expected {arguments.output} to be of this model; give another name")
    job: Callable[[str], dict[str, object]] = partial(measure, model=arguments.model)
    todo = [name for name in drugs if name not in rows]
    if arguments.dft:
        if not rows:
            parser.error(f"expected {arguments.output}: run without --dft first")
        job = partial(dft_minimum, model=arguments.model)
        smallest = sorted(rows, key=lambda name: int(str(rows[name]["atoms"])))[:DFT]
        todo = [name for name in smallest if rows[name].get("rmsd_to_dft_A") in (None, "", "nan")]
    with ProcessPoolExecutor(arguments.processes) as pool:
        jobs = {pool.submit(job, drugs[name]): name for name in todo}
        for done in tqdm(as_completed(jobs), total=len(jobs), disable=None):
            name = jobs[done]
            try:
                rows[name] = {"drug": name, **rows.get(name, {}), **done.result()}
            except Exception as error:  # does not affect the others; tried again next time
                print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
            write_rows(arguments.output, list(rows.values()))
    for optimizer in OPTIMIZERS if rows else ():
        for name in (optimizer, f"GFN2-xTB_{optimizer}"):
            steps = [int(str(row[f"{name}_steps"])) for row in rows.values()]
            n = sum(str(row[f"{name}_converged"]) == "True" for row in rows.values())
            print(f"{name}: {n} of {len(drugs)}, {np.median(steps)} steps (median), {max(steps)}")
    if missing := [name for name in drugs if name not in rows]:
        sys.exit(f"missing: {', '.join(missing)}")


def measure(smiles: str, model: str) -> dict[str, object]:
    """All results of one drug except those by density functional theory."""
    torch.set_num_threads(1)
    start = embedded(smiles)
    row: dict[str, object] = {"model": model, "weights": weights_of(model), "atoms": len(start)}
    for optimizer in OPTIMIZERS:
        atoms = start.copy()
        atoms.calc = SE3SetCalculator(model, device="cpu")
        found = relax(atoms, fmax=FMAX, steps=STEPS, optimizer=optimizer)
        row[f"{optimizer}_converged"] = found.converged
        row[f"{optimizer}_steps"] = found.n_steps
        row[f"{optimizer}_energy_eV"] = found.energy[-1]
        if optimizer == "LBFGS":
            minimum = atoms.copy()
        atoms = start.copy()
        atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
        found = relax(atoms, fmax=FMAX, steps=STEPS, optimizer=optimizer)
        row[f"GFN2-xTB_{optimizer}_converged"] = found.converged
        row[f"GFN2-xTB_{optimizer}_steps"] = found.n_steps
    row["rmsd_to_gfn2_A"] = moved_by(minimum, TBLite(method="GFN2-xTB", verbosity=0))
    for name, kelvin, steps, timestep, ensemble in DYNAMICS:
        atoms = minimum.copy()
        atoms.calc = SE3SetCalculator(model, device="cpu", dtype="float32", compile=True)
        atoms.get_forces()
        before = bonds(atoms)
        result = md(
            atoms,
            temperature_K=kelvin,
            timestep=timestep,
            steps=steps,
            ensemble=ensemble,
            interval=10,
        )
        row[f"{name}: bonds lost"] = len(before - bonds(atoms))
        row[f"{name}: bonds broken on the way"] = broken(result)
        row[f"{name}: mean temperature, K"] = round(float(result.temperature.mean()), 1)
        if ensemble == "nve":
            row["drift_meV_atom_ps"] = result.drift()
    return {**row, **about()}


def dft_minimum(smiles: str, model: str) -> dict[str, object]:
    """Distance of the minimum from that of density functional theory."""
    torch.set_num_threads(1)
    atoms = embedded(smiles)
    atoms.calc = SE3SetCalculator(model, device="cpu")
    relax(atoms, fmax=FMAX, steps=STEPS, optimizer="LBFGS")
    on_the_way = RUNS / "drugs" / f"{atoms.get_chemical_formula()}.traj"
    on_the_way.parent.mkdir(parents=True, exist_ok=True)
    hessian = atoms.calc.get_hessian(atoms)
    labeller = Labelled(make_labeller(DFT_LEVEL))
    distance = moved_by(atoms, labeller, fmax=0.02, trajectory=on_the_way, hessian=hessian)
    return {"rmsd_to_dft_A": distance}


def embedded(smiles: str) -> Atoms:
    """Lowest of ten conformers by MMFF94."""
    rdBase.DisableLog("rdApp.*")
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMultipleConfs(molecule, 10, randomSeed=1)
    relaxed = rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(molecule, maxIters=2000)
    energies = [energy for _, energy in relaxed]
    ids = [conformer.GetId() for conformer in molecule.GetConformers()]
    lowest = molecule.GetConformer(ids[int(np.argmin(energies))])
    return Atoms([atom.GetAtomicNum() for atom in molecule.GetAtoms()], lowest.GetPositions())


def moved_by(
    minimum: Atoms,
    calc: Calculator,
    fmax: float = FMAX,
    trajectory: Path | None = None,
    hessian: np.ndarray | None = None,
) -> float:
    """Root mean square distance (Angstrom) to the minimum that another method relaxes to.

    Resumes from the end of the trajectory if it exists.
    """
    atoms = minimum.copy()
    if trajectory is not None and trajectory.exists() and trajectory.stat().st_size:
        atoms.positions = read(trajectory).positions
    atoms.calc = calc
    found = relax(
        atoms, fmax=fmax, steps=500, optimizer="BFGS", hessian=hessian, trajectory=trajectory
    )
    if not found.converged:
        return float("nan")
    minimize_rotation_and_translation(minimum, atoms)
    return float(np.sqrt(((atoms.positions - minimum.positions) ** 2).sum(axis=1).mean()))


def bonds(atoms: Atoms) -> frozenset[tuple[int, int]]:
    """Bonds with a weight above one half."""
    return frozenset(atoms.calc.hypergraph.decided_bonds)


def broken(result: DynamicsResult) -> int:
    """Number of bonds broken during the run."""
    return sum(event.kind == "bond broken" for event in result.events)


class Labelled(Calculator):
    """A labeller as an ASE calculator."""

    implemented_properties = ("energy", "forces")

    def __init__(self, labeller: Labeller):
        super().__init__()
        self.labeller = labeller

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        """Calculate energy and forces."""
        super().calculate(atoms, properties, system_changes)
        label = self.labeller(self.atoms)
        self.results = {"energy": label.energy, "forces": label.forces}


if __name__ == "__main__":
    main()
