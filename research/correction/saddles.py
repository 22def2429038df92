"""Ten reactions from end to end on one surface: minima, path, saddle point, and what it connects.

    python -m research.correction.saddles organic-xtb --output docs/saddles.csv

Both ends are relaxed, a nudged elastic band joins them, its highest image climbs to a saddle point,
and the relaxations down from there have to end at the bonds of the reactants and of the products.
Barriers are compared with wB97X-3c and GFN2-xTB at the same two geometries.
"""

from __future__ import annotations

import argparse
import csv
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator
from ase.mep import NEB
from ase.optimize import BFGS, FIRE
from ase.vibrations import VibrationsData

from research.correction.named_reactions import REACTIONS, read
from research.geometries.reaction_saddles import find_saddle
from research.geometries.reaction_surface import Surface, bonded_atoms, descend
from research.truth.reactions import KCAL
from se3set_ase import SE3SetCalculator
from se3set_ase.label import make_labeller

#: Images of the band, and its convergence, eV/Angstrom: its top is only a start.
IMAGES, BAND_FMAX, BAND_STEPS = 11, 0.15, 300
FMAX = 0.02
#: Imaginary wavenumbers of rotations and soft torsions stay below, 1/cm.
NOISE = 50.0
#: Displacement from the saddle point to each side, Angstrom.
SHIFT = 0.1
METHODS = ("wB97X-3c", "GFN2-xTB")


@dataclass(frozen=True, kw_only=True)
class Row:
    """Result of one reaction; barriers in kcal/mol, from the minimum on the reactants' side."""

    reaction: str
    barrier: float | None = None
    wb97x_3c: float | None = None
    gfn2_xtb: float | None = None
    imaginary_modes: int | None = None
    imaginary_wavenumber: float | None = None
    connects: bool = False
    events: str = ""


class CalculatorSurface(Surface):
    """Energy and gradient by an ASE calculator."""

    def __init__(self, atoms: Atoms, calculator: Calculator) -> None:
        super().__init__(atoms.numbers, int(atoms.info["charge"]))
        self.atoms = atoms.copy()
        self.atoms.calc = calculator

    def __call__(self, positions: np.ndarray, *, near: bool = False) -> tuple[float, np.ndarray]:
        """Energy in eV and gradient in eV/Angstrom, (N, 3)."""
        self.atoms.positions = positions
        return self.atoms.get_potential_energy(), -self.atoms.get_forces()


def main() -> None:
    """Search, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--reactions", nargs="+", choices=list(REACTIONS), default=list(REACTIONS))
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    starts = read()
    rows = []
    for name in arguments.reactions:
        try:
            with warnings.catch_warnings():  # about uncertain predictions: here errors are measured
                warnings.simplefilter("ignore", UserWarning)
                row = search(name, *starts[name], SE3SetCalculator(arguments.model))
        except CalculationFailed as error:
            print(f"{name}: {error}")
            row = Row(reaction=name)
        rows.append(asdict(row))
        print(row, flush=True)
    if arguments.output:
        with arguments.output.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def search(name: str, reactants: Atoms, products: Atoms, calculator: SE3SetCalculator) -> Row:
    """The saddle point between two minima, and what it connects.

    Raises
    ------
    CalculationFailed : the baseline of the model failed.
    """
    surface = CalculatorSurface(reactants, calculator)
    ends = [relaxed(atoms, calculator) for atoms in (reactants, products)]
    top, tangent = top_of_band(ends[0], ends[1], calculator)
    found = find_saddle(surface, top, tangent, steps=80, fmax=FMAX, least=0.05)
    if found is None:
        return Row(reaction=name)
    saddle, mode = found
    energy, gradient = surface(saddle)
    hessian = surface.hessian(saddle, gradient)
    sides = [descend(surface, saddle + s * SHIFT * mode.reshape(-1, 3))[0] for s in (-1.0, 1.0)]
    graphs = [graph.bonded for graph in REACTIONS[name].graphs()]
    sides.sort(key=lambda images: distance(bonds(reactants, images[-1]), graphs[0]))
    (down, up), connected = sides, [bonds(reactants, images[-1]) for images in sides]
    start = down[-1]
    barriers = {method: barrier(method, reactants, saddle, start) for method in METHODS}
    modes = imaginary(reactants, saddle, hessian)
    return Row(
        reaction=name,
        barrier=round((energy - surface(start)[0]) / KCAL, 2),
        wb97x_3c=barriers["wB97X-3c"],
        gfn2_xtb=barriers["GFN2-xTB"],
        imaginary_modes=len(modes),
        imaginary_wavenumber=round(float(modes[0]), 1) if len(modes) else None,
        connects=all((c == g).all() for c, g in zip(connected, graphs, strict=True)),
        events=events([*down[::-1], saddle, *up], surface.atoms, calculator),
    )


def relaxed(atoms: Atoms, calculator: Calculator) -> Atoms:
    """The nearest minimum."""
    moving = atoms.copy()
    moving.calc = calculator
    BFGS(moving, logfile=None).run(fmax=FMAX, steps=300)
    return moving


def top_of_band(first: Atoms, last: Atoms, calculator: Calculator) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the highest image, and the unit tangent there, (3N,)."""
    images = [first.copy() for _ in range(IMAGES - 1)] + [last.copy()]
    for image in images:
        image.calc = calculator
    band = NEB(images, allow_shared_calculator=True, method="improvedtangent")
    band.interpolate("idpp")
    FIRE(band, logfile=None).run(fmax=BAND_FMAX, steps=BAND_STEPS)
    energies = [image.get_potential_energy() for image in images[1:-1]]
    top = 1 + int(np.argmax(energies))
    tangent = (images[top + 1].positions - images[top - 1].positions).ravel()
    return images[top].positions.copy(), tangent / np.linalg.norm(tangent)


def bonds(atoms: Atoms, positions: np.ndarray) -> np.ndarray:
    """(N, N) which atoms are close enough for a bond."""
    found = bonded_atoms(atoms.numbers, positions)
    assert found is not None
    return found


def distance(one: np.ndarray, other: np.ndarray) -> int:
    """Number of bonds that differ, twice."""
    return int((one != other).sum())


def barrier(method: str, atoms: Atoms, saddle: np.ndarray, minimum: np.ndarray) -> float:
    """Energy of the saddle point above the minimum, kcal/mol."""
    labeller = make_labeller(method, charge=int(atoms.info["charge"]))
    energies = [labeller(Atoms(atoms.numbers, at)).energy for at in (saddle, minimum)]
    return round((energies[0] - energies[1]) / KCAL, 2)


def imaginary(atoms: Atoms, positions: np.ndarray, hessian: np.ndarray) -> np.ndarray:
    """Wavenumbers of the imaginary modes, 1/cm, the largest first."""
    at = Atoms(atoms.numbers, positions)
    found = VibrationsData.from_2d(at, hessian).get_frequencies().imag
    return np.sort(found[found > NOISE])[::-1]


def events(path: list[np.ndarray], atoms: Atoms, calculator: SE3SetCalculator) -> str:
    """Bonds that break and form on the way, in order."""
    before = len(calculator.events)
    for positions in path:
        atoms.positions = positions
        atoms.get_potential_energy()
    changes = [
        e for e in calculator.events[before + 1 :] if e.kind in ("bond formed", "bond broken")
    ]
    return "; ".join(
        f"{e.kind.removeprefix('bond ')} " + "-".join(f"{atoms.symbols[k]}{k}" for k in e.atoms)
        for e in changes
    )


if __name__ == "__main__":
    main()
