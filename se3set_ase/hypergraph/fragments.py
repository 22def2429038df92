"""Chemistry of one bond graph: which atoms form a fragment.

Fragments are the connected components of the bond graph after cutting every bond that may be
cut. A bond is kept if its order is above 1, if one end is hydrogen, if both ends belong to
functional groups (the SMARTS of SE3Set, arXiv:2405.16511), or if it lies in a ring of at most
eight atoms.

The default perception is a pure function of the atomic numbers and the bond list, never of
positions, and does not depend on the order of the atoms: bond orders come from unsaturation (a
bond is multiple if both ends have fewer neighbours than their saturated valence), not from one
choice of Kekule structure. Any bond graph is valid, including those of transition states.

The published recipe, which needs bond orders, is :func:`published_fragments`. Without merging it
cuts more in conjugated systems, and only there: a single bond between two unsaturated atoms is
not single here, because only the choice of a resonance structure would make it so.

======================  ==========================  ===========================================
molecule                published (implicit)        here
======================  ==========================  ===========================================
acetylacetone, enol     C=O and C=C apart           O=C-C=C is one fragment (C-OH another)
aspirin, salicylic acid ring and carboxyl apart     one fragment
biphenyl                two rings                   one fragment
porphine                four rings, as one Kekule   one fragment, with all of porphine's symmetry
                        structure cuts them
======================  ==========================  ===========================================
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
from rdkit import Chem

from se3set_ase.hypergraph.bond_graph import adjacency_lists, components, in_small_ring
from se3set_ase.hypergraph.functional_groups import FUNCTIONAL_GROUPS
from se3set_ase.hypergraph.published_recipe import published_fragments
from se3set_ase.hypergraph.valences import VALENCES

__all__ = [
    "bond_orders_of",
    "find_fragments",
    "kept_bonds",
    "multiple_bonds",
    "published_fragments",
]

#: Whether a bond is kept depends on the bond graph within this many bonds: half a ring of eight,
#: which also covers every SMARTS (at most two bonds wide).
CHEMISTRY_RADIUS = 3


def find_fragments(
    numbers: np.ndarray,
    bonds: np.ndarray,
    bond_orders: Mapping[tuple[int, int], float] | None = None,
) -> list[tuple[int, ...]]:
    """Fragments of one bond graph.

    Parameters
    ----------
    numbers : (N,) atomic numbers.
    bonds : (B, 2) atom indices with ``bonds[:, 0] < bonds[:, 1]``.
    bond_orders : orders to use instead of the perceived ones, by atom pair ``(i, j)``, ``i < j``.

    Returns
    -------
    Atoms of each fragment, ascending; fragments ordered by their first atom. Every atom is in
    exactly one fragment.
    """
    kept = bonds[kept_bonds(numbers, bonds, bond_orders)]
    return components(len(numbers), kept)


def kept_bonds(
    numbers: np.ndarray,
    bonds: np.ndarray,
    bond_orders: Mapping[tuple[int, int], float] | None = None,
) -> np.ndarray:
    """Bonds that are not cut, (B,) bool; parameters as in :func:`find_fragments`."""
    if len(bonds) == 0:
        return np.zeros(0, dtype=bool)
    multiple = multiple_bonds(numbers, bonds, bond_orders)
    kept = multiple | (numbers[bonds] == 1).any(axis=1)
    in_group = functional_group_atoms(numbers, bonds, multiple)
    # Groups that share atoms or are bonded to each other merge, so that every bond between two
    # atoms that belong to any functional group is inside one merged group.
    kept |= in_group[bonds].all(axis=1)
    neighbours = adjacency_lists(len(numbers), bonds)
    for index in np.flatnonzero(~kept):
        first, second = bonds[index]
        kept[index] = in_small_ring(neighbours, int(first), int(second))
    return kept


def multiple_bonds(
    numbers: np.ndarray,
    bonds: np.ndarray,
    bond_orders: Mapping[tuple[int, int], float] | None = None,
) -> np.ndarray:
    """Bonds with an order above 1, (B,) bool."""
    n_neighbours = np.bincount(bonds.ravel(), minlength=len(numbers))
    unsaturated = np.array(
        [is_unsaturated(int(z), int(n)) for z, n in zip(numbers, n_neighbours, strict=True)]
    )
    multiple = unsaturated[bonds].all(axis=1)
    if bond_orders:
        for index, (i, j) in enumerate(bonds.tolist()):
            if (i, j) in bond_orders:
                multiple[index] = bond_orders[i, j] > 1
    return multiple


def is_unsaturated(number: int, n_neighbours: int) -> bool:
    """Whether an atom of this element has fewer neighbours than a saturated one."""
    for valence in VALENCES.get(number, ()):
        if n_neighbours <= valence:
            return n_neighbours < valence
    return False


def functional_group_atoms(
    numbers: np.ndarray, bonds: np.ndarray, multiple: np.ndarray
) -> np.ndarray:
    """Atoms that belong to any of :data:`FUNCTIONAL_GROUPS`, (N,) bool."""
    molecule = Chem.RWMol()
    for number in numbers.tolist():
        atom = Chem.Atom(number)
        atom.SetNoImplicit(True)
        molecule.AddAtom(atom)
    for (i, j), double in zip(bonds.tolist(), multiple.tolist(), strict=True):
        molecule.AddBond(i, j, Chem.BondType.DOUBLE if double else Chem.BondType.SINGLE)
    # Not sanitised: any bond graph is valid, with five bonds of a carbon or H between two oxygens.
    molecule.UpdatePropertyCache(strict=False)
    in_group = np.zeros(len(numbers), dtype=bool)
    for pattern in _patterns():
        matches = molecule.GetSubstructMatches(pattern, uniquify=True, maxMatches=10**7)
        if matches:
            in_group[np.concatenate(matches)] = True
    return in_group


@cache
def _patterns() -> tuple[Chem.Mol, ...]:
    return tuple(Chem.MolFromSmarts(s) for group in FUNCTIONAL_GROUPS.values() for s in group)


def bond_orders_of(molecule: Chem.Mol) -> dict[tuple[int, int], float]:
    """Bond orders of an RDKit molecule by atom pair ``(i, j)``, ``i < j``.

    A terminal anion bonded to a cation or to an unsaturated atom shares its charge: its bond
    counts as 1.5, so that S(+)-O(-) is S=O, and both oxygens of a carboxylate are alike.
    """
    orders = {}
    for bond in molecule.GetBonds():
        first, second = bond.GetBeginAtom(), bond.GetEndAtom()
        order = bond.GetBondTypeAsDouble()
        for anion, other in ((first, second), (second, first)):
            if anion.GetFormalCharge() < 0 and anion.GetDegree() == 1:
                multiple = any(b.GetBondTypeAsDouble() > 1 for b in other.GetBonds())
                if multiple or other.GetFormalCharge() > 0:
                    order = max(order, 1.5)
        i, j = sorted((first.GetIdx(), second.GetIdx()))
        orders[i, j] = order
    return orders
