"""Molecules from SMILES: the right one, with its charge and spin, or a refusal in words."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write
from rdkit import Chem
from rdkit.Chem import rdDetermineBonds

from se3set_ase.io.smiles import atoms_from_smiles, looks_like_smiles


def smiles_of(atoms: Atoms) -> str:
    """Perceived from the positions alone."""
    lines = [f"{a.symbol} {' '.join(f'{x:.6f}' for x in a.position)}" for a in atoms]
    molecule = Chem.MolFromXYZBlock("\n".join([str(len(atoms)), "", *lines]))
    rdDetermineBonds.DetermineBonds(molecule, charge=atoms.info["charge"])
    return str(Chem.MolToSmiles(Chem.RemoveHs(molecule)))


@pytest.mark.parametrize(
    "smiles",
    [
        "CCO",
        "CC(=O)[O-]",
        "C[NH3+]",
        "C[C@H](F)O",
        "F/C=C/F",
        "F/C=C\\F",
        "c1ccncc1",
        "N#Cc1ccccc1",
    ],
)
def test_positions_are_of_the_molecule(smiles: str) -> None:
    atoms = atoms_from_smiles(smiles)
    assert smiles_of(atoms) == Chem.CanonSmiles(smiles)
    assert atoms.info["spin_multiplicity"] == 1


@pytest.mark.parametrize(
    ("smiles", "charge"), [("CC(=O)[O-]", -1), ("[O-]C(=O)CC(=O)[O-]", -2), ("[NH4+]", 1), ("C", 0)]
)
def test_charges_are_declared(smiles: str, charge: int) -> None:
    assert atoms_from_smiles(smiles).info["charge"] == charge


def test_isotopes_keep_their_masses() -> None:
    masses = atoms_from_smiles("[2H]C([2H])([2H])O").get_masses()
    assert np.sort(masses)[1:4] == pytest.approx(2.014, abs=1e-3)
    assert np.sort(masses)[0] == pytest.approx(1.008, abs=1e-3)


def test_the_seed_chooses_the_conformer() -> None:
    one, again = (atoms_from_smiles("CCCCCO", seed=3) for _ in range(2))
    other = atoms_from_smiles("CCCCCO", seed=4)
    assert np.array_equal(one.positions, again.positions)
    assert np.abs(one.get_all_distances() - other.get_all_distances()).max() > 0.5
    assert one.info["conformer_seed"] == 3


@pytest.mark.parametrize("smiles", ["[He]", "[H][H]", "[H+]", "[Na+]"])
def test_the_smallest(smiles: str) -> None:
    atoms = atoms_from_smiles(smiles)
    assert np.isfinite(atoms.positions).all()
    if len(atoms) == 2:
        assert atoms.get_distance(0, 1) == pytest.approx(0.74, abs=0.15)


@pytest.mark.parametrize(
    ("smiles", "words", "multiplicity"),
    [
        ("[CH3]", "1 unpaired electron: spin multiplicity 2", 2),
        ("[O][O]", "2 unpaired electrons: spin multiplicity 3", 3),
    ],
)
def test_radicals_are_said(smiles: str, words: str, multiplicity: int) -> None:
    with pytest.warns(UserWarning, match=words):
        atoms = atoms_from_smiles(smiles)
    assert atoms.info["spin_multiplicity"] == multiplicity


def test_undefined_configurations_are_said() -> None:
    """The warning says what the positions are."""
    with pytest.warns(UserWarning, match="does not define all") as warned:
        atoms = atoms_from_smiles("CC=CC(F)O")
    found = str(warned[0].message)
    made = Chem.MolFromSmiles(smiles_of(atoms))
    ((_, label),) = Chem.FindMolChiralCenters(made)
    (bond,) = (b for b in made.GetBonds() if b.GetBondType() == Chem.BondType.DOUBLE)
    assert f"C3 is {label}" in found
    assert f"C1=C2 is {str(bond.GetStereo())[-1]}" in found


@pytest.mark.parametrize(
    ("smiles", "words"),
    [
        ("O.O", "expected one molecule .* got 2: SMILES do not say how they lie"),
        ("[Na+].[Cl-]", "expected one molecule"),
        ("C(C)(C)(C)(C)C", "Explicit valence for atom # 0 C, 5"),
        ("c1ccc", "wrong symbol, ring or bracket"),
        ("C*", r"a wildcard \(\*\)"),
        ("", "with atoms"),
        ("hello", "wrong symbol"),
    ],
)
def test_refused_in_words(smiles: str, words: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match=words):
        atoms_from_smiles(smiles)
    assert capfd.readouterr() == ("", "")  # RDKit would print


def test_files_of_it_can_be_read(tmp_path) -> None:
    """Extended XYZ cannot store the backslash of a Z double bond."""
    for smiles in ("F/C=C\\F", "CC(=O)O"):
        write(tmp_path / "a.xyz", atoms_from_smiles(smiles))
        assert read(tmp_path / "a.xyz").info.get("smiles") in (smiles, None)
    assert read(tmp_path / "a.xyz").info["smiles"] == "CC(=O)O"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((name, False) for name in ("etanol.xyz", "POSCAR", "mol.cif", "data/C.sdf", "~/a.xyz")),
        *((smiles, True) for smiles in ("CCO", "c1ccc", "[Na+].[Cl-]", "C1CC1(", "F/C=C\\F")),
    ],
)
def test_names_of_files_do_not_look_like_smiles(text: str, expected: bool) -> None:
    assert looks_like_smiles(text) is expected
