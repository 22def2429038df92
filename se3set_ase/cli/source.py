"""What a command works on: the structures of a file, or a molecule given as SMILES."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from se3set_ase.cli.console import check_readable, read_frames, refuse_other_state, refuse_periodic

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["Source", "find_source", "read_molecule"]


@dataclass(frozen=True)
class Source:
    """Structures of a file, or one made from SMILES.

    Attributes
    ----------
    text : as the user gave it.
    stem : start of the names of outputs.
    molecule : made from SMILES; None for a file.
    """

    text: str
    stem: str
    molecule: Atoms | None = None

    def __str__(self) -> str:
        return self.text

    def frames(self, *, charge: int | None = None, isolated: bool = False) -> Iterator[Atoms]:
        """Yield the structures, see :func:`read_frames`."""
        if self.molecule is not None:
            yield self.molecule.copy()
        else:
            yield from read_frames(Path(self.text), charge=charge, isolated=isolated)


def find_source(text: str, seed: int) -> Source:
    """The file of this name, or else the molecule of these SMILES, which is then printed.

    Parameters
    ----------
    seed : of the conformer.

    Raises
    ------
    FileNotFoundError : neither a file nor SMILES.
    IsADirectoryError : a folder.
    """
    path = Path(text)
    if path.exists():
        check_readable(path)
        return Source(text=text, stem=path.stem)
    from se3set_ase.io.smiles import atoms_from_smiles, looks_like_smiles

    if not looks_like_smiles(text):
        raise FileNotFoundError(f"no file {text}")
    try:
        molecule = atoms_from_smiles(text, seed=seed)
    except ValueError as error:
        raise FileNotFoundError(f"no file {text}, and as SMILES: {error}") from error
    formula = molecule.get_chemical_formula()
    typer.echo(
        f"SMILES {text}: {formula}, charge {molecule.info['charge']}, conformer of RDKit with seed "
        f"{seed} (--conformer-seed)"
    )
    return Source(text=text, stem=formula, molecule=molecule)


def read_molecule(
    source: Source,
    *,
    record: int | None = None,
    charge: int | None = None,
    spin_multiplicity: int | None = None,
    isolated: bool = False,
    periodic: bool | None = None,
) -> Atoms:
    """One structure, without results of other programs.

    Parameters
    ----------
    record : number of the structure, from 0; the last one by default.
    charge, spin_multiplicity : given by the user.
    isolated : see :func:`read_frames`.
    periodic : see :func:`refuse_periodic`.

    Raises
    ------
    ValueError : no such record, no record given and the file has different molecules, a periodic
        cell, or the molecule declares another charge or spin than given.
    """
    formulas: dict[str, None] = {}
    chosen = None
    n_records = 0
    for index, atoms in enumerate(source.frames(charge=charge, isolated=isolated)):
        formulas[atoms.get_chemical_formula()] = None
        n_records += 1
        if record in (None, index):
            chosen = atoms
    if chosen is None:
        raise ValueError(f"expected a --record from 0 to {n_records - 1} of {source}, got {record}")
    if record is None and len(formulas) > 1:
        raise ValueError(
            f"expected one molecule in {source}, got {n_records} records of {len(formulas)} "
            f"different ones ({', '.join(list(formulas)[:3])}, ...); choose with --record N, from 0"
        )
    refuse_periodic(chosen, source, periodic=periodic)
    refuse_other_state(chosen, source, charge=charge, spin_multiplicity=spin_multiplicity)
    chosen.calc = None
    return chosen
