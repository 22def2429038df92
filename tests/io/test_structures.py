"""Reading of declarations: charge, spin, isotopes, all records, other names of atoms."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import write
from rdkit import Chem
from rdkit.Chem import AllChem

from se3set_ase.io.charge import charge_that_fits
from se3set_ase.io.structures import read_structures
from se3set_ase.system import declared_charge_and_spin


def block(smiles: str) -> str:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    return str(Chem.MolToMolBlock(mol))


def structures(smiles: str) -> Atoms:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    return Atoms([a.GetSymbol() for a in mol.GetAtoms()], mol.GetConformer().GetPositions())


def test_every_record_of_an_sdf(tmp_path: Path) -> None:
    path = tmp_path / "three.sdf"
    path.write_text("".join(f"{block(s)}$$$$\n" for s in ("CO", "CCO", "CC(=O)C")))
    found = list(read_structures(path))
    assert [a.get_chemical_formula() for a in found] == ["CH4O", "C2H6O", "C3H6O"]
    assert [a.info["charge"] for a in found] == [0, 0, 0]


@pytest.mark.parametrize(
    ("smiles", "charge", "spin_multiplicity"),
    [("[O-]C(=O)CC(=O)[O-]", -2, 1), ("[NH3+]CC[NH3+]", 2, 1), ("C[CH2]", 0, 2), ("CCO", 0, 1)],
)
@pytest.mark.parametrize("suffix", ["sdf", "mol"])
def test_charges_and_radicals_of_an_sdf(
    tmp_path: Path, smiles: str, charge: int, spin_multiplicity: int, suffix: str
) -> None:
    path = tmp_path / f"ion.{suffix}"
    path.write_text(block(smiles))
    (atoms,) = read_structures(path)
    assert atoms.info["charge"] == charge
    assert atoms.info["spin_multiplicity"] == spin_multiplicity


def test_isotopes_of_an_sdf(tmp_path: Path) -> None:
    path = tmp_path / "d.sdf"
    path.write_text(block("[2H]OC([2H])([2H])[13CH3]"))
    (atoms,) = read_structures(path)
    masses = np.sort(atoms.get_masses())
    assert np.allclose(masses[:6], [1.008] * 3 + [2.014] * 3, atol=1e-3)
    assert pytest.approx(masses[7], abs=1e-3) == 13.003
    path.write_text(block("CCO"))
    (atoms,) = read_structures(path)
    assert not atoms.has("masses")


def test_sdf_without_coordinates_or_hydrogen_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.sdf"
    flat = Chem.AddHs(Chem.MolFromSmiles("CCO"))
    AllChem.Compute2DCoords(flat)
    path.write_text(f"{block('C')}$$$$\n{Chem.MolToMolBlock(flat)}$$$$\n")
    with pytest.raises(ValueError, match="three-dimensional coordinates in record 1"):
        list(read_structures(path))
    bare = Chem.RemoveHs(Chem.MolFromMolBlock(block("CCO")))
    path.write_text(Chem.MolToMolBlock(bare))
    with pytest.raises(ValueError, match=r"all hydrogen atoms in record 0 .* but 6 are missing"):
        list(read_structures(path))
    path.write_text("nonsense\n\n\n garbage\n")
    with pytest.raises(ValueError, match="cannot read record 0"):
        list(read_structures(path))


PDB_ATOM = (
    "HETATM{i:5d}  {n:<4s}MOL A   1    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00          {e:>2s}{q}"
)


def test_charges_and_models_of_a_pdb(tmp_path: Path) -> None:
    path = tmp_path / "model.pdb"
    lines = []
    for charge in ("1-", "  ", "2+"):
        lines.append("MODEL     1")
        for i, (symbol, position) in enumerate(
            zip("OHH", molecule("H2O").positions.tolist(), strict=True)
        ):
            x, y, z = position
            q = charge if symbol == "O" else "  "
            lines.append(PDB_ATOM.format(i=i, n=symbol, x=x, y=y, z=z, e=symbol, q=q))
        lines.append("ENDMDL")
    path.write_text("\n".join([*lines, "END", ""]))
    found = list(read_structures(path))
    assert [a.info.get("charge") for a in found] == [-1, None, 2]
    assert all(a.get_chemical_formula() == "H2O" for a in found)


def test_gaussian_input_and_its_jobs(tmp_path: Path) -> None:
    path = tmp_path / "job.gjf"
    text = (
        "# HF/STO-3G\n\nwater\n\n-2 1\nO 0.0 0.0 0.119\nH(Iso=2) 0.0 0.763 -0.477\n"
        "H 0.0 -0.763 -0.477\n\n"
    )
    path.write_text(text)
    (atoms,) = read_structures(path)
    assert (atoms.info["charge"], atoms.info["spin_multiplicity"]) == (-2, 1)
    assert atoms.get_masses()[1] == pytest.approx(2.014, abs=1e-2)
    assert atoms.calc is None
    path.write_text(f"{text}--Link1--\n{text}")
    with pytest.raises(ValueError, match=r"one job in .*job\.gjf, got several"):
        list(read_structures(path))


@pytest.mark.parametrize(
    ("comment", "declared"),
    [
        ("charge=-2 multiplicity=1", {"charge": -2, "spin_multiplicity": 1}),
        ("malonate, charge: -2", {"charge": -2}),
        ("Total charge = 1 mult = 3", {"charge": 1, "spin_multiplicity": 3}),
        ("Charge=-2 Multiplicity=3", {"charge": -2, "spin_multiplicity": 3}),
        ("0 3", {"charge": 0, "spin_multiplicity": 3}),
        (" -1  2\t", {"charge": -1, "spin_multiplicity": 2}),
        ("+1 1", {"charge": 1, "spin_multiplicity": 1}),
        ("0 0", {}),
        ("1 -1", {}),
        ("0", {}),
        ("0 1 2", {}),
        ("0.0 1", {}),
        ("step 1", {}),
        ("water", {}),
    ],
)
def test_comments_of_xyz_files(tmp_path: Path, comment: str, declared: dict[str, int]) -> None:
    path = tmp_path / "water.xyz"
    path.write_text(f"3\n{comment}\nO 0 0 0.119\nH 0 0.763 -0.477\nH 0 -0.763 -0.477\n")
    (atoms,) = read_structures(path)
    names = ("charge", "spin_multiplicity")
    assert {name: atoms.info[name] for name in names if name in atoms.info} == declared
    assert declared_charge_and_spin(atoms) == declared  # a warning would be an error


@pytest.mark.parametrize(
    ("names", "masses"),
    [
        ("O D D", [15.999, 2.014, 2.014]),
        ("8 1 1", [15.999, 1.008, 1.008]),
        ("O1 H2 H3", [15.999, 1.008, 1.008]),
        ("O T H", [15.999, 3.016, 1.008]),
    ],
)
def test_atoms_by_other_names(tmp_path: Path, names: str, masses: list[float]) -> None:
    path = tmp_path / "water.xyz"
    o, h1, h2 = names.split()
    frame = f"3\nwater\n{o} 0 0 0.119\n{h1} 0 0.763 -0.477\n{h2} 0 -0.763 -0.477\n"
    plain = "3\nplain\nO 0 0 0.119\nH 0 0.763 -0.477\nH 0 -0.763 -0.477\n"
    path.write_text(plain + frame + plain)
    found = list(read_structures(path))
    assert [a.get_chemical_formula() for a in found] == ["H2O"] * 3
    np.testing.assert_allclose(found[1].get_masses(), masses, atol=1e-3)
    np.testing.assert_allclose(found[1].positions, found[0].positions)


def test_unknown_names_are_named_by_their_line(tmp_path: Path) -> None:
    path = tmp_path / "odd.xyz"
    path.write_text("2\nodd\nO 0 0 0\nXq 0 0 1\n")
    with pytest.raises(ValueError, match=r"a label such as C1 in line 4 of .*odd\.xyz, got 'Xq'"):
        list(read_structures(path))


def test_outputs_of_other_programs(tmp_path: Path) -> None:
    cjson = tmp_path / "ion.cjson"
    water = molecule("H2O")
    cjson.write_text(
        json.dumps(
            {
                "atoms": {
                    "coords": {"3d": water.positions.ravel().tolist()},
                    "elements": {"number": water.numbers.tolist()},
                },
                "properties": {"totalCharge": -2, "totalSpinMultiplicity": 3},
            }
        )
    )
    (atoms,) = read_structures(cjson)
    assert (atoms.info["charge"], atoms.info["spin_multiplicity"]) == (-2, 3)
    nwchem = tmp_path / "ion.nwi"
    write(nwchem, water, format="nwchem-in")
    nwchem.write_text("charge -2\n" + nwchem.read_text())
    (atoms,) = read_structures(nwchem)
    assert atoms.info["charge"] == -2


def test_several_frames_of_a_gro_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.gro"
    atoms = molecule("CH3CH2OH")
    atoms.center(vacuum=5.0)
    write(path, atoms)
    assert len(list(read_structures(path))) == 1
    path.write_text(path.read_text() * 2)
    with pytest.raises(ValueError, match="expected one frame"):
        list(read_structures(path))


@pytest.mark.parametrize(
    ("smiles", "charge"),
    [
        ("[O-]C(=O)CC(=O)[O-]", -2),
        ("[NH3+]CC[NH3+]", 2),
        ("CC(=O)[O-]", -1),
        ("[NH4+]", 1),
        ("[NH3+]CC(=O)[O-]", None),
        ("C[N+](=O)[O-]", None),
        ("CC(=O)Nc1ccc(O)cc1", None),
        ("O=S(=O)(O)O", None),
    ],
)
def test_charge_that_fits_the_valences(smiles: str, charge: int | None) -> None:
    assert charge_that_fits(structures(smiles)) == charge
