"""Every notebook runs from top to bottom, and shows what it promises."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
# What each one shows: views that turn, live plots, still pictures (SVG), and a few of its words.
SHOWN = {
    "06_relax_a_drug": (2, 1, 1, "eV"),
    "07_watch_a_proton_hop": (1, 1, 1, "bond formed"),
    "08_train_your_own": (1, 1, 0, "meV/Å"),
    "13_learn_your_molecule": (1, 1, 0, "final test"),
}


def cells_of(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def test_every_notebook_is_listed_here() -> None:
    assert {path.stem for path in NOTEBOOKS} == set(SHOWN)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_kept_without_outputs(path: Path) -> None:
    cells = cells_of(path)
    assert cells[0]["cell_type"] == "markdown"
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path: Path, tmp_path: Path) -> None:
    for file in (path, EXAMPLES / "acetylacetone.xyz"):
        shutil.copy(file, tmp_path)
    # A process of its own: what Jupyter warns of is not ours.
    command = [sys.executable, "-m", "nbconvert", "--execute", "--to", "notebook", "--inplace"]
    done = subprocess.run(
        [*command, path.name],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(EXAMPLES.parent), *sys.path]),
            "CUDA_VISIBLE_DEVICES": "",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    outputs = [out for cell in cells_of(tmp_path / path.name) for out in cell.get("outputs", [])]
    pages = ["".join(out.get("data", {}).get("text/html", "")) for out in outputs]
    stills = [out for out in outputs if "image/svg+xml" in out.get("data", {})]
    words = "".join("".join(out.get("text", "")) for out in outputs)
    views, plots, n_stills, word = SHOWN[path.stem]
    assert sum(page.startswith("<iframe srcdoc=") for page in pages) == views
    assert sum("data:image/png;base64," in page for page in pages) == plots
    assert len(stills) == n_stills
    assert word in words
    assert "Warning" not in words
