"""Reactants: molecules, pairs and triples of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

#: Relative probability of each family.
FAMILIES = {
    "one molecule": 0.25,
    "one ion": 0.08,
    "grown": 0.04,
    "turn": 0.06,
    "addition": 0.13,
    "relay": 0.08,
    "Diels-Alder": 0.08,
    "dipole": 0.06,
    "carbene": 0.05,
    "anion": 0.14,
    "cation": 0.06,
    "hydride": 0.05,
}

#: Lists from which the molecules of each family are drawn.
LISTS = {
    "one molecule": ("molecules",),
    "one ion": ("ions",),
    "turn": ("molecules",),
    "addition": ("acceptors", "addends"),
    "relay": ("relayed", "relays"),
    "Diels-Alder": ("dienes", "dienophiles"),
    "dipole": ("dipoles", "dipolarophiles"),
    "carbene": ("carbenes", "carbene partners"),
    "anion": ("electrophiles", "anions"),
    "cation": ("cations", "lone pairs"),
    "hydride": ("hydride acceptors", "hydrides"),
}

#: Cores of random molecules, with places for groups.
CORES = ("C{}", "CC{}", "C=C{}", "C1CC1{}", "C(C){}", "C=CC{}", "N{}", "O{}")


@lru_cache(maxsize=1)
def pool() -> dict[str, tuple[str, ...]]:
    """Read the SMILES of the reactants, by the name of their list."""
    lists: dict[str, list[str]] = {}
    name = ""
    for line in Path(__file__).with_suffix(".txt").read_text().splitlines():
        if line.endswith(":"):
            name = line[:-1]
            lists[name] = []
        elif line and not line.startswith("# "):
            lists[name] += line.split()
    return {name: tuple(entries) for name, entries in lists.items()}


def draw_system(
    rng: np.random.Generator, families: Sequence[str] = tuple(FAMILIES)
) -> tuple[str, str]:
    """Draw a family, one of those given, and SMILES of reactants."""
    weights = np.array([FAMILIES[family] for family in families])
    family = families[int(rng.choice(len(families), p=weights / weights.sum()))]
    if family == "grown":
        return family, grown(rng)
    return family, ".".join(str(rng.choice(pool()[name])) for name in LISTS[family])


def grown(rng: np.random.Generator) -> str:
    """Make a random molecule with one or two groups on a small core."""
    core = str(rng.choice(CORES))
    first, second = (str(group) for group in rng.choice(pool()["groups"], size=2, replace=False))
    if rng.random() < 0.5 and core.startswith("C"):
        return core.format(f"({first}){second}") if core != "C(C){}" else f"CC({first}){second}"
    return core.format(first)
