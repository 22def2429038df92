"""Commands that take long: progress without a terminal, and no package that they do not need."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from typer.testing import CliRunner, Result

from se3set_ase.cli import app
from se3set_ase.io import progress

MORSE = ("label", "frames.xyz", "-m", "ase.calculators.morse:MorsePotential")

TRAINING = """
name: small
data: {train: frames.xyz, validation: 2, level_of_theory: none}
network: {channels: 8, blocks: 1, heads: 2}
training: {epochs: 2, batch_size: 2, compile: false, device: cpu}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with six labelled geometries of ethanol."""
    monkeypatch.chdir(tmp_path)
    frames = []
    for seed in range(6):
        atoms = molecule("CH3CH2OH")
        atoms.rattle(0.05, seed=seed)
        labels = {"energy": -4000.0 + 0.01 * seed, "forces": np.zeros((len(atoms), 3))}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        frames.append(atoms)
    write("frames.xyz", frames)
    write("one.xyz", frames[0])
    Path("train.yaml").write_text(TRAINING)
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (("evaluate", "MODEL", "frames.xyz", "--batch-size", 1), "evaluate: "),
        (("relax", "one.xyz", "-m", "MODEL", "--steps", 8, "--fmax", 1e-6), "relax: "),
        (("relax", "frames.xyz", "-m", "MODEL", "--steps", 2, "--fmax", 1e-6), "relax: "),
        (("md", "one.xyz", "-m", "MODEL", "--steps", 10), "langevin: "),
        (MORSE, "label: "),
        (("train", "train.yaml"), "small: "),
    ],
)
def test_lines_of_progress_without_a_terminal(
    saved: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[object, ...], line: str
) -> None:
    monkeypatch.setattr(progress, "LINES_EVERY", 0.01)
    result = run(*(saved if argument == "MODEL" else argument for argument in command))
    assert result.exit_code in (0, 1), result.output
    lines = [text for text in result.stderr.splitlines() if text.startswith(line)]
    assert lines
    assert [text for text in lines if not re.search(r", \d+ (s|min)\b", text)] == []
    assert "\r" not in result.stderr


def test_one_process_needs_no_distributed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    result = run(*MORSE)
    assert result.exit_code == 0, result.output
    assert "6 of 6 geometries labelled" in result.output
    several = run(*MORSE, "--processes", 2, "-o", "other.xyz")
    assert several.exit_code == 2
    assert "several processes need the package 'distributed'" in several.stderr
