"""Whether the bonds of a molecule fit a neutral one."""

from __future__ import annotations

from ase import Atoms
from ase.neighborlist import natural_cutoffs, neighbor_list

#: Charges that are tried, likeliest first.
CHARGES = (-1, 1, -2, 2, -3, 3)
#: Larger molecules are not looked at, and resonance structures beyond this number neither.
LARGEST, STRUCTURES = 200, 2000
#: Times the sum of covalent radii.
OVERLAP = 0.5


def charge_that_fits(atoms: Atoms) -> int | None:
    """Charge that the valences of a molecule fit, where they do not fit a neutral one.

    Bonds are perceived by RDKit (Y. Kim and W. Y. Kim, Bull. Korean Chem. Soc. 36, 1769 (2015)).
    Charges inside a neutral molecule are allowed, as in zwitterions and nitro groups.

    Returns
    -------
    The charge, e.g. -2 for malonate; None where a neutral molecule fits, or where no charge does,
    as in transition states.
    """
    if not 0 < len(atoms) <= LARGEST or _overlapping(atoms) or _fits(atoms, 0):
        return None
    return next((charge for charge in CHARGES if _fits(atoms, charge)), None)


def _overlapping(atoms: Atoms) -> bool:
    """Whether atoms are too near for any bond: such a geometry is no evidence of anything."""
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
            # Anything else, such as a valence that it does not know, is no evidence of an ion.
            return charge == 0 and "charge" not in str(error)
    return True
