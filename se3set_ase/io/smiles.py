"""Molecules from SMILES, with a conformer by RDKit."""

from __future__ import annotations

import re
import warnings
from typing import Any

from ase import Atoms

from se3set_ase.io.extended_xyz import storable_info
from se3set_ase.io.sdf import atoms_of_molecule

__all__ = ["atoms_from_smiles", "looks_like_smiles"]

#: Steps of the force field.
STEPS = 2000
#: Everything between brackets, organic atoms with and without capitals, bonds, rings, branches.
SYMBOLS = re.compile(r"(\[[^\[\]]*\]?|Cl|Br|[BCNOPSFI]|[bcnops]|[-=#$:/\\.()%\d*])+")


def looks_like_smiles(text: str) -> bool:
    """Whether all characters may be of SMILES, right or wrong, and not of a usual file name.

    >>> looks_like_smiles("c1ccc"), looks_like_smiles("etanol.xyz")
    (True, False)
    """
    return SYMBOLS.fullmatch(text) is not None


def atoms_from_smiles(smiles: str, *, seed: int = 0) -> Atoms:
    """A conformer of the molecule that SMILES describe.

    Positions are those of RDKit: distance geometry (ETKDGv3), then the force field MMFF94, or UFF
    for elements that it does not know. Other seeds give other conformers; the same seed and version
    of RDKit give the same one.

    Warns of radicals, and of stereocentres and double bonds whose configuration is not given.

    Parameters
    ----------
    smiles : of one molecule.
    seed : of the random numbers, at least 0.

    Returns
    -------
    Atoms with ``info["charge"]`` (the sum of formal charges), ``info["spin_multiplicity"]`` (one
    more than the radical electrons), ``info["smiles"]`` and ``info["conformer_seed"]``; isotopes
    have their masses.

    Raises
    ------
    ValueError : not SMILES, several molecules, an atom that is no element, or RDKit finds no
        conformer.
    """
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        molecule = _molecule(smiles)
        undefined = _undefined(molecule)
        _embed(molecule, smiles, seed)
        Chem.AssignStereochemistryFrom3D(molecule)
    atoms = atoms_of_molecule(molecule, f"the SMILES {smiles}")
    origin, _ = storable_info({"smiles": smiles})
    atoms.info |= {**origin, "conformer_seed": seed}
    if (spin := atoms.info["spin_multiplicity"]) > 1:
        warnings.warn(
            f"the SMILES {smiles} is a radical with {spin - 1} unpaired "
            f"electron{'s' if spin > 2 else ''}: spin multiplicity {spin}",
            stacklevel=2,
        )
    if undefined:
        found = ", ".join(_configuration(molecule, kind, index) for kind, index in undefined)
        warnings.warn(
            f"the SMILES {smiles} does not define all configurations; in this conformer: {found}",
            stacklevel=2,
        )
    return atoms


def _molecule(smiles: str) -> Any:
    """With all hydrogen atoms."""
    from rdkit import Chem

    raw = Chem.MolFromSmiles(smiles, sanitize=False)
    if raw is None:
        raise ValueError(f"expected SMILES, got {smiles!r} with a wrong symbol, ring or bracket")
    if problems := Chem.DetectChemistryProblems(raw):
        raise ValueError(f"expected SMILES of a molecule, got {smiles!r}: {problems[0].Message()}")
    if not raw.GetNumAtoms():
        raise ValueError(f"expected SMILES with atoms, got {smiles!r}")
    if not all(atom.GetAtomicNum() for atom in raw.GetAtoms()):
        raise ValueError(f"expected elements in the SMILES {smiles!r}, got a wildcard (*)")
    if (n := len(Chem.GetMolFrags(raw))) > 1:
        raise ValueError(
            f"expected one molecule in the SMILES {smiles!r}, got {n}: SMILES do not say how "
            "they lie to each other; give a file with positions"
        )
    return Chem.AddHs(Chem.MolFromSmiles(smiles))


def _embed(molecule: Any, smiles: str, seed: int) -> None:
    from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

    options: Any = rdDistGeom.ETKDGv3()
    options.randomSeed = seed
    if rdDistGeom.EmbedMolecule(molecule, options) < 0:
        options.useRandomCoords = True
        if rdDistGeom.EmbedMolecule(molecule, options) < 0:
            raise ValueError(
                f"RDKit finds no conformer of the SMILES {smiles!r} with seed {seed}; try another "
                "seed, or give a file with positions"
            )
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(molecule):
        rdForceFieldHelpers.MMFFOptimizeMolecule(molecule, maxIters=STEPS)
    elif rdForceFieldHelpers.UFFHasAllMoleculeParams(molecule):
        rdForceFieldHelpers.UFFOptimizeMolecule(molecule, maxIters=STEPS)


def _undefined(molecule: Any) -> list[tuple[str, int]]:
    """Kind and index of atoms and bonds whose configuration is not given."""
    from rdkit import Chem

    return [
        ("bond" if info.type == Chem.StereoType.Bond_Double else "atom", info.centeredOn)
        for info in Chem.FindPotentialStereo(molecule)
        if info.specified == Chem.StereoSpecified.Unspecified
        and info.type in (Chem.StereoType.Bond_Double, Chem.StereoType.Atom_Tetrahedral)
    ]


def _configuration(molecule: Any, kind: str, index: int) -> str:
    """For instance ``C1 is R`` or ``C1=C2 is E``."""
    if kind == "bond":
        bond = molecule.GetBondWithIdx(index)
        ends = (bond.GetBeginAtom(), bond.GetEndAtom())
        name = "=".join(f"{atom.GetSymbol()}{atom.GetIdx()}" for atom in ends)
        return f"{name} is {str(bond.GetStereo()).removeprefix('STEREO')}"
    atom = molecule.GetAtomWithIdx(index)
    label = atom.GetProp("_CIPCode") if atom.HasProp("_CIPCode") else "one of two"
    return f"{atom.GetSymbol()}{index} is {label}"
