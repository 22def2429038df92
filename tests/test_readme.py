"""The Python of the README runs, and its numbers are those that were measured."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_readme_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")  # outputs go to tmp_path
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "WeightedHypergraph(15 atoms" in printed
    assert "Zero-point energy" in printed
    assert (tmp_path / "events.jsonl").exists()


def test_linked_files_exist() -> None:
    linked = re.findall(r"\]\((?!https?:)([^)]+)\)", README)
    assert len(linked) > 10
    for path in linked:
        assert (ROOT / path).exists(), path


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= 160


def rows(file: str) -> list[dict[str, str]]:
    with (ROOT / "docs" / file).open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


def test_errors_are_those_of_the_table() -> None:
    measured = {row["quantity"]: row for row in rows("organic.csv")}
    forces = measured["forces, MAE, meV/A: all"]
    conformers = measured["conformers, MAE, kcal/mol"]
    text = " ".join(README.split())
    ours, theirs = (round(float(forces[name])) for name in ("organic", "GFN2-xTB"))
    assert f"forces {ours} meV/Å (GFN2-xTB: {theirs})" in text
    ours, theirs = (f"{float(conformers[name]):.2f}" for name in ("organic", "GFN2-xTB"))
    assert f"conformer energies {ours} kcal/mol (GFN2-xTB: {theirs})" in text


def test_energy_drift_is_that_of_the_table() -> None:
    (run,) = [
        row
        for row in rows("energy_conservation.csv")
        if (row["system"], row["refragment"], row["dtype"]) == ("acac", "smooth", "float64")
    ]
    assert f"drifts by {float(run['drift_meV_atom_ps']):.5f} meV/atom/ps" in " ".join(
        README.split()
    )


@pytest.mark.parametrize(
    ("label", "potential"),
    [
        ("default network", "SE3Set, default"),
        ("default network, `compile=True`", "SE3Set, default, compiled"),
        ("GFN2-xTB", "GFN2-xTB"),
    ],
)
def test_speeds_are_those_of_the_table(label: str, potential: str) -> None:
    (line,) = [line for line in README.splitlines() if line.startswith(f"| {label} |")]
    quoted = [float(cell) for cell in line.split("|")[2:5]]
    measured = {
        row["atoms"]: row["ms"] for row in rows("speed.csv") if row["potential"] == potential
    }
    for value, atoms in zip(quoted, ("21", "102", "302"), strict=True):
        assert value == pytest.approx(float(measured[atoms]), rel=0.02)
