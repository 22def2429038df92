"""Tables of the relaxation of many molecules: replaced by the same run, not by another."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from ase.build import molecule
from ase.io import write
from typer.testing import CliRunner, Result

from se3set_ase.cli import app
from se3set_ase.cli.options import UNFINISHED

BAD_INPUT = 2


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = [molecule(name) for name in ("CH3CH2OH", "CH3OCH3")]
    for seed, atoms in enumerate(made):
        atoms.rattle(0.05, seed=seed)
    write("many.xyz", made)


def relax(*arguments: object) -> Result:
    command = ("relax", "many.xyz", "-m", "gfn2", "--fmax", 0.05, *arguments)
    return CliRunner().invoke(app, [str(argument) for argument in command])


def test_the_table_of_a_resumed_run_is_replaced() -> None:
    table = Path("many.csv")
    assert relax("--steps", 2, "--table", table).exit_code == UNFINISHED
    before = table.read_text()
    result = relax("--steps", 200, "--table", table)
    assert result.exit_code == 0, result.output
    assert table.read_text() != before
    with table.open() as file:
        assert [row["converged"] for row in csv.DictReader(file)] == ["1"] * 2


def test_other_tables_are_kept() -> None:
    table = Path("many.csv")
    assert relax("--steps", 1, "--table", table).exit_code == UNFINISHED
    ours = table.read_text()
    lines = ours.splitlines(keepends=True)
    for foreign in (
        "precious\n",
        "molecule,formula\n",
        "",
        ours.replace("C2H6O", "C2H7O"),
        ours.replace("molecule,", "molecule,colour,", 1),
        "".join(lines[:-1]),
    ):
        table.write_text(foreign)
        refused = relax("--steps", 2, "--table", table)
        assert refused.exit_code == BAD_INPUT
        assert "many.csv exists already; give other names or --overwrite" in refused.output
        assert table.read_text() == foreign
    table.write_text(ours)
    refused = relax("--steps", 2, "--optimizer", "BFGS", "--table", table)
    assert "optimizer 'LBFGS' instead of 'BFGS'" in refused.output  # of other work
    assert table.read_text() == ours
    Path("many-relaxed.xyz").unlink()
    assert "many.csv exists already" in relax("--steps", 2, "--table", table).output
    assert relax("--steps", 2, "--table", table, "--overwrite").exit_code == UNFINISHED
    assert table.read_text() != ours
    refused = relax("--steps", 2, "--table", "many-relaxed.xyz")
    assert "expected a different name for each output" in refused.output
