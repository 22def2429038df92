"""Reads XYZ files whose atom names are not chemical symbols: numbers, labels, D and T."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from ase.io.formats import open_with_compression

from se3set_ase.io.extended_xyz import from_text

#: Masses in u of deuterium and tritium: CODATA 2018, nucleus and electron.
HYDROGENS = {"D": 2.014102, "T": 3.016049}
LABEL = re.compile(r"([A-Z][a-z]?)[-_]?\d+")


def elements_of_names(path: Path) -> Iterator[Atoms]:
    """Yield the frames of an XYZ file with atom names replaced by chemical symbols.

    ``8`` is oxygen, ``C1`` is carbon, ``D`` and ``T`` are hydrogen with the mass of the isotope.

    Raises
    ------
    ValueError : another name; the error has the line number.
    """
    with open_with_compression(str(path), "rb") as file:
        lines = file.read().decode("utf-8").splitlines()
    start = 0
    while start < len(lines) and lines[start].strip():
        count = lines[start].strip()
        if not count.isdecimal() or start + 2 + int(count) > len(lines):
            raise ValueError(
                f"expected a number of atoms in line {start + 1} of {path}, got {count!r}"
            )
        column = _column(lines[start + 1])
        stop = start + 2 + int(count)
        block = lines[start : start + 2]
        masses: dict[int, float] = {}
        for number in range(start + 2, stop):
            words = lines[number].split()
            if len(words) <= column:
                raise ValueError(f"expected an atom in line {number + 1} of {path}")
            symbol, mass = _element(words[column], f"line {number + 1} of {path}")
            if mass is not None:
                masses[number - start - 2] = mass
            words[column] = symbol
            block.append(" ".join(words))
        (atoms,) = from_text("\n".join(block) + "\n")
        if masses:
            all_masses = atoms.get_masses()
            all_masses[list(masses)] = list(masses.values())
            atoms.set_masses(all_masses)
        yield atoms
        start = stop


def _column(comment: str) -> int:
    """Index of the column of names: 0, unless the comment of extended XYZ has another."""
    if (properties := re.search(r'Properties="?([\w:]+)', comment)) is None:
        return 0
    column = 0
    fields = properties[1].split(":")
    for name, count in zip(fields[::3], fields[2::3], strict=False):
        if name == "species":
            break
        column += int(count)
    return column


def _element(name: str, where: str) -> tuple[str, float | None]:
    """Chemical symbol of a name, and the mass if it is an isotope."""
    if name in HYDROGENS:
        return "H", HYDROGENS[name]
    if name in atomic_numbers:
        return name, None
    if name.isdecimal() and 0 < int(name) < len(chemical_symbols):
        return chemical_symbols[int(name)], None
    if (label := LABEL.fullmatch(name)) and label[1] in atomic_numbers:
        return label[1], None
    raise ValueError(
        f"expected a chemical symbol, an atomic number or a label such as C1 in {where}, got "
        f"{name!r}"
    )
