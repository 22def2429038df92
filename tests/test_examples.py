"""Every example runs, shortened, and writes into the working folder only."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from ase.io import read

#: What an example needs that may not be installed.
NEEDS = {
    "09_torch_sim": "torch_sim",
    "10_path_integral": "ipi",
    "11_openmm": "openmmml",
    "12_metadynamics": "openmmml",
}

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
WRITTEN = {
    "01_single_point": {"single_point.xyz"},
    "02_relax": {"relax.traj", "relaxed.xyz", "relax.csv", "relax.png"},
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
    "11_openmm": {"openmm.events.jsonl", "openmm.dcd", "openmm.csv", "openmm.pdb"},
    "12_metadynamics": {"metadynamics.events.jsonl", "metadynamics.png"},
    "demo": {"demo-output"},
}
#: Changes of a script that make it short.
SHORT = {
    "03_langevin": {"STEPS = 2000": "STEPS = 20"},
    "04_nve": {"STEPS = 1000": "STEPS = 20"},
    "05_proton_transfer": {"IMAGES = 11": "IMAGES = 5", "steps=500": "steps=5"},
    "09_torch_sim": {"REPLICAS, STEPS = 8, 200": "REPLICAS, STEPS = 2, 5"},
    "10_path_integral": {"BEADS, STEPS = 16, 100": "BEADS, STEPS = 4, 10"},
    "11_openmm": {"STEPS = 200": "STEPS = 10", "maxIterations=50": "maxIterations=2"},
    "12_metadynamics": {"STEPS = 8000": "STEPS = 40"},
    "demo": {"STEPS = 1000": "STEPS = 20"},
}


def run(script: Path, *, folder: Path) -> subprocess.CompletedProcess[str]:
    """Warnings are errors; the one about hard membership is what an example is about."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore:refragment='hard'", str(script)],
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
def test_example(script: Path, tmp_path: Path) -> None:
    needs = NEEDS.get(script.stem)
    if needs and not find_spec(needs):
        pytest.skip(f"{needs} is not installed")
    text = script.read_text()
    for long, short in SHORT.get(script.stem, {}).items():
        assert long in text
        text = text.replace(long, short)
    copies, out = tmp_path / "examples", tmp_path / "out"
    copies.mkdir()
    out.mkdir()
    shutil.copy(EXAMPLES / "acetylacetone.xyz", copies)
    (copies / script.name).write_text(text)
    done = run(copies / script.name, folder=out)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert {path.name for path in copies.iterdir()} == {script.name, "acetylacetone.xyz"}
    assert {path.name for path in out.iterdir()} == WRITTEN[script.stem]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_examples_are_read_from_top_to_bottom(script: Path) -> None:
    """No arguments to parse, and no function that is called from elsewhere."""
    text = script.read_text()
    assert not {"argparse", "sys.argv", "__main__"} & set(re.findall(r"[\w.]+", text))


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
