"""Reads all molecules of a file, with the charge, spin multiplicity and isotopes it declares."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from ase import Atoms
from ase.io import iread
from ase.io.formats import UnknownFileTypeError, filetype

from se3set_ase.io.atom_names import elements_of_names
from se3set_ase.io.extended_xyz import frames_of_file
from se3set_ase.io.sdf import isotope_mass, read_sdf

__all__ = ["read_structures"]

#: Patterns of lines that declare charge and multiplicity in inputs and outputs.
GAUSSIAN = re.compile(r"Charge\s*=\s*(?P<charge>[-+]?\d+)\s+Multiplicity\s*=\s*(?P<mult>\d+)")
ORCA_CHARGE = re.compile(r"Total Charge\s+Charge\s+\.+\s+(?P<charge>[-+]?\d+)")
ORCA_MULTIPLICITY = re.compile(r"Multiplicity\s+Mult\s+\.+\s+(?P<mult>\d+)")
NWCHEM_CHARGE = re.compile(r"^\s*charge\s+:?\s*(?P<charge>[-+]?\d+)", re.IGNORECASE | re.MULTILINE)
NWCHEM_MULTIPLICITY = re.compile(
    r"^\s*(?:mult\s+|Spin multiplicity:\s+)(?P<mult>\d+)", re.IGNORECASE | re.MULTILINE
)


def read_structures(path: Path) -> Iterator[Atoms]:
    """Yield all structures of a file.

    Declarations of the file are in ``info["charge"]`` and ``info["spin_multiplicity"]``, and
    isotopes have their masses (u). They are read from SDF and mol files (formal charges, radicals,
    isotopes), PDB files (charge column), Gaussian and NWChem inputs and outputs, ORCA outputs,
    Chemical JSON, comments of XYZ files such as ``charge=-1 multiplicity=1`` or just ``-1 1``, and
    ASE's own formats (initial charges and magnetic moments). Atoms in XYZ files may also be named
    by atomic numbers, by labels such as ``C1``, and by ``D`` or ``T``.

    Raises
    ------
    OSError : no such file, or no permission to read it.
    ValueError : a structure cannot be read (the error has its number, from 0), some records of the
        file cannot be read, or declarations contradict each other.
    """
    try:
        form = filetype(str(path))
    except (UnknownFileTypeError, UnicodeDecodeError):
        form = ""  # ASE's reader reports it
    reader = READERS.get(form)
    frames = reader(path) if reader else frames_of_file(path)
    if (declare := DECLARATIONS.get(form)) is None:
        yield from frames
        return
    declared = declare(path)
    for atoms in frames:
        for name, value in declared.items():
            atoms.info.setdefault(name, value)
        yield atoms


def _xyz(path: Path) -> Iterator[Atoms]:
    """Extended or plain XYZ, with atom names that ASE does not read."""
    done = 0
    try:
        for atoms in frames_of_file(path):
            yield atoms
            done += 1
    except ValueError as error:
        if not isinstance(error.__cause__, KeyError):
            raise
        for index, atoms in enumerate(elements_of_names(path)):
            if index >= done:
                yield atoms


def _pdb(path: Path) -> Iterator[Atoms]:
    """All models of a PDB file, with the sum of the charges in columns 79 and 80."""
    charges: list[int | None] = [None]
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("ENDMDL"):
            charges.append(None)
        if not line.startswith(("ATOM", "HETATM")):
            continue
        if match := re.fullmatch(r"(\d)([-+])", line[78:80]):
            charge = int(match[2] + match[1])
            charges[-1] = charge + (charges[-1] or 0)
    frames = (atoms for atoms in frames_of_file(path) if len(atoms))  # END adds an empty one
    for index, atoms in enumerate(frames):
        if index < len(charges) and (total := charges[index]) is not None:
            atoms.info["charge"] = total
        yield atoms


def _gromacs(path: Path) -> Iterator[Atoms]:
    """One frame, because ASE reads only the first of a trajectory."""
    lines = path.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()
    if len(lines) > 1 and lines[1].strip().isdecimal() and len(lines) > int(lines[1]) + 3:
        raise ValueError(
            f"expected one frame in {path}, got {len(lines)} lines for {lines[1].strip()} atoms; "
            "convert the trajectory to PDB or extended XYZ"
        )
    yield from frames_of_file(path)


def _gaussian_input(path: Path) -> Iterator[Atoms]:
    """The job of a Gaussian input, with its charge, multiplicity and isotopes."""
    if re.search(r"^\s*--link1--", path.read_text(errors="replace"), re.IGNORECASE | re.MULTILINE):
        raise ValueError(f"expected one job in {path}, got several (--Link1--); split the file")
    list(frames_of_file(path))  # its errors name the file
    for atoms in iread(path, ":", format="gaussian-in", attach_calculator=True):
        parameters = atoms.calc.parameters
        atoms.calc = None
        for ours, theirs in (("charge", "charge"), ("spin_multiplicity", "mult")):
            if parameters.get(theirs) is not None:
                atoms.info[ours] = int(parameters[theirs])
        if any(isotopes := parameters.get("isolist") or []):
            masses = atoms.get_masses()
            if len(isotopes) != len(atoms):
                raise ValueError(
                    f"expected isotopes of {len(atoms)} atoms in {path}, got {len(isotopes)}"
                )
            for index, isotope in enumerate(isotopes):
                if isotope:
                    masses[index] = isotope_mass(int(atoms.numbers[index]), int(isotope))
            atoms.set_masses(masses)
        yield atoms


def _declared_by(*patterns: re.Pattern[str]) -> Callable[[Path], dict[str, int]]:
    """Make a reader of declarations; it raises ValueError if these contradict each other."""

    def declared(path: Path) -> dict[str, int]:
        text = path.read_text(encoding="utf-8", errors="replace")
        found: dict[str, int] = {}
        for pattern in patterns:
            for group, name in (("charge", "charge"), ("mult", "spin_multiplicity")):
                if group not in pattern.groupindex:
                    continue
                values = {int(match[group]) for match in pattern.finditer(text)}
                if len(values) > 1:
                    raise ValueError(f"expected one {name} in {path}, got {sorted(values)}")
                if values:
                    found[name] = values.pop()
        return found

    return declared


def _chemical_json(path: Path) -> dict[str, int]:
    properties = json.loads(path.read_text(encoding="utf-8")).get("properties", {})
    names = {"totalCharge": "charge", "totalSpinMultiplicity": "spin_multiplicity"}
    return {ours: int(properties[name]) for name, ours in names.items() if name in properties}


#: Readers of structures and of declarations, by ASE's name of the format.
READERS: dict[str, Callable[[Path], Iterator[Atoms]]] = {
    "extxyz": _xyz,
    "xyz": _xyz,
    "sdf": read_sdf,
    "mol": read_sdf,
    "proteindatabank": _pdb,
    "gromacs": _gromacs,
    "gaussian-in": _gaussian_input,
}
DECLARATIONS: dict[str, Callable[[Path], dict[str, int]]] = {
    "gaussian-out": _declared_by(GAUSSIAN),
    "orca-output": _declared_by(ORCA_CHARGE, ORCA_MULTIPLICITY),
    "nwchem-in": _declared_by(NWCHEM_CHARGE, NWCHEM_MULTIPLICITY),
    "nwchem-out": _declared_by(NWCHEM_CHARGE, NWCHEM_MULTIPLICITY),
    "cjson": _chemical_json,
}
