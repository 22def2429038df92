"""What is learnt: a molecule or a reaction, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from ase import Atoms

from se3set_ase.checkpoint.metadata import ModelMetadata
from se3set_ase.io.smiles import atoms_from_smiles, looks_like_smiles
from se3set_ase.io.structures import read_structures
from se3set_ase.io.text import symbol
from se3set_ase.label.protocol import LabelError, check_overlap
from se3set_ase.system import check_electrons, declared_charge_and_spin

Given: TypeAlias = str | Path | Atoms | Sequence[Atoms]
"""A file, SMILES, or atoms."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """Geometries of one molecule, or the two ends of a reaction.

    Attributes
    ----------
    frames : without results and cells; they declare charge and spin multiplicity.
    reaction : whether they are reactant and product.
    charge : e.
    """

    frames: tuple[Atoms, ...]
    reaction: bool
    charge: int

    @property
    def formula(self) -> str:
        """Molecular formula."""
        return str(self.frames[0].get_chemical_formula())


def read_start(
    given: Sequence[Given],
    *,
    charge: int | None = None,
    reaction: bool | None = None,
    conformer_seed: int = 0,
) -> Start:
    """Read and check what is to be learnt.

    Parameters
    ----------
    given : one molecule; reactant and product; or many geometries of one molecule.
    charge : e; by default what the geometries declare, else 0.
    reaction : whether two geometries are reactant and product; by default they are.
    conformer_seed : of conformers made from SMILES.

    Raises
    ------
    FileNotFoundError : neither a file nor SMILES.
    ValueError : geometries of different atoms, another charge than declared, an open shell,
        overlapping atoms, a periodic cell, or SMILES for a reaction.
    """
    frames = [atoms for one in given for atoms in _frames(one, conformer_seed)]
    if not frames:
        raise ValueError("expected a molecule to learn, got none")
    if reaction and len(frames) != 2:
        raise ValueError(
            f"expected two geometries for a reaction, reactant and product, got {len(frames)}"
        )
    reaction = len(frames) == 2 if reaction is None else reaction
    if reaction and any(isinstance(one, str) and not Path(one).exists() for one in given):
        raise ValueError(
            "expected files of reactant and product, got SMILES, which do not say which atom of "
            "one is which atom of the other"
        )
    _check_same_atoms(frames, "reactant and product" if reaction else "all geometries")
    states = {_state(atoms, charge) for atoms in frames}
    if len(states) > 1:
        raise ValueError(
            f"expected geometries of one charge, got {', '.join(map(str, sorted(states)))}"
        )
    total = states.pop()
    ready = []
    for index, atoms in enumerate(frames):
        if atoms.pbc.any():
            raise ValueError(
                f"expected molecules, got a periodic cell in geometry {index}; remove it first"
            )
        try:
            check_overlap(atoms)
        except LabelError as error:
            raise ValueError(f"geometry {index}: {error}") from error
        new = Atoms(atoms.numbers, atoms.positions)
        if atoms.has("masses"):  # isotopes
            new.set_masses(atoms.get_masses())
        new.info = {"charge": total, "spin_multiplicity": 1}
        ready.append(new)
    if reaction and np.abs(ready[0].get_all_distances() - ready[1].get_all_distances()).max() < 0.1:
        raise ValueError("expected different geometries of reactant and product, got the same")
    return Start(frames=tuple(ready), reaction=reaction, charge=total)


def check_elements(start: Start, model: ModelMetadata) -> None:
    """Raise ValueError unless the model that training starts from has all elements."""
    if foreign := sorted(set(start.frames[0].numbers.tolist()) - set(model.elements)):
        raise ValueError(
            f"expected the elements {', '.join(model.symbols)} of the initial model "
            f"{model.name!r}, got {', '.join(map(symbol, foreign))}; 'none' as initial model "
            "starts from random weights"
        )


def _frames(given: Given, seed: int) -> Iterable[Atoms]:
    if isinstance(given, Atoms):
        return [given]
    if not isinstance(given, str | Path):
        return list(given)
    path = Path(given)
    if path.is_dir():
        raise IsADirectoryError(f"expected a file with atoms, got the folder {path}")
    if path.exists():
        return list(read_structures(path))
    if not looks_like_smiles(str(given)):
        raise FileNotFoundError(f"no file {given}")
    try:
        return [atoms_from_smiles(str(given), seed=seed)]
    except ValueError as error:
        raise FileNotFoundError(f"no file {given}, and as SMILES: {error}") from error


def _check_same_atoms(frames: Sequence[Atoms], what: str) -> None:
    first = frames[0]
    for index, atoms in enumerate(frames):
        if np.array_equal(atoms.numbers, first.numbers):
            continue
        got = f"{first.get_chemical_formula()} and {atoms.get_chemical_formula()}"
        if sorted(atoms.numbers) == sorted(first.numbers):
            got = f"another order in geometry {index}"
        raise ValueError(f"expected the same atoms in the same order in {what}, got {got}")


def _state(atoms: Atoms, charge: int | None) -> int:
    """The charge; ValueError for an open shell."""
    declared = declared_charge_and_spin(atoms)
    if charge is not None and declared.get("charge", charge) != charge:
        raise ValueError(
            f"expected charge {charge}, as given, but {atoms.get_chemical_formula()} declares "
            f"{declared['charge']}"
        )
    spin = declared.get("spin_multiplicity", 1)
    if spin != 1:
        raise ValueError(
            f"expected a closed shell, got spin multiplicity {spin} of "
            f"{atoms.get_chemical_formula()}: open shells cannot be learnt"
        )
    total = declared.get("charge", 0) if charge is None else charge
    check_electrons(atoms, charge=total, spin_multiplicity=1)
    return total
