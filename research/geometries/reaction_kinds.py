"""Names reactions by the bonds that change."""

from __future__ import annotations

from collections import Counter

import numpy as np

from research.geometries.reaction_edits import BondGraph

CO, CO2 = "[C-]#[O+]", "O=C=O"
#: Molecules that are eliminated or added, and their name in that of the reaction.
SMALL = {
    "[H][H]": "H2", "O": "H2O", "N": "NH3", "Cl": "HX", "F": "HX", "Br": "HX", "I": "HX",
    "S": "H2S", "C#N": "HCN", "CO": "ROH",
}  # fmt: skip

#: Kinds that are tried more often or less often than others.
PREFERENCE = {
    "SN2": 4, "acyl transfer": 4, "E2": 3, "hydride transfer": 4, "Cope": 6, "Claisen": 6,
    "Diels-Alder": 6, "retro Diels-Alder": 4, "hetero Diels-Alder": 3, "1,3-dipolar": 3,
    "retro 1,3-dipolar": 3, "retro hetero Diels-Alder": 3, "ene": 2, "retro-ene": 2,
    "1,5 H shift": 3,
    "decarboxylation": 3, "decarbonylation": 3, "ring opening by a nucleophile": 3,
    "ring closure by a nucleophile": 3, "electrocyclic ring opening": 3,
    "electrocyclic ring closure": 2, "ring opening with H shift": 2, "exchange": 0.4,
    "double H shift": 0.2, "double H transfer": 0.4, "H transfer addition": 0.6,
    "carbene elimination": 0.3, "carbene rearrangement": 0.6,
    "rearrangement with H shift": 0.3, "rearrangement": 0.4, "ionic, concerted": 0.4,
    "ring closure with H shift": 0.6, "intramolecular cycloaddition": 0.5,
    "substitution at a heteroatom": 0.6, "addition, other": 0.3, "loss of an ion": 0.4,
    "proton transfer": 0.4, "nucleophilic addition": 0.6, "proton relay": 0.8,
}  # fmt: skip


def kind_of(reactant: BondGraph, product: BondGraph) -> str:
    """Kind of a reaction, such as ``"1,3 H shift"``, ``"Diels-Alder"`` or ``"SN2"``."""
    change = product.bonded.astype(int) - reactant.bonded
    pairs = list(zip(*np.nonzero(np.triu(change)), strict=True))
    broken = [p for p in pairs if change[p] < 0]
    formed = [p for p in pairs if change[p] > 0]
    light = reactant.numbers == 1
    moving = {int(i) for p in broken for i in p if light[i]} & {
        int(i) for p in formed for i in p if light[i]
    }
    heavy_broken = [p for p in broken if not light[list(p)].any()]
    heavy_formed = [p for p in formed if not light[list(p)].any()]
    before, after = _molecules(reactant), _molecules(product)
    new, gone = after - before, before - after
    if reactant.charge or (np.abs(reactant.charges).sum() and (new or gone) and _ionic(reactant)):
        name = _ionic_kind(reactant, product, moving, heavy_broken, heavy_formed)
        if name:
            return name
    if _carbenes(reactant) != _carbenes(product) and CO not in new | gone:
        more = _carbenes(product) > _carbenes(reactant)
        if len(reactant.fragments) == len(product.fragments) == 1:
            return "carbene rearrangement"
        return "carbene elimination" if more else "carbene insertion"
    if CO2 in new and len(product.fragments) > len(reactant.fragments):
        return "decarboxylation"
    if CO in new and len(product.fragments) > len(reactant.fragments):
        return "decarbonylation"
    if len(before) and len(reactant.fragments) == len(product.fragments) == 1:
        return _isomerization(reactant, product, moving, heavy_broken, heavy_formed)
    if len(reactant.fragments) > 1 and len(moving) >= 2 and before & after:
        return "proton relay"
    if len(reactant.fragments) == len(product.fragments):
        return "double H transfer" if len(moving) == 2 and not heavy_formed else "exchange"
    if len(reactant.fragments) > len(product.fragments):
        return _joining(reactant, product, moving, heavy_formed, gone, "addition")
    return _joining(product, reactant, moving, heavy_broken, new, "elimination")


def _molecules(graph: BondGraph) -> Counter[str]:
    """SMILES of every molecule, counted."""
    return Counter(graph.smiles.split("."))


def _carbenes(graph: BondGraph) -> int:
    valence = graph.orders.sum(axis=1)
    divalent = np.isin(graph.numbers, (6, 14)) & (graph.charges == 0) & (valence == 2)
    return int(divalent.sum())


def _ionic(graph: BondGraph) -> bool:
    """Whether any of the molecules is an ion."""
    return any(graph.charges[list(fragment)].sum() for fragment in graph.fragments)


def _ionic_kind(
    reactant: BondGraph,
    product: BondGraph,
    moving: set[int],
    broken: list[tuple[int, int]],
    formed: list[tuple[int, int]],
) -> str:
    """Name of a substitution, elimination or transfer; empty if none fits."""
    fragments = len(reactant.fragments), len(product.fragments)
    if fragments == (1, 1):
        return ""
    if len(broken) == len(formed) == 1 and not moving:
        shared = set(broken[0]) & set(formed[0])
        if not shared:
            return "ionic exchange"
        centre = shared.pop()
        if fragments[1] < fragments[0]:
            return "ring opening by a nucleophile"
        if fragments[1] > fragments[0]:
            return "ring closure by a nucleophile"
        flat = reactant.orders[centre].max() > 1
        if reactant.numbers[centre] != 6:
            return "substitution at a heteroatom"
        return "acyl transfer" if flat else "SN2"
    if len(moving) == 1 and not formed:
        atom = next(iter(moving))
        neighbours = [int(graph.bonded[atom].argmax()) for graph in (reactant, product)]
        if broken:
            return "E2" if len(broken) == 1 else ""
        both_carbon = all(reactant.numbers[n] == 6 for n in neighbours)
        shift = (product.charges - reactant.charges)[neighbours]
        if both_carbon or shift[0] > 0 or shift[1] < 0:
            return "hydride transfer" if shift[0] >= 0 else "proton transfer"
        return "proton transfer"
    if not moving and not broken and len(formed) == 1:
        return "nucleophilic addition"
    if not moving and not formed and len(broken) == 1:
        return "loss of an ion"
    return "ionic, concerted" if moving else ""


def _isomerization(
    reactant: BondGraph,
    product: BondGraph,
    moving: set[int],
    broken: list[tuple[int, int]],
    formed: list[tuple[int, int]],
) -> str:
    """Name of a reaction of one molecule to another."""
    if len(moving) == 1 and not broken and not formed:
        atom = next(iter(moving))
        start, end = (int(graph.bonded[atom].argmax()) for graph in (reactant, product))
        return f"1,{int(reactant.distances[start, end]) + 1} H shift"
    if len(moving) > 1 and not broken and not formed:
        return "double H shift"
    if moving:
        return {(1, 0): "ring opening with H shift", (0, 1): "ring closure with H shift"}.get(
            (len(broken), len(formed)), "rearrangement with H shift"
        )
    if (len(broken), len(formed)) in ((1, 0), (0, 1)):
        return "electrocyclic ring opening" if broken else "electrocyclic ring closure"
    if (len(broken), len(formed)) in ((2, 0), (0, 2)):
        return "intramolecular cycloreversion" if broken else "intramolecular cycloaddition"
    if len(broken) == len(formed) == 1:
        if set(broken[0]) & set(formed[0]):
            return "1,n sigmatropic shift"
        if reactant.distances[formed[0]] == 5:
            hetero = (reactant.numbers[list(broken[0])] != 6).any()
            return "Claisen" if hetero else "Cope"
    return "rearrangement"


def _joining(
    parts: BondGraph,
    whole: BondGraph,
    moving: set[int],
    bonds: list[tuple[int, int]],
    small: Counter[str],
    name: str,
) -> str:
    """Name of a reaction of several molecules to fewer, or the reverse."""
    reverse = name == "elimination"
    if moving or _has_hydride_or_h2(small):
        if len(moving) == 1 and len(bonds) == 1:
            change = np.abs(whole.orders - parts.orders)
            changed = int(np.triu(change).astype(bool).sum())
            if changed >= 6 and not reverse:
                return "ene"
            if changed >= 6:
                return "retro-ene"
        for smiles, label in SMALL.items():
            if smiles in small:
                to_carbonyl = any(
                    {int(parts.numbers[i]), int(parts.numbers[j])} == {6, 8}
                    and parts.orders[i, j] == 2
                    and whole.orders[i, j] == 1
                    for i, j in zip(*np.nonzero(np.triu(parts.orders)), strict=True)
                )
                if to_carbonyl and label != "H2":
                    return f"carbonyl {name} of {label}"
                return f"{name} of {label}"
        return f"H transfer {name}"
    if len(bonds) == 2:
        apart = sorted(int(parts.distances[i, j]) for i in bonds[0] for j in bonds[1])
        pieces = [n + 1 for n in apart if n < 1000]
        ring = sum(pieces[:2]) if len(pieces) >= 2 else 0
        dipole = (
            np.abs(parts.charges).sum() > 0
            and np.abs(parts.charges).sum() > np.abs(whole.charges).sum()
        )
        if ring == 5 and dipole:
            label = "1,3-dipolar"
        elif ring == 6:
            atoms = [i for bond in bonds for i in bond]
            label = "Diels-Alder" if (parts.numbers[atoms] == 6).all() else "hetero Diels-Alder"
        elif ring == 4:
            label = "[2+2]"
        elif ring in (3, 5):
            label = "cheletropic"
        else:
            label = "cycloaddition"
        return f"retro {label}" if reverse else label
    return f"{name}, other"


def _has_hydride_or_h2(small: Counter[str]) -> bool:
    return "[H][H]" in small
