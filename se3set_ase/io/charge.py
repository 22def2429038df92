"""Finds the charge that the bonds of a molecule indicate, if it declares none."""

from __future__ import annotations

from ase import Atoms
from ase.neighborlist import natural_cutoffs, neighbor_list

#: Charges that are tried, the most likely first.
CHARGES = (-1, 1, -2, 2, -3, 3)
#: Limits to the number of atoms and of resonance structures that are examined.
LARGEST, STRUCTURES = 200, 2000
#: Atoms closer than this multiple of the sum of their covalent radii overlap.
OVERLAP = 0.5


def charge_that_fits(atoms: Atoms) -> int | None:
    """Find the charge that fits the bonds of a molecule if these do not fit a neutral one.

    RDKit perceives the bonds (Y. Kim and W. Y. Kim, Bull. Korean Chem. Soc. 36, 1769 (2015)).
    A neutral molecule may have charged atoms, as zwitterions and nitro groups do.

    Returns
    -------
    The charge, e.g. -2 for malonate. None if the bonds fit a neutral molecule, or no charge at all,
    as in transition states.
    """
    if not 0 < len(atoms) <= LARGEST or _overlapping(atoms) or _fits(atoms, 0):
        return None
    return next((charge for charge in CHARGES if _fits(atoms, charge)), None)


def _overlapping(atoms: Atoms) -> bool:
    """Whether atoms are too close for any bond, so that the geometry indicates no charge."""
    return len(neighbor_list("i", atoms, natural_cutoffs(atoms, mult=OVERLAP))) > 0


def _fits(atoms: Atoms, charge: int) -> bool:
    from rdkit import Chem, rdBase
    from rdkit.Chem import rdDetermineBonds
    from rdkit.Geometry import Point3D

    molecule = Chem.RWMol()
    for number in atoms.numbers:
        molecule.AddAtom(Chem.Atom(int(number)))
    conformer = Chem.Conformer(len(atoms))
    for index, position in enumerate(atoms.positions.tolist()):
        conformer.SetAtomPosition(index, Point3D(*position))
    molecule.AddConformer(conformer)
    with rdBase.BlockLogs():
        try:
            rdDetermineBonds.DetermineConnectivity(molecule)
            rdDetermineBonds.DetermineBondOrders(
                molecule, charge=charge, embedChiral=False, maxIterations=STRUCTURES
            )
        except ValueError as error:
            # Other errors, such as a valence that RDKit does not know, do not indicate an ion.
            return charge == 0 and "charge" not in str(error)
    return True
