"""Shared by the commands: read molecules and protect files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from se3set_ase.cli.options import Membership, Precision

if TYPE_CHECKING:
    from ase import Atoms

    from se3set_ase.calculator import SE3SetCalculator

__all__ = [
    "check_atoms_formats",
    "check_cells",
    "check_outputs",
    "check_readable",
    "count_frames",
    "make_calculator",
    "read_frames",
    "refuse_other_state",
    "refuse_periodic",
]


def check_readable(file: Path) -> None:
    """Raise FileNotFoundError or IsADirectoryError unless the path is a file."""
    if not file.exists():
        raise FileNotFoundError(f"no file {file}")
    if file.is_dir():
        raise IsADirectoryError(f"expected a file with atoms, got the folder {file}")


def read_frames(
    file: Path, *, charge: int | None = None, isolated: bool = False
) -> Iterator[Atoms]:
    """Yield the structures of a file, with declared charges and spins.

    Warns of a molecule that declares no charge but has the bonds of an ion, once for each formula
    and charge. Frames with the same order of atoms may be a trajectory: what may be its broken
    bonds is no reason for a warning.

    Parameters
    ----------
    charge : given by the user; there is no warning then.
    isolated : remove periodic cells.

    Raises
    ------
    ValueError : a structure cannot be read, or there are none.
    """
    from se3set_ase.io.charge import charge_that_fits
    from se3set_ase.io.periodic import without_cell
    from se3set_ase.io.structures import read_structures
    from se3set_ase.system import declared_charge_and_spin

    orders: set[bytes] = set()
    warned: set[tuple[str, int]] = set()
    empty = True
    for atoms in read_structures(file):
        empty = False
        if isolated and atoms.pbc.any():
            atoms = without_cell(atoms)
        declared = (
            charge is not None or atoms.pbc.any() or "charge" in declared_charge_and_spin(atoms)
        )
        order = atoms.numbers.tobytes()
        fitting = None if declared else charge_that_fits(atoms, broken=order not in orders)
        orders |= set() if declared else {order}
        found = atoms.get_chemical_formula(), fitting or 0
        if fitting is not None and found not in warned:
            warned.add(found)
            warnings.warn(
                f"{file} declares no charge for {found[0]}, and its bonds fit charge {fitting:+d}, "
                f"not a neutral molecule; --charge={fitting:+d} says so",
                stacklevel=2,
            )
        yield atoms
    if empty:
        raise ValueError(f"expected frames with atoms in {file}, got none")


def refuse_periodic(atoms: Atoms, file: object, *, periodic: bool | None = None) -> Atoms:
    """The same atoms; ValueError for a periodic cell.

    ``periodic`` : whether the user wants cells; None if the command has none.
    """
    if atoms.pbc.any() and not periodic:
        cells = "" if periodic is None else "--periodic computes the cell, "
        raise ValueError(
            f"expected molecules, got a periodic cell in {file}; {cells}--isolated takes its atoms "
            "as molecules without one"
        )
    return atoms


def check_cells(isolated: bool, periodic: bool) -> None:
    """Raise ValueError if both options are given."""
    if isolated and periodic:
        raise ValueError("expected --isolated or --periodic, got both")


def refuse_other_state(
    atoms: Atoms, file: object, *, charge: int | None, spin_multiplicity: int | None
) -> Atoms:
    """The same atoms; ValueError if they declare another charge or spin than the options."""
    from se3set_ase.system import declared_charge_and_spin

    declared = declared_charge_and_spin(atoms)
    for name, given in (("charge", charge), ("spin_multiplicity", spin_multiplicity)):
        if given is not None and (stated := declared.get(name, given)) != given:
            option = "--" + name.replace("_", "-")
            raise ValueError(
                f"{file} declares {name.replace('_', ' ')} {stated} for "
                f"{atoms.get_chemical_formula()}, but {option} is {given}; leave out {option}, or "
                "correct the declaration"
            )
    return atoms


def count_frames(file: Path) -> int | None:
    """Number of frames of an (extended) XYZ file, for the progress bar; None if unknown."""
    if file.suffix not in (".xyz", ".extxyz"):
        return None
    n_frames = 0
    with open(file, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            count = line.strip()
            if not count.isdecimal() or len(count) > 12:  # no file has so many atoms
                return None
            skip = int(count) + 1
            next(islice(lines, skip, skip), None)
            n_frames += 1
    return n_frames


def check_outputs(overwrite: bool, *paths: Path, earlier: Collection[Path] = ()) -> None:
    """Raise OSError or ValueError if an output exists, is given twice or cannot be written.

    Outputs of an ``earlier`` run that is resumed may exist.
    """
    if len({path.resolve() for path in paths}) < len(paths):
        raise ValueError(
            f"expected a different name for each output, got {', '.join(map(str, paths))}"
        )
    there = [str(path) for path in paths if path.exists() and path not in earlier]
    if there and not overwrite:
        raise FileExistsError(f"{', '.join(there)} exists already; give other names or --overwrite")
    for path in paths:
        if not path.parent.is_dir():
            raise FileNotFoundError(f"no folder {path.parent} to write {path.name} into")
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(f"not allowed to write into {path.parent}")


def check_atoms_formats(*paths: Path) -> None:
    """Raise ValueError for a file name whose format ASE cannot write."""
    from ase.io.formats import filetype, ioformats

    for path in paths:
        form = filetype(str(path), read=False)
        if form not in ioformats or not ioformats[form].can_write:
            raise ValueError(
                f"expected a file name with a format that ASE writes, like .xyz, got {path}"
            )


def make_calculator(
    model: str,
    device: str,
    dtype: Precision,
    charge: int | None,
    spin_multiplicity: int | None,
    compile: bool,
    refragment: Membership = Membership.smooth,
) -> SE3SetCalculator:
    """A calculator with the options of a command; a neutral singlet if they are None."""
    from se3set_ase.calculator import SE3SetCalculator
    from se3set_ase.io.progress import progress_bar

    with progress_bar("compiling", None, "", show=compile):
        return SE3SetCalculator(
            model,
            device=device,
            dtype=dtype.value,
            charge=charge or 0,
            spin_multiplicity=spin_multiplicity or 1,
            compile=compile,
            refragment=refragment.value,
        )
