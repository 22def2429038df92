"""What a file declares reaches the commands, or they refuse it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.io import read, write
from rdkit import Chem
from rdkit.Chem import AllChem
from typer.testing import CliRunner, Result

from se3set_ase.cli import app

BAD_INPUT = 2


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def block(smiles: str) -> str:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    AllChem.MMFFOptimizeMolecule(mol)
    return str(Chem.MolToMolBlock(mol))


def xyz(smiles: str) -> str:
    return str(Chem.MolToXYZBlock(Chem.MolFromMolBlock(block(smiles), removeHs=False)))


def test_every_record_of_an_sdf_is_relaxed(here: Path) -> None:
    (here / "two.sdf").write_text("".join(f"{block(s)}$$$$\n" for s in ("CO", "CCO")))
    result = run("relax", "two.sdf", "--fmax", "0.1")
    assert result.exit_code == 0, result.output
    relaxed = read("two-relaxed.xyz", ":")
    assert [a.get_chemical_formula() for a in relaxed] == ["CH4O", "C2H6O"]


def test_dynamics_of_one_of_many_must_be_chosen(here: Path) -> None:
    (here / "two.sdf").write_text("".join(f"{block(s)}$$$$\n" for s in ("CO", "CCO")))
    result = run("md", "two.sdf", "--steps", "1")
    assert result.exit_code == BAD_INPUT
    assert "choose with --record N" in result.stderr
    result = run("md", "two.sdf", "--steps", "1", "--record", "2")
    assert "expected a --record from 0 to 1 of two.sdf, got 2" in result.stderr
    result = run("md", "two.sdf", "--steps", "1", "--record", "0", "--model", "organic")
    assert result.exit_code == 0, result.output
    assert read("two-md.traj").get_chemical_formula() == "CH4O"


def test_a_declared_charge_is_refused_by_a_model_of_neutral_molecules(here: Path) -> None:
    (here / "malonate.sdf").write_text(block("[O-]C(=O)CC(=O)[O-]"))
    result = run("relax", "malonate.sdf")
    assert result.exit_code == BAD_INPUT
    assert "got -2" in result.stderr


@pytest.mark.parametrize("comment", ["-2 1", "Charge=-2", "charge: -2"])
def test_a_charge_in_an_xyz_comment(here: Path, comment: str) -> None:
    lines = xyz("[O-]C(=O)CC(=O)[O-]").splitlines()
    lines[1] = comment
    (here / "malonate.xyz").write_text("\n".join(lines) + "\n")
    result = run("relax", "malonate.xyz")  # a warning would be an error
    assert result.exit_code == BAD_INPUT
    assert "got -2" in result.stderr


def test_an_undeclared_ion_is_warned_of(here: Path) -> None:
    (here / "malonate.xyz").write_text(xyz("[O-]C(=O)CC(=O)[O-]"))
    (here / "acid.xyz").write_text(xyz("OC(=O)CC(=O)O"))
    with pytest.warns(UserWarning, match="its bonds fit charge -2, not a neutral"):
        run("relax", "malonate.xyz", "--steps", "0")
    result = run("relax", "acid.xyz", "--steps", "0")  # a warning would be an error
    assert result.exit_code == 1, result.output


def test_isotopes_are_kept(here: Path) -> None:
    (here / "d.sdf").write_text(block("[2H]OC([2H])([2H])[2H]"))
    assert run("relax", "d.sdf", "--fmax", "0.1").exit_code == 0
    masses = read("d-relaxed.xyz").get_masses()
    np.testing.assert_allclose(np.sort(masses)[:4], 2.014, atol=1e-3)


@pytest.mark.parametrize("name", ["boxed.pdb", "boxed.gro", "POSCAR", "boxed.xyz", "boxed.cif"])
def test_a_molecule_in_a_box(here: Path, name: str) -> None:
    ethanol = molecule("CH3CH2OH")
    ethanol.center(vacuum=5.0)
    ethanol.pbc = True
    ethanol.positions += 5.0
    ethanol.wrap()  # cut by the boundary
    write(name, ethanol)
    result = run("relax", name, "-o", "out.xyz")
    assert result.exit_code == BAD_INPUT
    assert "--isolated takes its atoms as molecules without one" in result.stderr
    result = run("relax", name, "-o", "out.xyz", "--isolated", "--fmax", "0.1")
    assert result.exit_code == 0, result.output
    relaxed = read("out.xyz")
    assert not relaxed.pbc.any()
    assert relaxed.get_all_distances().max() < 5.0  # whole
    energy = relaxed.get_potential_energy()
    result = run("relax", name, "-o", "cell.xyz", "--periodic", "--fmax", "0.1", "--overwrite")
    assert result.exit_code == 0, result.output
    boxed = read("cell.xyz")
    assert boxed.pbc.all()
    assert boxed.get_potential_energy() == pytest.approx(energy, abs=0.05)
    result = run("md", name, "--periodic", "--steps", "3")
    assert result.exit_code == 0, result.output
    assert read(f"{Path(name).stem}-md.traj", format="traj").pbc.all()
    result = run("md", name, "--periodic", "--isolated")
    assert result.exit_code == BAD_INPUT
    assert "expected --isolated or --periodic, got both" in result.stderr


def test_a_declared_ion_does_not_hide_an_undeclared_one(here: Path) -> None:
    declared, plain = xyz("[O-]C(=O)CC(=O)[O-]"), xyz("[O-]C(=O)CC(=O)[O-]")
    lines = declared.splitlines()
    lines[1] = "charge=-2"
    (here / "two.xyz").write_text("\n".join(lines) + "\n" + plain)
    with pytest.warns(UserWarning, match="bonds fit charge -2"):
        run("relax", "two.xyz", "--steps", "0")


def test_labels_keep_isotopes(here: Path) -> None:
    pytest.importorskip("tblite")
    (here / "d.sdf").write_text(block("[2H]O[2H]"))
    done = run("label", "d.sdf", "--method", "GFN2-xTB", "--output", "labels.xyz")
    assert done.exit_code == 0, done.output
    masses = sorted(read("labels.xyz").get_masses())
    assert masses == pytest.approx([2.014, 2.014, 15.999], abs=1e-3)
