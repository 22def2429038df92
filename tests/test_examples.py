"""Every example runs, shortened, and writes below the folder that it is given only."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from ase.io import read
from untrained import METADATA, tiny_model

from se3set_ase.checkpoint.registry import list_models
from se3set_ase.checkpoint.store import save_checkpoint

#: What an example needs that may not be installed.
NEEDS = {"09_torch_sim": "torch_sim", "10_path_integral": "ipi"}

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
WRITTEN = {
    "01_single_point": {"single_point.xyz"},
    "02_relax": {"relax.traj", "relaxed.xyz"},
    "03_langevin": {"langevin.traj", "langevin.csv", "langevin.png", "langevin.events.jsonl"},
    "04_nve": {"nve-smooth.png", "nve-hard.png"},
    "05_proton_transfer": {"proton_transfer.xyz", "proton_transfer.png"},
    "09_torch_sim": {"torch_sim.xyz"},
    "10_path_integral": {
        "input.xml",
        "start.xyz",
        "i-pi.log",
        "pimd.out",
        *(f"pimd.beads_{bead}.extxyz" for bead in range(4)),
        "RESTART",
    },
    "demo": {
        "relax.traj",
        "relaxed.xyz",
        "langevin.traj",
        "langevin.csv",
        "langevin.png",
        "langevin.events.jsonl",
    },
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The bundled model; without one, a tiny one that was never trained."""
    if "acac" in [info.name for info in list_models()]:
        return "acac"
    folder = tmp_path_factory.mktemp("model") / "tiny"
    save_checkpoint(folder, tiny_model(), METADATA)
    return str(folder)


def run(script: Path, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Warnings are errors; the one about hard membership is what an example is about."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore:refragment='hard'", str(script), *arguments],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(EXAMPLES.parent), *sys.path]),
            "CUDA_VISIBLE_DEVICES": "",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_every_example_is_listed_here() -> None:
    assert {script.stem for script in SCRIPTS} == set(WRITTEN)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_example(script: Path, model: str, tmp_path: Path) -> None:
    needs = NEEDS.get(script.stem)
    if needs and not find_spec(needs):
        pytest.skip(f"{needs} is not installed")
    done = run(script, "--short", "--model", model, "--output", "out", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == WRITTEN[script.stem]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_examples_are_percent_scripts(script: Path) -> None:
    text = script.read_text()
    if script.stem == "demo":
        return
    assert text.startswith("# %% [markdown]\n# # ")
    assert text.count("# %%\n") >= 2


def test_acetylacetone() -> None:
    atoms = read(EXAMPLES / "acetylacetone.xyz")
    assert atoms.get_chemical_formula() == "C5H8O2"
    assert atoms.calc is None  # no labels
    assert not atoms.pbc.any()
    # The proton lies between the two oxygen atoms, which example 05 names by these numbers.
    assert atoms.symbols[[3, 5, 11]].get_chemical_formula() == "HO2"
    assert atoms.get_distance(3, 11) < 1.1 < atoms.get_distance(5, 11) < 2.0
