"""Errors of energies and forces of organic molecules, by kind of molecule and of atom."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from rdkit import Chem
from scipy.interpolate import CubicSpline
from tqdm import tqdm

from research.organic.fragments import environments, names_in
from research.organic.molecules import read_molecules
from research.paths import ORGANIC
from se3set_ase import SE3SetCalculator
from se3set_ase.io.extended_xyz import frames_of_file

DATA = ORGANIC / "data"
KCAL = units.kcal / units.mol
#: Groups of molecules by their number of atoms.
SIZES = {"up to 12 atoms": (0, 12), "13 to 24 atoms": (13, 24), "25 and more": (25, 1000)}
#: Start of the names of errors of forces.
FORCES = "forces, MAE, meV/A"
#: Number of interpolated points on a curve, for its minimum.
FINE = 2001
#: eV. A dimer with a deeper minimum is bound; shallower ones may come from the interpolation.
BOUND = -0.02 * KCAL


class Family(NamedTuple):
    """Geometries of one molecule with energies (eV) by the reference and by a method."""

    smiles: str
    frames: list[Atoms]
    reference: np.ndarray
    found: np.ndarray


def column(calc: Calculator, data: Path) -> dict[str, float]:
    """All errors of one method, by name with unit."""
    found = forces(calc, data)
    for measure in (conformers, torsions, dimers):
        if curves := families(calc, data, measure.__name__):
            found |= measure(curves)
    return found


def frames_of(data: Path, name: str) -> list[Atoms]:
    """Labelled frames; none if the file does not exist yet."""
    if not (data / f"{name}.xyz.gz").exists():
        return []
    return list(frames_of_file(data / f"{name}.xyz.gz"))


def families(calc: Calculator, data: Path, name: str) -> list[Family]:
    """Molecules of a file, each with all of its geometries."""
    found = []
    for smiles, group in groupby(frames_of(data, name), key=lambda atoms: atoms.info["smiles"]):
        frames = list(group)
        reference = np.array([atoms.get_potential_energy() for atoms in frames])
        found.append(Family(smiles, frames, reference, energies(calc, frames)))
    return found


def energies(calc: Calculator, frames: Sequence[Atoms]) -> np.ndarray:
    """Energies by a calculator, eV."""
    return np.array([results(calc, atoms)[0] for atoms in frames])


def results(calc: Calculator, atoms: Atoms) -> tuple[float, np.ndarray]:
    """Energy and forces of a copy, so that the labels stay."""
    bare = Atoms(atoms.numbers, atoms.positions)
    bare.calc = calc
    return bare.get_potential_energy(), bare.get_forces()


def forces(calc: Calculator, data: Path) -> dict[str, float]:
    """Mean absolute errors of force components, by group of atoms."""
    frames = held_out(data)
    errors = [
        np.abs(results(calc, atoms)[1] - atoms.get_forces()).mean(axis=1)
        for atoms in tqdm(frames, "forces", disable=None)
    ]
    error = 1000 * np.concatenate(errors)
    names = [own for groups in groups_of(frames, data) for own in groups]
    return {
        f"{FORCES}: {name}": error[[name in own for own in names]].mean()
        for name in sorted({name for own in names for name in own})
    }


def held_out(data: Path) -> list[Atoms]:
    """Geometries that forces are measured on."""
    return [*frames_of(data, "test"), *frames_of(data, "drugs")]


def groups_of(frames: Sequence[Atoms], data: Path) -> list[list[tuple[str, ...]]]:
    """Groups of each atom of each geometry; atoms of drugs have no other group.

    The environment of an atom (of a hydrogen: of the atom that it is bound to) is all within two
    bonds; it is known if a training molecule has the same.
    """
    kind_of = {row["smiles"]: row["kind"] for row in read_molecules()}
    trained = {atoms.info["smiles"] for atoms in frames_of(data, "train")}
    seen = set().union(*(names_in(Chem.MolFromSmiles(smiles)) for smiles in trained))
    found = []
    for atoms in frames:
        drug = atoms.info["kind"] == "drug"
        kind = "drug" if drug else kind_of[atoms.info["smiles"]]
        (size,) = (name for name, (a, b) in SIZES.items() if a <= len(atoms) <= b)
        all_of_it = ("all", f"geometries: {atoms.info['kind']}", size, f"molecules: {kind}")
        found.append(
            [
                (*all_of_it, f"element {z}", *known(name, seen)) if kind != "drug" else ("drugs",)
                for z, name in zip(atoms.symbols, names_around(atoms), strict=True)
            ]
        )
    return found


def counts(data: Path) -> dict[str, str]:
    """Numbers of geometries and molecules behind each error, by name or its first word."""
    frames = held_out(data)
    of: dict[str, list[Atoms]] = {}
    for atoms, groups in zip(frames, groups_of(frames, data), strict=True):
        for name in {name for own in groups for name in own}:
            of.setdefault(f"{FORCES}: {name}", []).append(atoms)
    for name, word in (("conformers",) * 2, ("torsions", "torsional"), ("dimers",) * 2):
        of[word] = frames_of(data, name)
    molecules = {word: len({atoms.info["smiles"] for atoms in those}) for word, those in of.items()}
    return {word: f"{len(of[word])} geometries of {molecules[word]}" for word in of}


def names_around(atoms: Atoms) -> list[str]:
    """Environment of each atom; that of a hydrogen is that of the atom that it is bound to.

    Empty where atoms are in another order than in the SMILES, as in those of SPICE.
    """
    molecule = Chem.AddHs(Chem.MolFromSmiles(atoms.info["smiles"]))
    if [atom.GetAtomicNum() for atom in molecule.GetAtoms()] != atoms.numbers.tolist():
        return [""] * len(atoms)
    names = environments(molecule)
    neighbors = (atom.GetNeighbors()[0].GetIdx() for atom in molecule.GetAtoms())
    return [names.get(i, names.get(k, "")) for i, k in enumerate(neighbors)]


def known(name: str, seen: set[str]) -> list[str]:
    """Group by whether the training had the environment, if it is known."""
    return [f"environments {'seen' if name in seen else 'not seen'}"] if name else []


def beyond(calc: SE3SetCalculator, data: Path) -> list[str]:
    """Shares of test errors beyond one, two and three uncertainties, in words."""
    forces, energies = [], []
    for atoms in frames_of(data, "test"):
        energy, force = results(calc, atoms)
        off = np.linalg.norm(force - atoms.get_forces(), axis=1)
        forces.append(off / calc.forces_uncertainty)
        energies.append(abs(energy - atoms.get_potential_energy()) / calc.energy_uncertainty)
    texts = []
    for shares in (np.concatenate(forces), np.array(energies)):
        one, two, three = (f"{100 * np.mean(shares > times):.0f} %" for times in (1, 2, 3))
        texts.append(
            f"{one} exceed the uncertainty, {two} twice and {three} three times the uncertainty"
        )
    return texts


def conformers(found: Sequence[Family]) -> dict[str, float]:
    """Error of energies relative to the lowest conformer of the reference, without that one."""
    errors = []
    for family in found:
        lowest = int(family.reference.argmin())
        error = (family.found - family.found[lowest]) - (
            family.reference - family.reference[lowest]
        )
        errors.append(np.delete(error, lowest))
    return {"conformers, MAE, kcal/mol": float(np.abs(np.concatenate(errors)).mean() / KCAL)}


def torsions(found: Sequence[Family]) -> dict[str, float]:
    """Errors of barriers (highest minus lowest energy) and of profiles relative to their mean."""
    errors = np.array([np.ptp(f.found) - np.ptp(f.reference) for f in found]) / KCAL
    shapes = [f.found - f.found.mean() - (f.reference - f.reference.mean()) for f in found]
    return {
        "torsional profiles, RMSE, kcal/mol": float(np.std(np.concatenate(shapes)) / KCAL),
        "torsional barriers, MAE, kcal/mol": float(np.abs(errors).mean()),
        "torsional barriers, largest error, kcal/mol": float(np.abs(errors).max()),
    }


def dimers(found: Sequence[Family]) -> dict[str, float]:
    """Errors of binding energies, relative to separate molecules, and of their distances."""
    pairs = [(minimum(f, f.found), minimum(f, f.reference)) for f in found]
    depths = np.array([depth - reference for (_, depth), (_, reference) in pairs])
    both = [(x, y) for (x, a), (y, b) in pairs if a < BOUND and b < BOUND]
    return {
        "dimers that are bound, or not, as by the reference": float(
            sum((a < BOUND) == (b < BOUND) for (_, a), (_, b) in pairs)
        ),
        "dimers bound by both": float(len(both)),
        "dimers, binding energy, MAE, kcal/mol": float(np.abs(depths).mean() / KCAL),
        "dimers bound by both, distance, largest error, A": max(
            (abs(x - y) for x, y in both), default=float("nan")
        ),
        "dimers that repel when pushed together": float(sum(map(repels, found))),
    }


def minimum(family: Family, values: np.ndarray) -> tuple[float, float]:
    """Shift (Angstrom) and energy (eV) of the lowest point; the last frame is that far apart."""
    shifts = np.array([atoms.info["shift"] for atoms in family.frames[:-1]])
    fine = np.linspace(shifts[0], shifts[-1], FINE)
    curve = CubicSpline(shifts, values[:-1] - values[-1])(fine)
    return float(fine[curve.argmin()]), float(curve.min())


def repels(family: Family) -> bool:
    """Whether a compressed dimer repels, monotonically, by over half of the reference."""
    lowest = int(family.found[:-1].argmin())
    pushed, reference = (e[0] - e[-1] for e in (family.found, family.reference))
    falls = bool((np.diff(family.found[: lowest + 1]) < 0).all())
    return lowest > 0 and falls and pushed > 0.5 * reference > 0.0
