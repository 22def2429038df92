"""SMILES where a command asks for a structure file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.io import read, write
from typer.testing import CliRunner, Result

from se3set_ase.cli import app
from se3set_ase.io.smiles import atoms_from_smiles


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    return result.stderr.removeprefix("error: ")


def test_relax(saved: Path) -> None:
    result = run("relax", "CCO", "-m", saved, "--steps", 2, "--conformer-seed", 5)
    assert result.exit_code == 1, result.output
    assert result.stdout.startswith(
        "SMILES CCO: C2H6O, charge 0, conformer of RDKit with seed 5 (--conformer-seed)"
    )
    start = read("C2H6O-relax.traj", 0)
    np.testing.assert_allclose(start.positions, atoms_from_smiles("CCO", seed=5).positions)
    assert read("C2H6O-relaxed.xyz").info["smiles"] == "CCO"


def test_md_fragments_and_label(saved: Path) -> None:
    assert run("md", "CCO", "-m", saved, "--steps", 2).exit_code == 0
    assert len(read("C2H6O-md.traj", ":")) == 2
    assert "C2H6O: 9 atoms, 3 fragments" in run("fragments", "CCO").stdout
    result = run("label", "CCO", "-m", "ase.calculators.morse:MorsePotential")
    assert result.exit_code == 0, result.output
    assert read("C2H6O-labelled.xyz").get_chemical_formula() == "C2H6O"


def test_the_charge_counts(saved: Path) -> None:
    assert "expected charge 0, which model 'tiny'" in refused("relax", "CC(=O)[O-]", "-m", saved)


def test_a_file_of_that_name_wins(saved: Path) -> None:
    write("CO", molecule("CO"), format="xyz")
    assert "CO: 2 atoms" in run("fragments", "CO").stdout
    Path("CO").unlink()
    assert "CH4O: 6 atoms" in run("fragments", "CO").stdout  # the control


@pytest.mark.parametrize("command", ["relax", "md", "fragments", "label"])
def test_a_misspelled_file(command: str) -> None:
    more = ("-m", "GFN2-xTB") if command == "label" else ()
    for name in ("etanol.xyz", "POSCAR", "none/C.sdf"):
        assert refused(command, name, *more) == f"no file {name}\n"
    assert "expected a file with atoms, got the folder ." in refused(command, ".", *more)


def test_neither_a_file_nor_a_molecule() -> None:
    message = refused("relax", "O.O")
    assert message.startswith("no file O.O, and as SMILES: expected one molecule")
    assert "Explicit valence" in refused("md", "C(C)(C)(C)(C)C")


def test_what_the_smiles_leave_open_is_said(saved: Path) -> None:
    with pytest.warns(UserWarning, match="1 unpaired electron"):
        assert "expected spin_multiplicity 1" in refused("relax", "[CH3]", "-m", saved)
    with pytest.warns(UserWarning, match="does not define all configurations"):
        run("fragments", "CC(F)O")


@pytest.mark.parametrize("command", ["relax", "md", "label"])
def test_help_has_no_placeholders(command: str) -> None:
    """Defaults of outputs are shown by an example, not as STEM-COMMAND."""
    printed = run(command, "--help").stdout
    assert "STEM" not in printed
    assert "for mol.xyz]" in " ".join(printed.split())
    assert "SMILES" in printed
