"""What a file declares reaches the commands, or they refuse it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.io import read, write
from rdkit import Chem
from rdkit.Chem import AllChem
from typer.testing import CliRunner, Result

from se3set_ase.cli import app
from se3set_ase.io.charge import charge_that_fits

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


@pytest.mark.parametrize("command", ["relax", "md", "vibrations", "evaluate", "label"])
def test_options_that_contradict_the_file_are_refused(here: Path, command: str) -> None:
    (here / "malonate.sdf").write_text(block("[O-]C(=O)CC(=O)[O-]"))
    oxygen = molecule("O2")
    oxygen.info["spin_multiplicity"] = 3
    write("oxygen.xyz", oxygen)
    more = ["--method", "GFN2-xTB"] if command == "label" else []
    model = ["organic"] if command == "evaluate" else []
    for options in (["--charge", "-1"], ["--charge", "0"]):
        result = run(command, *model, "malonate.sdf", *more, *options)
        assert result.exit_code == BAD_INPUT
        assert result.stderr == (
            f"error: malonate.sdf declares charge -2 for C3H2O4, but --charge is {options[1]}; "
            "leave out --charge, or correct the declaration\n"
        )
    result = run(command, *model, "oxygen.xyz", *more, "--spin-multiplicity", "1")
    assert result.exit_code == BAD_INPUT
    assert "oxygen.xyz declares spin multiplicity 3 for O2, but --spin-mult" in result.stderr
    printed = " ".join(run(command, "--help").stdout.split())
    assert "Total charge; by default what the file declares, else 0." in printed
    assert "[default: 0]" not in printed.partition("--charge")[2].partition("--")[0]


def test_options_that_agree_with_the_file(here: Path) -> None:
    (here / "malonate.sdf").write_text(block("[O-]C(=O)CC(=O)[O-]"))
    result = run("relax", "malonate.sdf", "--charge", "-2", "--spin-multiplicity", "1")
    assert "expected charge 0, which model 'organic" in result.stderr
    result = run("relax", "O", "--charge", "1")
    assert "O declares charge 0 for H2O, but --charge is 1" in result.stderr


def test_only_the_chosen_record_must_agree(here: Path) -> None:
    (here / "two.sdf").write_text("".join(f"{block(s)}$$$$\n" for s in ("CC(=O)[O-]", "CO")))
    run_of = ("two.sdf", "--charge", "0", "--steps", "0")
    assert run("md", *run_of, "--record", "1").exit_code == 0
    assert "declares charge -1 for C2H3O2" in run("md", *run_of, "--record", "0").stderr
    assert run("relax", *run_of, "--last").exit_code == 1  # not converged
    assert "declares charge -1 for C2H3O2" in run("relax", *run_of).stderr


def test_an_isomer_of_a_neutral_molecule_is_warned_of(here: Path) -> None:
    ion = xyz("[O-]C(=O)CC(=O)[O-]")
    (here / "two.xyz").write_text(xyz("O=CC(=O)C(=O)O") + ion + ion)
    with pytest.warns(UserWarning, match="no charge for C3H2O4, and its bonds fit charge -2") as w:
        run("relax", "two.xyz", "--steps", "0")
    assert len(w) == 1
    run("relax", "two.xyz", "--steps", "0", "--charge", "0", "-o", "out.xyz")  # no warning


def test_isomers_with_the_same_order_of_atoms(here: Path) -> None:
    def sorted_by_element(smiles: str) -> str:
        count, _, *atoms = xyz(smiles).splitlines()
        return "\n".join([count, "", *sorted(atoms, key=lambda line: line[0])]) + "\n"

    neutral, ion = map(sorted_by_element, ("O=CC(=O)C(=O)O", "[O-]C(=O)CC(=O)[O-]"))
    (here / "two.xyz").write_text(neutral + ion)
    with pytest.warns(UserWarning, match="no charge for C3H2O4, and its bonds fit charge -2"):
        run("relax", "two.xyz", "--steps", "0")


def test_broken_bonds_of_a_trajectory_are_no_ions(here: Path) -> None:
    whole = molecule("C2H6")
    broken = whole.copy()
    broken.positions[1, 2] -= 4.0  # a carbon atom
    assert charge_that_fits(broken) is not None
    write("ethane.xyz", [whole, broken])
    assert run("fragments", "ethane.xyz").exit_code == 0  # a warning would be an error
    write("broken.xyz", broken)
    with pytest.warns(UserWarning, match="no charge for C2H6, and its bonds fit charge"):
        run("fragments", "broken.xyz")


def test_several_molecules_in_boxes(here: Path) -> None:
    ethanol = molecule("CH3CH2OH")
    boxed = ethanol.copy()
    boxed.center(vacuum=5.0)
    boxed.pbc = True
    write("boxed.xyz", [ethanol, boxed, boxed])
    result = run("relax", "boxed.xyz", "--steps", "1")
    assert result.exit_code == BAD_INPUT
    assert result.stderr == (
        "error: expected molecules, got a periodic cell in boxed.xyz; --periodic computes the "
        "cell, --isolated takes its atoms as molecules without one\n"
    )
    assert not (here / "boxed-relaxed.xyz").exists()
    result = run("relax", "boxed.xyz", "--isolated", "--fmax", "0.1")
    assert result.exit_code == 0, result.output
    assert "3 of 3 molecules relaxed" in result.stdout


def test_an_entry_that_is_not_read_is_named_as_one_of_the_file(tmp_path: Path) -> None:
    atoms = molecule("H2O")
    atoms.info["net_charge"] = 0
    write(tmp_path / "water.xyz", atoms)
    command = [sys.executable, "-m", "se3set_ase", "fragments", str(tmp_path / "water.xyz")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "warning: the entry 'net_charge' of the file is not read" in result.stderr
