"""The command ``vibrations``: numbers, files, and what it refuses."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from ase.build import molecule
from ase.io import read, write
from typer.testing import CliRunner, Result
from untrained import METADATA, tiny_model

from se3set_ase import SE3SetCalculator
from se3set_ase.checkpoint.store import save_checkpoint
from se3set_ase.cli import app
from se3set_ase.nn.longrange.config import LongRangeConfig
from se3set_ase.simulate import relax, vibrations


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model and a relaxed molecule."""
    monkeypatch.chdir(tmp_path)
    save_checkpoint(Path("model"), tiny_model(long_range=LongRangeConfig(charges=True)), METADATA)
    atoms = molecule("CH3OH")
    atoms.calc = SE3SetCalculator("model")
    relax(atoms, fmax=1e-4, steps=2000)
    write("methanol.xyz", atoms)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["vibrations", *arguments, "--model", "model"])


def test_frequencies_are_those_of_python(here: Path) -> None:
    result = run("methanol.xyz", "--modes", "modes", "--symmetry-number", "3", "--scale", "0.9")
    assert result.exit_code == 0, result.output
    atoms = read("methanol.xyz")
    atoms.calc = SE3SetCalculator("model")
    expected = vibrations(atoms, scale=0.9)
    with open("methanol-vibrations.csv") as file:
        rows = list(csv.DictReader(file))
    assert [float(r["frequency_cm-1"]) for r in rows] == pytest.approx(
        expected.frequencies, rel=1e-4
    )
    assert Path("methanol-vibrations.png").stat().st_size > 5000
    assert len(list(Path("modes").iterdir())) == 12
    gibbs = expected.thermo(symmetry_number=3).get_gibbs_energy(298.15, 101325.0, verbose=False)
    assert f"Gibbs energy   {gibbs:.4f}"[:-1] in result.stdout
    assert result.stdout.splitlines()[-1].startswith("minimum; zero-point energy")
    again = run("methanol.xyz")
    assert again.exit_code == 2
    assert "exists already" in again.stderr


def test_a_molecule_that_is_not_relaxed_is_reported(here: Path) -> None:
    atoms = molecule("H2O")
    atoms.rattle(0.1, seed=3)
    write("moved.xyz", atoms)
    result = run("moved.xyz")
    assert result.exit_code == 1
    assert "NOT at a stationary point" in result.stdout.splitlines()[-1]
    assert "Gibbs" not in result.stdout


@pytest.mark.parametrize("option", ["--temperature", "--pressure", "--scale"])
def test_conditions_out_of_range_are_refused(here: Path, option: str) -> None:
    result = run("methanol.xyz", option, "0")
    assert result.exit_code == 2
    assert f"expected a positive {option[2:]}, got 0" in result.stderr
    assert not Path("methanol-vibrations.csv").exists()
