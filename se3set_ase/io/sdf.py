"""Reads SDF and mol files with RDKit: all records, formal charges, radicals and isotopes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols


def read_sdf(path: Path) -> Iterator[Atoms]:
    """Yield every record of a file.

    Yields
    ------
    Atoms with ``info["charge"]``, ``info["spin_multiplicity"]`` (one more than the number of
    radical electrons) and ``info["name"]`` (the title, if any); isotopes have their masses.

    Raises
    ------
    ValueError : RDKit cannot read a record, or it has no three-dimensional coordinates, or hydrogen
        atoms are missing. The error has the number of the record, from 0.
    """
    from rdkit import Chem, rdBase

    records = _records(path.read_text(encoding="utf-8", errors="replace"))
    if not records:
        raise ValueError(f"expected molecules in {path}, got none")
    for index, record in enumerate(records):
        with rdBase.BlockLogs():
            molecule = Chem.MolFromMolBlock(record, sanitize=False, removeHs=False)
        if molecule is None or not molecule.GetNumConformers():
            raise ValueError(f"cannot read record {index} of {path}: RDKit finds no molecule")
        yield atoms_of_molecule(molecule, f"record {index} of {path}")


def isotope_mass(number: int, isotope: int) -> float:
    """Mass in u of an isotope, by atomic number and number of nucleons.

    Raises
    ------
    ValueError : there is no such isotope.
    """
    from rdkit import Chem

    mass = 0.0
    if number <= isotope < 3 * number + 5:
        mass = float(Chem.GetPeriodicTable().GetMassForIsotope(number, isotope))
    if mass == 0.0:  # RDKit does not know it
        raise ValueError(f"expected an isotope of {chemical_symbols[number]}, got {isotope}")
    return mass


def _records(text: str) -> list[str]:
    """Mol blocks of a file, without their data items."""
    blocks: list[str] = []
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("$$$$"):
            blocks.append("\n".join(lines))
            lines = []
        else:
            lines.append(line)
    if any(map(str.strip, lines)):
        blocks.append("\n".join(lines))
    return [f"{block.partition('M  END')[0]}M  END\n" for block in blocks]


def atoms_of_molecule(molecule: Any, where: str) -> Atoms:
    """Atoms of an RDKit molecule with a conformer, see :func:`read_sdf`; errors name ``where``."""
    from rdkit import Chem

    positions = np.array(molecule.GetConformer().GetPositions())
    if len(positions) > 3 and not molecule.GetConformer().Is3D() and not positions[:, 2].any():
        raise ValueError(
            f"expected three-dimensional coordinates in {where}, got a drawing; give the SMILES, "
            "or a file with a conformer"
        )
    molecule.UpdatePropertyCache(strict=False)
    if missing := sum(atom.GetNumImplicitHs() for atom in molecule.GetAtoms()):
        raise ValueError(f"expected all hydrogen atoms in {where}, but {missing} are missing")
    atoms = Atoms([atom.GetAtomicNum() for atom in molecule.GetAtoms()], positions)
    isotopes = {atom.GetIdx(): atom.GetIsotope() for atom in molecule.GetAtoms()}
    if any(isotopes.values()):
        masses = atoms.get_masses()
        for index, isotope in isotopes.items():
            if isotope:
                masses[index] = isotope_mass(int(atoms.numbers[index]), isotope)
        atoms.set_masses(masses)
    atoms.info["charge"] = Chem.GetFormalCharge(molecule)
    radicals = sum(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())
    atoms.info["spin_multiplicity"] = 1 + radicals
    if title := molecule.GetProp("_Name").strip() if molecule.HasProp("_Name") else "":
        atoms.info["name"] = title
    return atoms
