"""Lists of molecules: files of kinds, SMILES and templates.

A line is ``KIND: SMILES SMILES ...`` or ``KIND: TEMPLATE ... | PIECE PIECE ...``, where each ``{}``
of a template is replaced by every piece (two of them by every pair). A line that begins with ``#``
is a comment.
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
    """Entries of a list, without duplicates; the first kind of a molecule counts.

    Raises
    ------
    ValueError : a line without a kind, no valid SMILES, or an odd number of electrons.
    """
    kinds: dict[str, str] = {}
    for line in (FOLDER / f"{name}.txt").read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        kind, found, rest = line.partition(":")
        if not found:
            raise ValueError(f"expected KIND: SMILES, got {line!r}")
        templates, _, pieces = rest.partition("|")
        for smiles in expanded(templates.split(), pieces.split()):
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


def expanded(templates: list[str], pieces: list[str]) -> list[str]:
    """Templates with every choice of pieces in the places of ``{}``."""
    found = []
    for template in templates:
        for chosen in itertools.product(pieces, repeat=template.count("{}")):
            found.append(template.format(*chosen))
    return found
