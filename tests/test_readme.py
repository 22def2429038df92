"""The Python of the README runs, block after block, as a reader would type it."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_readme_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "examples").symlink_to(ROOT / "examples")  # what is written stays out of it
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    assert len(blocks) >= 2
    names: dict[str, object] = {}
    for block in blocks:
        if "torch_sim" in block and not find_spec("torch_sim"):
            continue  # an extra, which Python 3.10 cannot have
        exec(compile(block, "README.md", "exec"), names)
    assert "WeightedHypergraph(15 atoms" in capsys.readouterr().out
    for name in ("events.jsonl", "molecule.html", "molecule.png", "run.png"):
        assert (tmp_path / name).exists(), name


def test_files_that_the_readme_names_exist():
    text = (ROOT / "README.md").read_text()
    named = re.findall(r"\]\((?!https?:)([^)]+)\)", text)
    assert named
    for path in named:
        assert (ROOT / path).exists(), path
