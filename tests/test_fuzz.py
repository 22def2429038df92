"""Random input, most of it bad: a clear error or the right number, and nothing else.

    pytest tests/test_fuzz.py --fuzz 10000

Inputs are drawn with a seed each, which a failure names.
"""

from __future__ import annotations

import json
import math
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import InputError
from ase.io import read, write
from damage import damaged
from made_up_data import frames, write_run
from paths import acetylacetone
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner
from untrained import Make

from se3set_ase import SE3SetCalculator
from se3set_ase.checkpoint.metadata import CheckpointError
from se3set_ase.checkpoint.registry import COMMITTEE_FILE, resolve_model
from se3set_ase.checkpoint.store import load_checkpoint
from se3set_ase.cli import app
from se3set_ase.io.structures import read_structures
from se3set_ase.nn.architecture import network_config, preset_values
from se3set_ase.system import declared_labels
from se3set_ase.train.config import ConfigError, load_config
from se3set_ase.uncertainty.calibration import read_calibration

#: Tolerance between equivalent geometries, relative to the largest number, float64.
SAME = 1e-9
#: Coordinates that a script might produce.
ODD = (0.0, -0.0, 1e-300, 1e-12, 1e6, 1e15, 1e300, math.inf, -math.inf, math.nan)
#: Keys that declare a charge or a multiplicity.
DECLARED = ("charge", "total_charge", "spin_multiplicity", "spin", "total_spin", "mult")
ODD_VALUES: tuple[Any, ...] = (0, 1, -1, 2.5, "1", "one", None, math.nan, [1], True, np.int64(1))


def seeds(request: pytest.FixtureRequest) -> range:
    return range(request.config.getoption("--fuzz"))


def any_structure(rng: np.random.Generator) -> Atoms:
    """One to twelve atoms, mostly of the model's elements, with something odd in every other."""
    n = int(rng.integers(1, 13))
    numbers = rng.choice([1, 6, 8], n)
    positions = rng.uniform(0.3, 3.0) * rng.normal(size=(n, 3)) * n ** (1 / 3)
    atoms = Atoms(numbers, positions)
    kind = rng.integers(12)
    i, x = int(rng.integers(n)), int(rng.integers(3))
    if kind == 0:
        atoms.positions[i, x] = rng.choice(ODD)
    elif kind == 1:
        atoms.positions[i] = atoms.positions[rng.integers(n)] + rng.choice([0.0, 1e-12, 1e-3, 0.1])
    elif kind == 2:
        atoms.numbers[i] = rng.choice([0, 2, 7, 26, 118, 119, -1, 2**40])
    elif kind == 3:
        atoms.pbc = rng.integers(0, 2, 3).astype(bool)
        atoms.cell = rng.choice([0.0, 5.0, 20.0]) * np.eye(3)
    elif kind == 4:
        atoms.info[str(rng.choice(DECLARED))] = ODD_VALUES[rng.integers(len(ODD_VALUES))]
    elif kind == 5:
        atoms.set_initial_charges(rng.choice([0.0, 0.3, 1.0, math.nan], n))
    elif kind == 6:
        atoms.set_initial_magnetic_moments(rng.choice([0.0, 1.0, math.nan], n))
    elif kind == 7:
        atoms.positions[:, x] = 0.0  # flat
    elif kind == 8:
        atoms.positions[:, :2] = 0.0  # on a line
    elif kind == 9:
        atoms.set_masses(rng.choice([1.0, 2.014, 13.003], n))  # isotopes change no energy
    return atoms


def test_structures(make: Make, request: pytest.FixtureRequest) -> None:
    """An energy is the same after a rotation, a permutation, and with a new calculator."""
    used = make()
    answered = refused = 0
    for seed in seeds(request):
        rng = np.random.default_rng(seed)
        atoms = any_structure(rng)
        before = atoms.copy()
        why = ""
        try:
            atoms.calc = used
            energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        except InputError as error:
            why = str(error)
        if why:
            refused += 1
            assert "expected" in why, f"seed {seed}: {why}"
            assert not used.results
        else:
            answered += 1
            assert np.isfinite(energy), f"seed {seed}"
            assert np.isfinite(forces).all(), f"seed {seed}"
            order, turn = rng.permutation(len(atoms)), Rotation.random(random_state=rng)
            other = Atoms(atoms.numbers[order], turn.apply(atoms.positions[order]) + 1.0)
            if atoms.pbc.any():
                other.set_cell(turn.apply(atoms.cell.array))
                other.pbc = atoms.pbc
            other.calc = make()
            size = max(1.0, abs(energy), float(np.abs(forces).max()))
            message = f"seed {seed}"
            assert abs(other.get_potential_energy() - energy) < SAME * size, message
            turned = turn.apply(forces[order])
            assert np.abs(other.get_forces() - turned).max() < SAME * size, message
        assert np.array_equal(before.positions, atoms.positions, equal_nan=True)
    assert min(answered, refused) > len(seeds(request)) // 10


def test_files_of_molecules(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The command line reports an error, or shows the fragments of what is read."""
    whole = tmp_path / "whole.xyz"
    write(whole, acetylacetone(), format="extxyz")
    content = whole.read_bytes()
    path = tmp_path / "fuzzed.xyz"
    refused = shown = 0
    for seed in seeds(request):
        path.write_bytes(damaged(content, np.random.default_rng(seed)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of ASE's reader
            result = CliRunner().invoke(app, ["fragments", str(path)])
        assert result.exit_code in (0, 2), f"seed {seed}: {result.exception!r}"
        assert "Traceback" not in result.output, f"seed {seed}"
        if result.exit_code == 2:
            refused += 1
            assert len(result.output) > 20, f"seed {seed}: {result.output}"
        else:
            shown += 1
            assert isinstance(next(read_structures(path)), Atoms)
    assert min(refused, shown) > 0


def test_checkpoints(saved: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A damaged model is refused, or gives the same numbers."""
    calc = SE3SetCalculator(saved)
    atoms = Atoms("CO", [[0.0, 0.0, 0.0], [0.0, 0.0, 1.2]])
    atoms.calc = calc
    energy = atoms.get_potential_energy()
    files = sorted(path for path in saved.iterdir() if path.suffix != ".md")
    refused = 0
    for seed in seeds(request):
        rng = np.random.default_rng(seed)
        folder = tmp_path / "model"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(saved, folder)
        name = files[rng.integers(len(files))].name
        (folder / name).write_bytes(damaged((saved / name).read_bytes(), rng))
        why = ""
        try:
            load_checkpoint(folder)
        except CheckpointError as error:
            why = str(error)
        if why:
            refused += 1
            assert name in why, f"seed {seed}: {why}"
        else:
            atoms.calc = SE3SetCalculator(folder)
            assert atoms.get_potential_energy() == energy, f"seed {seed}"
    assert refused > len(seeds(request)) // 2


def test_committees(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A damaged committee is refused, or gives the same numbers."""
    path = tmp_path / COMMITTEE_FILE
    content = (resolve_model("organic") / COMMITTEE_FILE).read_bytes()
    path.write_bytes(content)
    whole = read_calibration(path)
    refused = 0
    for seed in seeds(request):
        path.write_bytes(damaged(content, np.random.default_rng(seed)))
        try:
            assert read_calibration(path) == whole, f"seed {seed}"
        except CheckpointError:
            refused += 1
    assert refused > len(seeds(request)) // 2


def test_logs(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The command line reports the line of a log that is not an event, or shows the events."""
    path = tmp_path / "run.events.jsonl"
    event = {"kind": "bond broken", "atoms": [3, 4], "symbols": ["O", "H"], "weight": 0.4}
    lines = [{"step": k, "time_ps": 5e-4 * k, **event, "energy": -9500.5} for k in range(6)]
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    refused = shown = 0
    for seed in seeds(request):
        path.write_bytes(damaged(content, np.random.default_rng(seed)))
        result = CliRunner().invoke(app, ["events", str(path)])
        assert result.exit_code in (0, 2), f"seed {seed}: {result.exception!r}"
        refused += result.exit_code == 2
        shown += result.exit_code == 0
    assert min(refused, shown) > 0


def test_training_runs(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A damaged configuration is refused, or can be used."""
    path = write_run(tmp_path, frames(1))
    content = path.read_bytes()
    refused = used = 0
    for seed in seeds(request):
        path.write_bytes(damaged(content, np.random.default_rng(seed)))
        try:
            config = load_config(path)
        except ConfigError:
            refused += 1
        else:
            used += 1
            network_config(preset_values(config.network))
    assert min(refused, used) > 0


def test_relaxations_that_were_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """The output of an earlier run is resumed, or refused and left unchanged."""
    monkeypatch.chdir(tmp_path)
    write("many.xyz", [Atoms("CO", [[0, 0, 0], [0, 0, z]]) for z in (1.1, 1.3)], format="extxyz")
    command = ["relax", "many.xyz", "-m", "gfn2", "--fmax", "0.05"]
    assert CliRunner().invoke(app, command).exit_code == 0
    whole = {path: path.read_bytes() for path in tmp_path.glob("many-relaxed.xyz*")}
    assert len(whole) == 2
    refused = done = 0
    for seed in seeds(request):
        rng = np.random.default_rng(seed)
        path = sorted(whole)[rng.integers(len(whole))]
        for other, content in whole.items():
            other.write_bytes(damaged(content, rng) if other == path else content)
        before = path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of ASE's reader
            result = CliRunner().invoke(app, command)
        assert result.exit_code in (0, 2), f"seed {seed}: {result.exception!r}, {result.output}"
        if result.exit_code == 2:
            refused += 1
            assert path.read_bytes() == before, f"seed {seed}"
        else:
            done += 1
            found = read("many-relaxed.xyz", ":")
            assert len(found) == 2, f"seed {seed}"
            for atoms in found:
                energy, forces = declared_labels(atoms)
                assert energy is not None, f"seed {seed}"
                assert forces is not None, f"seed {seed}"
                assert np.isfinite(atoms.positions).all(), f"seed {seed}"
    assert min(refused, done) > 0
