"""Elements, charge, spin and labels that atoms declare."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

#: Keys of ``atoms.info``, ours first; case does not matter.
NAMES = {
    "charge": ("charge", "total_charge"),
    "spin_multiplicity": ("spin_multiplicity", "multiplicity", "mult", "spin", "total_spin"),
}
#: Which of them a key declares.
_MEANINGS = {name: ours for ours, names in NAMES.items() for name in names}
#: Multiplicities that other programs write as 0 where they are unknown.
MAY_BE_UNKNOWN = ("spin", "total_spin")
#: Keys that resemble ours and are not read, with the key that is meant.
NOT_READ = {
    "net_charge": "charge",
    "formal_charge": "charge",
    "system_charge": "charge",
    "molecular_charge": "charge",
    "n_electrons": "charge",
    "nelectrons": "charge",
    "num_electrons": "charge",
    "spin_mult": "spin_multiplicity",
    "spinmult": "spin_multiplicity",
    "mult_spin": "spin_multiplicity",
    "uhf": "spin_multiplicity",
    "nunpaired": "spin_multiplicity",
    "n_unpaired": "spin_multiplicity",
    "unpaired_electrons": "spin_multiplicity",
    "magmom": "spin_multiplicity",
}


class UnsupportedSystem(ValueError):
    """The model does not support the system; the text says what it supports."""


def declared_charge_and_spin(atoms: Atoms) -> Mapping[str, int]:
    """``charge`` and ``spin_multiplicity`` that the atoms declare; absent where they do not.

    Read are the keys of ``atoms.info`` in ``NAMES``, in upper or lower case (``spin`` and
    ``total_spin`` are multiplicities, 0 if unknown), else the sums of the initial charges and
    magnetic moments where those were set. Keys that only resemble them (``NOT_READ``) get a
    warning.

    Raises
    ------
    UnsupportedSystem : a value is not a whole number, or values contradict each other.
    """
    said: dict[str, dict[Any, int]] = {}
    for key, value in atoms.info.items():
        name = str(key).lower()
        if ours := _MEANINGS.get(name):
            number = value if type(value) is int else _whole(value, f"atoms.info[{key!r}]")
            if number or name not in MAY_BE_UNKNOWN:
                said.setdefault(ours, {})[key] = number
        elif name in NOT_READ:
            warnings.warn(f"atoms.info[{key!r}] is not read; use {NOT_READ[name]}", stacklevel=1)
    declared: dict[str, int] = {}
    for ours, numbers in said.items():
        declared[ours], *others = set(numbers.values())
        if others:
            raise UnsupportedSystem(f"expected one {ours} in atoms.info, got {numbers}")
    if atoms.has("initial_charges"):
        # Sums of partial charges are only nearly integers.
        total = _finite(atoms.get_initial_charges().sum(), "the sum of the initial charges")
        if round(total):
            declared.setdefault("charge", round(total))
    if atoms.has("initial_magmoms"):
        moments = np.asarray(atoms.get_initial_magnetic_moments())
        total = _finite(moments.sum(), "the sum of the initial magnetic moments")
        if unpaired := round(abs(total)):
            declared.setdefault("spin_multiplicity", unpaired + 1)
    return declared


def entries_of_declarations(info: Mapping[Any, Any]) -> list[Any]:
    """Values that declare charge and spin, for a fingerprint; None for absent names."""
    names = [name for of_one in NAMES.values() for name in of_one]
    others = sorted(str(k) for k in info if str(k).lower() in _MEANINGS and k not in names)
    return [info.get(name) for name in [*names, *others]]


def declared_labels(atoms: Atoms) -> tuple[float | None, np.ndarray | None]:
    """Energy (eV) and forces (N, 3) (eV/Angstrom) of ``atoms.calc``; None for missing ones.

    Raises
    ------
    ValueError : they are not finite numbers, or forces have another shape.
    """
    results = getattr(atoms.calc, "results", {})
    labels: dict[str, np.ndarray] = {}
    for name in ("energy", "forces"):
        if results.get(name) is None:
            continue
        value = np.asarray(results[name])
        if value.dtype.kind not in "iuf":  # strings or Booleans, from a damaged file
            raise ValueError(f"expected numbers as {name}, got {results[name]!r:.60}")
        labels[name] = value.astype(np.float64)
        if not np.isfinite(labels[name]).all():
            raise ValueError(f"expected finite {name}, got NaN or infinite values")
    energy, forces = labels.get("energy"), labels.get("forces")
    if energy is not None and energy.size != 1:
        raise ValueError(f"expected one energy, got an array of shape {energy.shape}")
    if forces is not None and forces.shape != (len(atoms), 3):
        raise ValueError(f"expected forces of shape ({len(atoms)}, 3), got {forces.shape}")
    return None if energy is None else float(energy.item()), forces


def declared_dipole(atoms: Atoms) -> np.ndarray | None:
    """Dipole (3,) (e Angstrom) of ``atoms.calc``; None if there is none.

    Raises
    ------
    ValueError : not three finite numbers.
    """
    value = getattr(atoms.calc, "results", {}).get("dipole")
    if value is None:
        return None
    dipole = np.asarray(value)
    if dipole.shape != (3,) or dipole.dtype.kind not in "iuf" or not np.isfinite(dipole).all():
        raise ValueError(f"expected three finite numbers as dipole, got {value!r:.60}")
    return dipole.astype(np.float64)


def check_numbers(numbers: np.ndarray) -> None:
    """Raise ValueError for invalid atomic numbers (N,); 0 is a dummy atom."""
    last = len(chemical_symbols) - 1
    bad = np.flatnonzero((numbers < 0) | (numbers > last))
    if len(bad):
        raise ValueError(
            f"expected atomic numbers from 0 to {last}, got {numbers[bad[0]]} for atom {bad[0]}"
        )


def check_order(atoms: Atoms, numbers: Sequence[int]) -> None:
    """Raise ValueError unless the atoms have these atomic numbers, in this order."""
    if list(numbers) != atoms.numbers.tolist():
        raise ValueError(
            f"expected the atoms of the given molecule, in its order ({len(numbers)} atoms), "
            f"got {atoms.get_chemical_formula()}"
        )


def check_electrons(atoms: Atoms, *, charge: int, spin_multiplicity: int) -> None:
    """Raise :class:`UnsupportedSystem` if the number of electrons does not allow the spin.

    An isolated atom may have any spin: it is the reference of all energies.
    """
    electrons = int(atoms.numbers.sum()) - charge
    if len(atoms) > 1 and (electrons - spin_multiplicity) % 2 == 0:
        raise UnsupportedSystem(
            f"expected an {'even' if spin_multiplicity % 2 else 'odd'} number of electrons for "
            f"charge {charge} and spin_multiplicity {spin_multiplicity}, got {electrons} of "
            f"{atoms.get_chemical_formula()}: an atom is missing, or it is an ion or a radical"
        )


def _finite(value: Any, what: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise UnsupportedSystem(f"expected a number as {what}, got {value!r}")
    return number


def _whole(value: Any, what: str) -> int:
    number = _finite(value, what)
    if number != round(number):
        raise UnsupportedSystem(f"expected a whole number as {what}, got {value!r}")
    return round(number)
