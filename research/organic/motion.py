"""Molecules displaced from their minima: along normal modes, hot, turned and stretched."""

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
#: Displacements of each conformer, at temperatures between.
PER_CONFORMER, MODES_K = 3, (150.0, 1200.0)
HOT_K, HOT_FRAMES, STRIDE, EQUILIBRATION = 800.0, 8, 15, 50  # steps of 1 fs
TURNED, STRETCHED = 5, 3
#: Softest modes that are moved along, in (eV/Angstrom^2/u): softer ones are torsions.
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
        """All that there is."""
        super().calculate(atoms, properties, system_changes)
        energy, gradient = self.evaluate(self.atoms.positions.ravel())
        self.results = {"energy": energy, "forces": -gradient.reshape(-1, 3)}

    def evaluate(self, flat: np.ndarray) -> tuple[float, np.ndarray]:
        """Energy (eV) and its gradient (eV/Angstrom) at positions (3N,)."""
        # The energy first: without it the gradient has the distances of an earlier call in it.
        energy = self.field.CalcEnergy(flat.tolist())
        return KCAL * energy, KCAL * np.array(self.field.CalcGrad(flat.tolist()))


def along_modes(molecule: Chem.Mol, conformer: int, rng: np.random.Generator) -> Iterator[Atoms]:
    """Of a conformer, by the force field."""
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
    """Classical harmonic displacements at random temperatures (as of ANI-1, arXiv:1610.08935).

    Of a minimum, along the modes of the gradient (eV/Angstrom) of flat positions, between two
    temperatures (K).
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
    """Frames of a short run."""
    dynamics = langevin(atoms, method, HOT_K, 0.02 / units.fs, rng)
    try:
        dynamics.run(EQUILIBRATION)
        for _ in range(HOT_FRAMES):
            dynamics.run(STRIDE)
            yield Atoms(atoms.numbers, atoms.positions)
    except CalculationFailed:  # of the method, where atoms hit each other
        return


def langevin(
    atoms: Atoms, method: Calculator, kelvin: float, friction: float, rng: np.random.Generator
) -> Langevin:
    """From a minimum, whose bonds take half of the energy of the first momenta."""
    atoms.calc = method
    thermalize_momenta(atoms, temperature_K=2 * kelvin, rng=rng)
    return Langevin(
        atoms,
        1.0 * units.fs,
        temperature_K=kelvin,
        friction=friction,
        fixcm=False,  # ASE's own is not quite right
        rng=rng,
    )


def turned(molecule: Chem.Mol, rng: np.random.Generator) -> Iterator[Atoms]:
    """Torsions at random, a little relaxed: from the maxima between conformers."""
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
    """One bond outside rings, up to twice as long; its ends move as they are."""
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
