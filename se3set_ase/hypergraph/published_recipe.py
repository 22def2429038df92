"""The fragments of SE3Set as published (arXiv:2405.16511), from given bonds, for comparison.

Bonds and their orders (one Kekule structure) are inputs, and fragments follow from thresholds. The
default perception (:func:`se3set_ase.hypergraph.find_fragments`) finds similar fragments without
bond orders, so that they do not depend on the choice of a Kekule structure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np
from rdkit import Chem

from se3set_ase.hypergraph.bond_graph import adjacency_lists, components, in_small_ring
from se3set_ase.hypergraph.functional_groups import PUBLISHED_GROUPS
from se3set_ase.hypergraph.radii import COVALENT_RADII
from se3set_ase.hypergraph.valences import VALENCES

Recipe = Literal["implicit", "explicit"]

#: Angstrom, for the elements in the published code; "explicit" refuses others.
RADII: Mapping[int, float] = {
    z: float(COVALENT_RADII[z]) for z in (1, 3, 5, 6, 7, 8, 9, 14, 15, 16, 17, 33, 34, 35, 52, 53)
}

#: Valences of neutral atoms, from which formal charges are derived; B, C, N and O only.
_NEUTRAL: Mapping[int, int] = {z: VALENCES[z][0] for z in (5, 6, 7, 8)}

_BOND_TYPES: Mapping[float, Chem.BondType] = {
    1.0: Chem.BondType.SINGLE,
    1.5: Chem.BondType.AROMATIC,
    2.0: Chem.BondType.DOUBLE,
    3.0: Chem.BondType.TRIPLE,
}

SMALLEST_GROUP = 2  # atoms; smaller groups join a neighbour
LARGEST_MERGED = 16  # atoms; a group that would exceed this joins another group if possible
OVERLAP = 0.1  # summed bond order above which a fragment includes a neighbouring group


def published_fragments(
    numbers: np.ndarray,
    positions: np.ndarray,
    bonds: Sequence[tuple[int, int, float]],
    recipe: Recipe = "implicit",
) -> list[list[int]]:
    """Fragments by the published rules.

    Parameters
    ----------
    numbers : (N,) atomic numbers.
    positions : (N, 3) Angstrom.
    bonds : atoms and order of each bond: 1, 2, 3, or 1.5 for aromatic bonds, which get a Kekule
        structure.
    recipe : ``"implicit"`` for fragments without common atoms (MD22 in the paper), or
        ``"explicit"``, which joins single atoms to a neighbour and lets fragments overlap (MD17).

    Returns
    -------
    Atoms of each fragment, ascending; fragments in ascending order.

    Raises
    ------
    ValueError : an unknown recipe, bond or bond order; no Kekule structure; or, for
        ``"explicit"``, an element without a published radius.
    """
    if recipe not in get_args(Recipe):
        raise ValueError(f"expected a recipe among {get_args(Recipe)}, got {recipe!r}")
    numbers, positions = np.asarray(numbers), np.asarray(positions, dtype=np.float64)
    _check(numbers, positions, bonds)
    groups = _groups(numbers, bonds)
    if recipe == "implicit":
        return sorted(groups)
    if unknown := sorted(set(numbers.tolist()) - set(RADII)):
        raise ValueError(f"expected atomic numbers among {sorted(RADII)}, got {unknown}")
    orders = lendvay_orders(numbers, positions)
    return sorted(_overlapping(groups, _merged(groups, bonds, orders), orders))


def _check(
    numbers: np.ndarray, positions: np.ndarray, bonds: Sequence[tuple[int, int, float]]
) -> None:
    n_atoms = len(numbers)
    if positions.shape != (n_atoms, 3):
        raise ValueError(f"expected positions of shape ({n_atoms}, 3), got {positions.shape}")
    if n_atoms and not 1 <= numbers.min() <= numbers.max() <= 118:
        raise ValueError(f"expected atomic numbers from 1 to 118, got {numbers.tolist()}")
    seen: set[frozenset[int]] = set()
    for i, j, _ in bonds:
        if i == j or not {i, j} <= set(range(n_atoms)) or frozenset((i, j)) in seen:
            raise ValueError(
                f"expected two of {n_atoms} atoms in each bond, and each bond once, got ({i}, {j})"
            )
        seen.add(frozenset((i, j)))


def lendvay_orders(numbers: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """(N, N) empirical bond orders exp(-(d - r) r / 0.25), r the sum of radii; zero diagonal.

    G. Lendvay, J. Phys. Chem. 1989, 93, 4422.
    """
    radius = np.array([RADII[z] for z in numbers.tolist()])
    r = radius[:, None] + radius[None, :]
    distance = np.linalg.norm(positions[:, None] - positions[None, :], axis=-1)
    orders = np.exp(-(distance - r) * r / 0.25)
    np.fill_diagonal(orders, 0.0)
    return orders


def _groups(numbers: np.ndarray, bonds: Sequence[tuple[int, int, float]]) -> list[list[int]]:
    """Connected components after all allowed cuts, ordered by size and lowest index."""
    pairs = np.array([sorted(b[:2]) for b in bonds], dtype=np.int64).reshape(-1, 2)
    orders = _kekule(numbers, pairs, np.array([b[2] for b in bonds], dtype=float))
    in_group = _functional_group_atoms(numbers, pairs, orders)
    neighbours = adjacency_lists(len(numbers), pairs)
    kept = (orders > 1) | (numbers[pairs] == 1).any(axis=1) | in_group[pairs].all(axis=1)
    for index in np.flatnonzero(~kept):
        kept[index] = in_small_ring(neighbours, *pairs[index].tolist())
    found = [list(atoms) for atoms in components(len(numbers), pairs[kept])]
    return sorted(found, key=len)


def _kekule(numbers: np.ndarray, pairs: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Integer bond orders, with one Kekule structure for bonds of order 1.5."""
    if not (orders == 1.5).any():
        return orders
    molecule = _molecule(numbers, pairs, orders, np.zeros(len(numbers), dtype=int))
    Chem.Kekulize(molecule, clearAromaticFlags=True)
    return np.array([bond.GetBondTypeAsDouble() for bond in molecule.GetBonds()])


def _molecule(
    numbers: np.ndarray, pairs: np.ndarray, orders: np.ndarray, charges: np.ndarray
) -> Chem.RWMol:
    """An RDKit molecule with explicit hydrogens, not sanitised."""
    molecule = Chem.RWMol()
    for number, charge in zip(numbers.tolist(), charges.tolist(), strict=True):
        atom = Chem.Atom(number)
        atom.SetNoImplicit(True)
        atom.SetFormalCharge(charge)
        molecule.AddAtom(atom)
    for (i, j), order in zip(pairs.tolist(), orders.tolist(), strict=True):
        if order not in _BOND_TYPES:
            raise ValueError(f"expected bond orders among {sorted(_BOND_TYPES)}, got {order}")
        bond = molecule.GetBondWithIdx(molecule.AddBond(i, j, _BOND_TYPES[order]) - 1)
        if order == 1.5:
            for part in (bond, bond.GetBeginAtom(), bond.GetEndAtom()):
                part.SetIsAromatic(True)
    molecule.UpdatePropertyCache(strict=False)
    Chem.FastFindRings(molecule)
    return molecule


def _functional_group_atoms(
    numbers: np.ndarray, pairs: np.ndarray, orders: np.ndarray
) -> np.ndarray:
    """(N,) bool, by SMARTS on the Kekule structure with MDL's aromaticity."""
    valence = np.bincount(pairs.ravel(), np.repeat(orders, 2), minlength=len(numbers))
    neutral = np.array([_NEUTRAL.get(z, v) for z, v in zip(numbers.tolist(), valence, strict=True)])
    charges = np.where(valence > 0, np.rint(valence - neutral), 0).astype(int)
    molecule = _molecule(numbers, pairs, orders, charges)
    Chem.SetAromaticity(molecule, Chem.AromaticityModel.AROMATICITY_MDL)
    found = np.zeros(len(numbers), dtype=bool)
    for smarts in (s for group in PUBLISHED_GROUPS.values() for s in group):
        for match in molecule.GetSubstructMatches(Chem.MolFromSmarts(smarts), maxMatches=10**7):
            found[list(match)] = True
    return found


def _merged(
    groups: Sequence[Sequence[int]],
    bonds: Sequence[tuple[int, int, float]],
    orders: np.ndarray,
) -> list[list[int]]:
    """Join groups of fewer than :data:`SMALLEST_GROUP` atoms to a neighbour, smallest first."""
    merged = [list(g) for g in groups]
    while len(merged) > 1:
        # g, h: the largest bond order between any two of their atoms
        between = np.array(
            [[0.0 if g is h else orders[np.ix_(g, h)].max() for h in merged] for g in merged]
        )
        centrality = between.sum(axis=1)
        smallest = min(range(len(merged)), key=lambda k: (len(merged[k]), centrality[k]))
        group = merged[smallest]
        if len(group) >= SMALLEST_GROUP:
            break
        bonded = {a for i, j, _ in bonds for a, b in ((i, j), (j, i)) if b in group}
        others = [k for k in range(len(merged)) if k != smallest]
        near = [k for k in others if bonded.intersection(merged[k])]
        chosen = min(near, key=lambda k: (len(merged[k]), centrality[k]), default=None)
        if chosen is None or len(merged[chosen]) + len(group) > LARGEST_MERGED:
            close = [k for k in others if between[smallest, k] >= OVERLAP]
            chosen = min(close, key=lambda k: (len(merged[k]), centrality[k]), default=chosen)
        if chosen is None:
            break
        joined = sorted([*group, *merged[chosen]])
        merged = [g for k, g in enumerate(merged) if k not in (smallest, chosen)] + [joined]
        merged.sort(key=len)
    return merged


def _overlapping(
    groups: Sequence[Sequence[int]], merged: Sequence[Sequence[int]], orders: np.ndarray
) -> list[list[int]]:
    """Extend each fragment by original groups with a sufficient summed bond order to it."""
    result = []
    for fragment in merged:
        atoms = set(fragment)
        for group in groups:
            if not atoms.intersection(group) and orders[np.ix_(fragment, group)].sum() >= OVERLAP:
                atoms.update(group)
        result.append(sorted(atoms))
    return result
