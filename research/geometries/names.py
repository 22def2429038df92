"""Reads lists of molecules: kinds, SMILES and templates.

A line is ``KIND: SMILES SMILES ...`` or ``KIND: TEMPLATE ... | GROUP GROUP ...``, where each ``{}``
of a template is replaced by every group (two of them by every pair). Lines that begin with ``#``
are comments.
"""

from __future__ import annotations

import itertools
from pathlib import Path

from rdkit import Chem

from research.geometries.bonding import canonical
from research.geometries.sampling import has_closed_shell
from research.geometries.store import Entry

FOLDER = Path(__file__).parent / "lists"


def read(name: str) -> list[Entry]:
    """Read the entries of a list; a molecule that is listed twice has its first kind.

    Raises
    ------
    ValueError : a line has no kind, a SMILES is invalid, or the number of electrons is odd.
    """
    kinds: dict[str, str] = {}
    for line in (FOLDER / f"{name}.txt").read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        kind, found, rest = line.partition(":")
        if not found:
            raise ValueError(f"expected KIND: SMILES, got {line!r}")
        templates, _, groups = rest.partition("|")
        for smiles in expanded(templates.split(), groups.split()):
            molecule = Chem.MolFromSmiles(smiles)
            if molecule is None:
                raise ValueError(f"expected SMILES, got {smiles!r} in {line!r}")
            if not has_closed_shell(molecule):
                raise ValueError(f"expected an even number of electrons, got {smiles!r}")
            kinds.setdefault(canonical(smiles), kind.strip())
    return [Entry(smiles=smiles, kind=kind) for smiles, kind in kinds.items()]


def by_kind(name: str) -> dict[str, list[str]]:
    """SMILES of a list, for each kind."""
    groups: dict[str, list[str]] = {}
    for entry in read(name):
        groups.setdefault(entry.kind, []).append(entry.smiles)
    return groups


def expanded(templates: list[str], groups: list[str]) -> list[str]:
    """Fill every ``{}`` of the templates with each group."""
    found = []
    for template in templates:
        for chosen in itertools.product(groups, repeat=template.count("{}")):
            found.append(template.format(*chosen))
    return found
