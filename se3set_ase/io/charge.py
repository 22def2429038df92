"""Finds the charge that the bonds of a molecule indicate, if it declares none."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from ase import Atoms
from ase.neighborlist import natural_cutoffs, neighbor_list

if TYPE_CHECKING:
    from rdkit.Chem import RWMol

#: Charges that are tried, the most likely first.
CHARGES = (-1, 1, -2, 2, -3, 3)
#: Limits to the number of atoms and of resonance structures that are examined.
LARGEST, STRUCTURES = 200, 2000
#: Atoms closer than this multiple of the sum of their covalent radii overlap.
OVERLAP = 0.5

Bonds = tuple[tuple[int, int], ...]
"""Pairs of bonded atoms, sorted."""


def charge_that_fits(atoms: Atoms, *, broken: bool = True) -> int | None:
    """Find the charge that fits the bonds of a molecule if these do not fit a neutral one.

    RDKit perceives the bonds (Y. Kim and W. Y. Kim, Bull. Korean Chem. Soc. 36, 1769 (2015)).
    A neutral molecule may have charged atoms, as zwitterions and nitro groups do.

    Parameters
    ----------
    broken : find also what broken bonds look like: several fragments, or charges of carbon or
        hydrogen.

    Returns
    -------
    The charge, e.g. -2 for malonate. None if the bonds fit a neutral molecule, or no charge at all,
    as in transition states.
    """
    if not 0 < len(atoms) <= LARGEST or _overlapping(atoms):
        return None
    try:
        bonds = _bonds(atoms)
    except ValueError:  # an element that RDKit does not know
        return None
    charge, maybe_broken = _charge_of(tuple(atoms.numbers.tolist()), bonds)
    return charge if broken or not maybe_broken else None


def _overlapping(atoms: Atoms) -> bool:
    """Whether atoms are too close for any bond, so that the geometry indicates no charge."""
    return len(neighbor_list("i", atoms, natural_cutoffs(atoms, mult=OVERLAP))) > 0


def _bonds(atoms: Atoms) -> Bonds:
    from rdkit import Chem, rdBase
    from rdkit.Chem import rdDetermineBonds
    from rdkit.Geometry import Point3D

    molecule = _molecule(atoms.numbers.tolist())
    conformer = Chem.Conformer(len(atoms))
    for index, position in enumerate(atoms.positions.tolist()):
        conformer.SetAtomPosition(index, Point3D(*position))
    molecule.AddConformer(conformer)
    with rdBase.BlockLogs():
        rdDetermineBonds.DetermineConnectivity(molecule)
    pairs = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()]
    return tuple(sorted((min(pair), max(pair)) for pair in pairs))


@lru_cache(maxsize=1024)  # the frames of a trajectory have few different sets of bonds
def _charge_of(numbers: tuple[int, ...], bonds: Bonds) -> tuple[int | None, bool]:
    """The charge that fits, and whether it may come from broken bonds."""
    from rdkit import Chem

    if _fitting(numbers, bonds, 0) is not None:
        return None, False
    for charge in CHARGES:
        if (molecule := _fitting(numbers, bonds, charge)) is not None:
            charged = {a.GetAtomicNum() for a in molecule.GetAtoms() if a.GetFormalCharge()}
            return charge, bool(charged & {1, 6}) or len(Chem.GetMolFrags(molecule)) > 1
    return None, False


def _fitting(numbers: tuple[int, ...], bonds: Bonds, charge: int) -> RWMol | None:
    """The molecule with bond orders and formal charges; None if the charge does not fit."""
    from rdkit import Chem, rdBase
    from rdkit.Chem import rdDetermineBonds

    molecule = _molecule(numbers)
    for pair in bonds:
        molecule.AddBond(*pair, Chem.BondType.SINGLE)
    with rdBase.BlockLogs():
        try:
            rdDetermineBonds.DetermineBondOrders(
                molecule, charge=charge, embedChiral=False, maxIterations=STRUCTURES
            )
        except ValueError as error:
            # Other errors, such as a valence that RDKit does not know, do not indicate an ion.
            return molecule if charge == 0 and "charge" not in str(error) else None
    return molecule


def _molecule(numbers: Sequence[int]) -> RWMol:
    """Atoms without bonds and implicit hydrogen."""
    from rdkit import Chem

    molecule = Chem.RWMol()
    for number in numbers:
        atom = Chem.Atom(int(number))
        atom.SetNoImplicit(True)
        molecule.AddAtom(atom)
    return molecule
