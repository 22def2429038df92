"""Tables, names of atoms and molecular formulas as text; warnings."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence

import numpy as np
from ase.data import chemical_symbols
from ase.formula import Formula


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns padded to their widest cell; numbers are right-aligned.

    >>> print(table(["atom", "charge"], [["H", "0.5"], ["Cl", "-10.25"]]))
    atom  charge
    ----  ------
    H        0.5
    Cl    -10.25
    """
    rows = [list(row) for row in rows]
    widths = [max(len(row[k]) for row in [header, *rows]) for k in range(len(header))]
    right = [bool(rows) and all(_is_number(row[k]) for row in rows) for k in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if at_right else cell.ljust(width)
            for cell, width, at_right in zip(cells, widths, right, strict=True)
        )
        return "  ".join(padded).rstrip()

    return "\n".join([line(header), line(["-" * width for width in widths]), *map(line, rows)])


def atom_names(kind: str, atoms: Sequence[int], symbols: Sequence[str], most: int = 12) -> str:
    """Atoms of an event: ``O2-H5`` for a bond, ``O2 H5 C1 and 3 more`` for others."""
    named = [f"{symbol}{index}" for symbol, index in zip(symbols, atoms, strict=True)]
    joint = "-" if kind.startswith("bond") else " "
    return joint.join(named[:most]) + (
        f" and {len(named) - most} more" if len(named) > most else ""
    )


def formula(numbers: np.ndarray, atoms: Iterable[int] | None = None) -> str:
    """Molecular formula in Hill order, of all or of some atoms.

    >>> formula(np.array([8, 1, 6, 1]), (1, 2, 3))
    'CH2'
    """
    some = numbers if atoms is None else numbers[list(atoms)]
    return str(Formula.from_list([chemical_symbols[z] for z in some]).format("hill"))


def counted(count: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "frame"), counted(2, "frame")
    ('1 frame', '2 frames')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def symbol(number: int) -> str:
    """Chemical symbol, or ``Z=<n>`` if ``n`` is not an element (damaged files only)."""
    return chemical_symbols[number] if 0 <= number < len(chemical_symbols) else f"Z={number}"


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", ""))
    except ValueError:
        return cell in ("", "-")
    return True


def warn_each_time(text: str) -> None:
    """Issue a UserWarning each time, also if the same text was issued before."""
    warnings.warn_explicit(text, UserWarning, __file__, 0, __name__)
