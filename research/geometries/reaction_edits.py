"""Enumerates reactions by pushing electron pairs along cycles and chains of a bond graph.

A concerted closed-shell reaction moves electron pairs. Bond orders change by -1, +1, -1, ... along
a closed cycle of atoms (pericyclic reactions, additions, eliminations, H shifts, relays), along an
open chain from a lone pair to an acceptor (substitution, E2, hydride transfer, 1,3-dipolar
cycloaddition), or along a cycle through one atom that gains or loses a lone pair (carbenes,
cheletropic reactions, loss of CO).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from rdkit import Chem, rdBase

#: Possible sums of bond orders of an atom in a closed-shell molecule, by element and formal charge.
#: (Neutral valences alone, as in se3set_ase.hypergraph.valences, do not cover ions and carbenes.)
BOND_ORDER_SUMS: dict[tuple[int, int], tuple[int, ...]] = {
    (1, 0): (1,), (1, -1): (0,),
    (5, 0): (3,), (5, -1): (4,),
    (6, 0): (2, 4), (6, 1): (3,), (6, -1): (3,),
    (7, 0): (3,), (7, 1): (4,), (7, -1): (2,),
    (8, 0): (2,), (8, 1): (3,), (8, -1): (1,),
    (9, 0): (1,), (9, -1): (0,),
    (14, 0): (2, 4), (14, -1): (5,),
    (15, 0): (3, 5), (15, 1): (4,), (15, -1): (2,),
    (16, 0): (2, 4, 6), (16, 1): (3,), (16, -1): (1,),
    (17, 0): (1,), (17, -1): (0,),
    (35, 0): (1,), (35, -1): (0,),
    (53, 0): (1,), (53, -1): (0,),
}  # fmt: skip

#: Atom pair, first index smaller, and the change of its bond order.
Changes = frozenset[tuple[int, int, int]]


@dataclass(frozen=True, kw_only=True, eq=False)
class BondGraph:
    """Atoms, formal charges and bond orders, with explicit hydrogens.

    Parameters
    ----------
    numbers : (N,) atomic numbers.
    charges : (N,) formal charges.
    orders : (N, N) integer bond orders, symmetric.
    """

    numbers: np.ndarray
    charges: np.ndarray
    orders: np.ndarray = field(repr=False)

    @classmethod
    def from_smiles(cls, smiles: str) -> BondGraph:
        """Read one molecule, or several with dots between them, in a Kekulé structure.

        Raises
        ------
        ValueError : not valid SMILES.
        """
        with rdBase.BlockLogs():  # RDKit warns about H2 and H-
            molecule = Chem.MolFromSmiles(smiles)
        if molecule is None:
            raise ValueError(f"expected SMILES, got {smiles!r}")
        molecule = Chem.AddHs(molecule)
        Chem.Kekulize(molecule, clearAromaticFlags=True)
        atoms = list(molecule.GetAtoms())
        orders = np.zeros((len(atoms), len(atoms)), dtype=int)
        for bond in molecule.GetBonds():
            i, j = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
            orders[i, j] = orders[j, i] = int(bond.GetBondTypeAsDouble())
        return cls(
            numbers=np.array([atom.GetAtomicNum() for atom in atoms]),
            charges=np.array([atom.GetFormalCharge() for atom in atoms]),
            orders=orders,
        )

    @property
    def charge(self) -> int:
        """Total charge in e."""
        return int(self.charges.sum())

    @cached_property
    def bonded(self) -> np.ndarray:
        """(N, N) whether two atoms share a bond of any order."""
        return self.orders > 0

    @cached_property
    def distances(self) -> np.ndarray:
        """Number of bonds on the shortest path of two atoms; a large number between fragments."""
        count = len(self.numbers)
        hops = np.where(self.bonded, 1, 1000)
        np.fill_diagonal(hops, 0)
        for k in range(count):
            hops = np.minimum(hops, hops[:, k, None] + hops[None, k, :])
        return hops

    @cached_property
    def fragments(self) -> tuple[tuple[int, ...], ...]:
        """Indices of the atoms of every molecule."""
        rows = {tuple(np.flatnonzero(row < 1000).tolist()) for row in self.distances}
        return tuple(sorted(rows))

    @cached_property
    def molecule(self) -> Chem.Mol:
        """Sanitized RDKit molecule with explicit hydrogens, atoms in the same order.

        Raises
        ------
        ValueError : RDKit does not accept the valences.
        """
        molecule = Chem.RWMol()
        for number, charge in zip(self.numbers, self.charges, strict=True):
            atom = Chem.Atom(int(number))
            atom.SetFormalCharge(int(charge))
            atom.SetNoImplicit(True)
            molecule.AddAtom(atom)
        types = {1: Chem.BondType.SINGLE, 2: Chem.BondType.DOUBLE, 3: Chem.BondType.TRIPLE}
        for i, j in zip(*np.nonzero(np.triu(self.orders)), strict=True):
            molecule.AddBond(int(i), int(j), types[int(self.orders[i, j])])
        Chem.SanitizeMol(molecule)
        return molecule.GetMol()

    @cached_property
    def smiles(self) -> str:
        """Canonical SMILES without stereochemistry."""
        parameters: Any = Chem.RemoveHsParameters()  # its type stubs allow no assignment
        parameters.showWarnings = False  # H2 and H- keep their hydrogens
        molecule = Chem.RemoveHs(self.molecule, parameters)
        return Chem.MolToSmiles(molecule, isomericSmiles=False)

    def edited(self, changes: Changes, charge_changes: dict[int, int]) -> BondGraph:
        """Apply changes of bond orders and formal charges; CO and isonitriles get charges."""
        orders, charges = self.orders.copy(), self.charges.copy()
        for i, j, change in changes:
            orders[i, j] += change
            orders[j, i] += change
        for i, change in charge_changes.items():
            charges[i] += change
        valence = orders.sum(axis=1)
        for c in np.flatnonzero((self.numbers == 6) & (charges == 0) & (valence == 2)):
            partner = int(orders[c].argmax())
            if orders[c, partner] == 2 and self.numbers[partner] in (7, 8, 16):
                orders[c, partner] = orders[partner, c] = 3
                charges[c], charges[partner] = -1, charges[partner] + 1
        return BondGraph(numbers=self.numbers, charges=charges, orders=orders)


def is_sensible(graph: BondGraph, reactant: BondGraph) -> bool:
    """Whether valences, charges and small rings are those of a molecule that can exist."""
    valence = graph.orders.sum(axis=1)
    states = zip(graph.numbers.tolist(), graph.charges.tolist(), valence.tolist(), strict=True)
    if any(v not in BOND_ORDER_SUMS.get((z, q), ()) for z, q, v in states):
        return False
    if graph.orders.max() > 3:
        return False
    magnitude = np.abs(graph.charges).sum()
    if magnitude > max(abs(graph.charge), np.abs(reactant.charges).sum()) + 2:
        return False
    if magnitude > abs(graph.charge):  # opposite charges must be adjacent
        minority = np.flatnonzero(graph.charges < 0 if graph.charge > 0 else graph.charges > 0)
        other = np.flatnonzero(graph.charges > 0 if graph.charge > 0 else graph.charges < 0)
        if any(graph.distances[i, other].min(initial=1000) > 2 for i in minority):
            return False
    ylides = (graph.numbers[:, None] == 6) & (graph.charges[:, None] < 0)
    ylides = ylides & (graph.numbers == 8) & (graph.charges > 0)
    if (ylides & np.isin(graph.orders, (1, 2))).any():  # in fact a carbene or an oxonium ion
        return False
    oxygen = (graph.numbers == 8) & (graph.charges == 0)
    if (np.outer(oxygen, oxygen) & (graph.orders == 2)).any():  # O2 is a triplet
        return False
    oxides = ((graph.orders == 2) & np.isin(graph.numbers, (7, 8))).any(axis=1)
    if ((graph.numbers == 16) & (valence > 3) & ~oxides).any():  # sulfuranes
        return False
    carbenes = ((graph.numbers == 6) & (graph.charges == 0) & (valence == 2)).sum()
    cations = np.flatnonzero((graph.numbers == 6) & (graph.charges == 1))
    hydrogens = (graph.bonded & (graph.numbers == 1)).sum(axis=1)
    if carbenes > 1 or (hydrogens[cations] > 1).any():
        return False
    try:
        rings = graph.molecule.GetRingInfo().AtomRings()
    except (ValueError, RuntimeError):
        return False
    linear = (graph.orders == 3).any(axis=1) | ((graph.orders == 2).sum(axis=1) > 1)
    linear &= np.isin(graph.numbers, (6, 7))
    return not any(len(ring) < 8 and linear[list(ring)].any() for ring in rings)


def enumerate_reactions(
    graph: BondGraph, *, max_sigma: int = 2, cycles: tuple[int, ...] = (3, 4, 5, 6)
) -> Iterator[tuple[BondGraph, Changes]]:
    """Yield the products of pushing electron pairs along cycles and chains.

    Parameters
    ----------
    graph : reactants; if there are several molecules, all take part in the reaction.
    max_sigma : largest number of bonds that vanish, and of bonds that appear.
    cycles : lengths of the cycles. Cycles of odd length start at an atom with a lone pair and are
        followed in both directions. Chains of two and four changes are always included.

    Yields
    ------
    product, changes : each product once for each set of changes, without the reactant itself.
    """
    seen: set[Changes] = set()
    for changes, charge_changes in _pushes(graph, max_sigma, cycles):
        if changes in seen:
            continue
        seen.add(changes)
        touched = {i for change in changes for i in change[:2]}
        if not all(touched.intersection(fragment) for fragment in graph.fragments):
            continue
        product = graph.edited(changes, charge_changes)
        if (product.bonded == graph.bonded).all() or not is_sensible(product, graph):
            continue
        yield product, changes


def likelihood(product: BondGraph, reactant: BondGraph) -> float:
    """Rough weight of a product, reduced for new charges, carbenes, hydride and carbanions."""
    valence = product.orders.sum(axis=1)
    charges = np.abs(product.charges).sum() - np.abs(reactant.charges).sum()
    carbenes = [
        ((g.numbers == 6) & (g.charges == 0) & (g.orders.sum(axis=1) == 2)).sum()
        for g in (reactant, product)
    ]
    hydride = ((product.numbers == 1) & (valence == 0)).sum()
    saturated = (product.numbers == 6) & (product.charges < 0) & (product.orders.max(axis=1) == 1)
    penalty = 0.6 * max(charges, 0) + max(carbenes[1] - carbenes[0], 0) + 2 * hydride
    return float(np.exp(-penalty - 0.5 * saturated.sum()))


def _pushes(
    graph: BondGraph, max_sigma: int, cycles: tuple[int, ...]
) -> Iterator[tuple[Changes, dict[int, int]]]:
    """Yield the changes of bond orders and of formal charges of all alternating walks."""
    valence = graph.orders.sum(axis=1)
    budget = (max_sigma, max_sigma)

    def allowed(atom: int, charge: int, bonds: int) -> bool:
        state = int(graph.numbers[atom]), int(graph.charges[atom]) + charge
        return int(valence[atom]) + bonds in BOND_ORDER_SUMS.get(state, ())

    for first in range(len(graph.numbers)):
        for length in cycles:
            for sign in (-1,) if length % 2 == 0 else (1, -1):
                if length % 2 and not allowed(first, 0, 2 * sign):
                    continue
                for walk in _walks(graph, [first], sign, length - 1, budget):
                    closing = sign * (-1) ** (length - 1)
                    if _possible(int(graph.orders[walk[-1], first]), closing):
                        changes = _changes([*walk, first], sign)
                        if _sigma(graph, changes) <= max_sigma:
                            yield changes, {}
        if allowed(first, 1, 1):
            for length in (2, 4):
                for walk in _walks(graph, [first], 1, length, budget):
                    if allowed(walk[-1], -1, -1):
                        yield _changes(walk, 1), {first: 1, walk[-1]: -1}


def _walks(
    graph: BondGraph, walk: list[int], sign: int, steps: int, budget: tuple[int, int]
) -> Iterator[list[int]]:
    """Yield walks of distinct atoms along which bonds alternately form (+1) and break (-1).

    The budget is the number of bonds that may still vanish and appear.
    """
    if steps == 0:
        yield walk
        return
    for atom, order in enumerate(graph.orders[walk[-1]].tolist()):
        if atom in walk or not _possible(order, sign):
            continue
        left = budget[0] - (sign < 0 and order == 1), budget[1] - (sign > 0 and order == 0)
        if min(left) >= 0:
            yield from _walks(graph, [*walk, atom], -sign, steps - 1, left)


def _possible(order: int, sign: int) -> bool:
    """Whether the order of a bond can decrease or increase by one."""
    return order > 0 if sign < 0 else order < 3


def _changes(walk: list[int], sign: int) -> Changes:
    """Alternating changes along a walk, the first of the given sign."""
    pairs = pairwise(walk)
    return frozenset((min(p), max(p), sign * (-1) ** n) for n, p in enumerate(pairs))


def _sigma(graph: BondGraph, changes: Changes) -> int:
    """Number of bonds that vanish or that appear, whichever is larger."""
    vanish = sum(c < 0 and graph.orders[i, j] == 1 for i, j, c in changes)
    appear = sum(c > 0 and graph.orders[i, j] == 0 for i, j, c in changes)
    return max(vanish, appear)
