"""Displaces molecules from minima: normal modes, hot runs, torsions and stretched bonds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import CalculationFailed, Calculator
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from rdkit import Chem
from rdkit.Chem import rdForceFieldHelpers, rdMolTransforms

from research.organic.geometry import as_atoms

KCAL = units.kcal / units.mol
#: Number of displacements of each conformer, and range of temperatures.
PER_CONFORMER, MODES_K = 3, (150.0, 1200.0)
HOT_K, HOT_FRAMES, STRIDE, EQUILIBRATION = 800.0, 8, 15, 50  # steps of 1 fs
TURNED, STRETCHED = 5, 3
#: eV/Angstrom^2/u. Softer modes, which are torsions, are not used.
SOFTEST = 0.02
TORSION = Chem.MolFromSmarts("*~[!#1]-!@[!#1]~*")
BOND = Chem.MolFromSmarts("*-!@*")


class MMFF94(Calculator):
    """RDKit's force field of a molecule, for ASE."""

    implemented_properties = ("energy", "forces")

    def __init__(self, molecule: Chem.Mol, conformer: int = -1):
        super().__init__()
        properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(molecule)
        self.field = rdForceFieldHelpers.MMFFGetMoleculeForceField(
            molecule, properties, confId=conformer
        )

    def calculate(self, atoms=None, properties=(), system_changes=()):  # type: ignore[no-untyped-def]
        """Calculate energy and forces."""
        super().calculate(atoms, properties, system_changes)
        energy, gradient = self.evaluate(self.atoms.positions.ravel())
        self.results = {"energy": energy, "forces": -gradient.reshape(-1, 3)}

    def evaluate(self, flat: np.ndarray) -> tuple[float, np.ndarray]:
        """Energy (eV) and its gradient (eV/Angstrom) at positions (3N,)."""
        # Energy first: otherwise RDKit computes the gradient with distances of an earlier call.
        energy = self.field.CalcEnergy(flat.tolist())
        return KCAL * energy, KCAL * np.array(self.field.CalcGrad(flat.tolist()))


def along_modes(molecule: Chem.Mol, conformer: int, rng: np.random.Generator) -> Iterator[Atoms]:
    """Displace a conformer along its normal modes in the force field."""
    method = MMFF94(molecule, conformer)
    start = Atoms(
        [atom.GetAtomicNum() for atom in molecule.GetAtoms()],
        molecule.GetConformer(conformer).GetPositions(),
    )
    return displaced(start, lambda flat: method.evaluate(flat)[1], MODES_K, PER_CONFORMER, rng)


def displaced(
    atoms: Atoms,
    gradient: Callable[[np.ndarray], np.ndarray],
    between: tuple[float, float],
    number: int,
    rng: np.random.Generator,
) -> Iterator[Atoms]:
    """Classical harmonic displacements at random temperatures, as in ANI-1 (arXiv:1610.08935).

    Parameters
    ----------
    atoms : a minimum.
    gradient : function of flat positions (3N,), eV/Angstrom.
    between : range of temperatures, K.
    """
    step, flat = 1e-3, atoms.positions.ravel()
    rows = []
    for k in range(flat.size):
        ends = []
        for sign in (1.0, -1.0):
            moved = flat.copy()
            moved[k] += sign * step
            ends.append(gradient(moved))
        rows.append((ends[0] - ends[1]) / (2.0 * step))
    weight = np.repeat(atoms.get_masses(), 3) ** -0.5
    hessian = 0.5 * (np.array(rows) + np.array(rows).T) * np.outer(weight, weight)
    stiffness, modes = np.linalg.eigh(hessian)
    modes, stiffness = modes[:, stiffness > SOFTEST], stiffness[stiffness > SOFTEST]
    for _ in range(number):
        width = np.sqrt(units.kB * rng.uniform(*between) / stiffness)
        shift = weight * (modes @ (width * rng.standard_normal(len(width))))
        yield Atoms(atoms.numbers, atoms.positions + shift.reshape(-1, 3))


def hot(atoms: Atoms, method: Calculator, rng: np.random.Generator) -> Iterator[Atoms]:
    """Frames of a short run at high temperature."""
    dynamics = langevin(atoms, method, HOT_K, 0.02 / units.fs, rng)
    try:
        dynamics.run(EQUILIBRATION)
        for _ in range(HOT_FRAMES):
            dynamics.run(STRIDE)
            yield Atoms(atoms.numbers, atoms.positions)
    except CalculationFailed:  # atoms collide
        return


def langevin(
    atoms: Atoms, method: Calculator, kelvin: float, friction: float, rng: np.random.Generator
) -> Langevin:
    """Langevin dynamics from a minimum; half of the initial kinetic energy becomes potential."""
    atoms.calc = method
    thermalize_momenta(atoms, temperature_K=2 * kelvin, rng=rng)
    return Langevin(
        atoms,
        1.0 * units.fs,
        temperature_K=kelvin,
        friction=friction,
        fixcm=False,  # ASE's correction does not sample the canonical ensemble
        rng=rng,
    )


def turned(molecule: Chem.Mol, rng: np.random.Generator) -> Iterator[Atoms]:
    """Set random torsions and relax for a few steps, often to the region of a barrier."""
    torsions = molecule.GetSubstructMatches(TORSION)
    for _ in range(TURNED if torsions else 0):
        copy = Chem.Mol(molecule)
        for i, j, k, l in torsions:  # noqa: E741
            angle = rng.uniform(0, 360)
            rdMolTransforms.SetDihedralDeg(copy.GetConformer(), i, j, k, l, angle)
        rdForceFieldHelpers.MMFFOptimizeMolecule(copy, maxIters=int(rng.integers(5, 30)))
        atoms = as_atoms(copy, 0)
        atoms.positions += 0.03 * rng.standard_normal(atoms.positions.shape)
        yield atoms


def stretched(molecule: Chem.Mol, rng: np.random.Generator) -> Iterator[Atoms]:
    """Stretch one bond outside rings up to twice its length; both sides move rigidly."""
    bonds = molecule.GetSubstructMatches(BOND)
    for _ in range(STRETCHED if bonds else 0):
        copy = Chem.Mol(molecule)
        one, other = map(int, bonds[rng.integers(len(bonds))])
        length = rdMolTransforms.GetBondLength(copy.GetConformer(), one, other)
        rdMolTransforms.SetBondLength(
            copy.GetConformer(), one, other, length * rng.uniform(0.85, 1.9)
        )
        atoms = as_atoms(copy, 0)
        atoms.positions += 0.04 * rng.standard_normal(atoms.positions.shape)
        yield atoms
