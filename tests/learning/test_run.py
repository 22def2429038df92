"""A whole run: honest errors, a usable committee, resumption, and the same at the command line."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write
from tiny_learning import INTERRUPT, LOG, METHOD, WATER, options
from typer.testing import CliRunner

from se3set_ase import SE3SetCalculator, learn
from se3set_ase.checkpoint.store import load_metadata
from se3set_ase.cli import app
from se3set_ase.learning import Learned
from se3set_ase.learning.geometry import difference, distances
from se3set_ase.learning.selection import DUPLICATE
from se3set_ase.potential import Potential

ROOT = Path(__file__).parents[2]
#: Rounding of files, and of models in float64.
WRITTEN = 1e-6
Finished = tuple[Learned, Path]


def labels_of(folder: Path, pattern: str = "round-*") -> list[Atoms]:
    files = sorted((folder / "learning").glob(f"{pattern}/labels.xyz"))
    return [atoms for file in files for atoms in read(file, ":")]


def force_error(model: Path, frames: list[Atoms]) -> float:
    """Mean absolute error of the components, meV/Angstrom."""
    found = Potential(model).predict(frames, warn=False)
    off = [np.abs(p.forces - a.get_forces()) for p, a in zip(found, frames, strict=True)]
    return 1e3 * float(np.mean(off))


def test_fresh_geometries_are_tested_before_the_training(finished: Finished) -> None:
    learned, _ = finished
    assert [r.round for r in learned.rounds] == [0, 1]
    models = learned.folder / "learning" / "models"
    before, after = (models / f"round-0{k}-member-0" / "model" for k in (0, 1))
    last = learned.rounds[1]
    for role, written in (("random", last.random_forces), ("uncertain", last.chosen_forces)):
        fresh = labels_of(learned.folder, "round-01")
        fresh = [atoms for atoms in fresh if atoms.info["role"] == role]
        assert fresh
        assert written == pytest.approx(force_error(before, fresh), rel=1e-4)
        # The control: a test after the training would give another number.
        assert written != pytest.approx(force_error(after, fresh), rel=1e-2)


def test_no_geometry_is_labelled_twice_or_trained_on_and_tested(finished: Finished) -> None:
    learned, log = finished
    lines = log.read_text().splitlines()
    assert len(lines) == len(set(lines)) == learned.n_labels <= 20
    learning = learned.folder / "learning"
    train = read(learning / "round-01" / "train.xyz", ":")
    validation = read(learning / "round-01" / "validation.xyz", ":")
    test = read(learned.folder / "test.xyz", ":")
    assert {atoms.info["role"] for atoms in validation} == {"random"}
    assert len(train) + len(validation) + len(test) == learned.n_labels
    labels = [*labels_of(learned.folder, "start"), *labels_of(learned.folder)]
    every = distances(labels)
    chosen = [k for k, atoms in enumerate(labels) if atoms.info.get("role") == "uncertain"]
    assert len(chosen) > 5
    for index in chosen:
        assert difference(every[index], every[:index]).min() >= DUPLICATE


def test_the_model_has_a_card_with_the_errors_of_the_test_and_a_committee(
    finished: Finished,
) -> None:
    learned, _ = finished
    assert learned.test is not None
    test = read(learned.folder / "test.xyz", ":")
    (measured,) = load_metadata(learned.folder).measured
    assert measured.data.role == "test"
    assert measured.data.n_frames == len(test) == learned.n_test
    assert measured.forces_mae_meV_A == pytest.approx(force_error(learned.folder, test), rel=1e-4)
    assert f"{measured.forces_mae_meV_A:.2f}" in (learned.folder / "README.md").read_text()
    assert "H2O only" in (learned.folder / "README.md").read_text()
    committee = Potential(learned.folder).committee
    assert committee is not None
    assert len(committee.others) == 1
    found = Potential(learned.folder).predict(test, warn=False)
    assert all(energy > 0 for energy, _ in committee.uncertainties(found))
    header, *rows = (learned.folder / "rounds.csv").read_text().splitlines()
    assert header.startswith("round,trained_on,fresh")
    assert len(rows) == 2
    assert (learned.folder / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert "final test, " in str(learned)


def test_the_printed_lines_use_the_model(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned, _ = finished
    monkeypatch.chdir(tmp_path)
    write("molecule.xyz", WATER)
    names: dict[str, object] = {}
    exec(learned.code, names)
    atoms = names["atoms"]
    assert isinstance(atoms, Atoms)
    assert math.isfinite(atoms.get_potential_energy())


def test_the_same_call_labels_nothing_more_and_a_larger_budget_continues(
    finished: Finished, initial: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned, _ = finished
    folder = tmp_path / "model"
    shutil.copytree(learned.folder, folder)
    log = tmp_path / "labels.log"
    monkeypatch.setenv(LOG, str(log))
    same = learn(WATER, **options(folder, initial))
    assert not log.exists()
    assert same.rounds == learned.rounds
    assert same.test == learned.test
    values = options(folder, initial, labels=30)
    del values["per_round"]  # that of the first run
    more = learn(WATER, **values)
    assert more.rounds[:2] == learned.rounds
    assert len(more.rounds) == 3
    assert more.n_labels + learned.n_test <= 30
    assert len(log.read_text().splitlines()) == more.rounds[2].fresh + more.n_test


def test_ctrl_c_keeps_the_model_of_the_last_round(
    initial: Path, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned, _ = finished
    monkeypatch.setenv(LOG, str(tmp_path / "labels.log"))
    values = options(tmp_path / "model", initial)
    monkeypatch.setenv(INTERRUPT, "3")  # in the first round
    with pytest.raises(KeyboardInterrupt):
        learn(WATER, **values)
    monkeypatch.setenv(INTERRUPT, "10")  # in the second
    stopped = learn(WATER, **values)
    assert stopped.interrupted
    assert len(stopped.rounds) == 1
    assert stopped.test is None
    atoms = WATER.copy()
    atoms.calc = SE3SetCalculator(stopped.folder)
    assert math.isfinite(atoms.get_potential_energy())
    assert load_metadata(stopped.folder).measured[0].data.role == "validation"
    monkeypatch.delenv(INTERRUPT)
    end = learn(WATER, **values)
    ours, theirs = labels_of(end.folder), labels_of(learned.folder)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one.positions, other.positions, atol=WRITTEN)


SCRIPT = """
import sys
from pathlib import Path
from tiny_learning import WATER, options
from se3set_ase import learn
learn(WATER, **options(Path(sys.argv[1]), Path(sys.argv[2])))
"""


@pytest.mark.parametrize(
    ("times", "longest", "least"), [(4, 6.0, 1), pytest.param(10, 1.5, 10, marks=pytest.mark.slow)]
)
def test_resumes_after_kill_at_random_moments(
    initial: Path, finished: Finished, tmp_path: Path, times: int, longest: float, least: int
) -> None:
    learned, _ = finished
    log, output = tmp_path / "labels.log", tmp_path / "model"
    paths = [str(ROOT), str(ROOT / "tests"), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), LOG: str(log)}
    command = [sys.executable, "-c", SCRIPT, str(output), str(initial)]
    rng = np.random.default_rng(int.from_bytes(os.urandom(4), "big"))
    kills = 0
    for _ in range(times):
        process = subprocess.Popen(command, env=environment)
        state = output / "learning" / "settings.json"
        while process.poll() is None and not state.exists():
            time.sleep(0.05)
        try:
            process.wait(rng.uniform(0.2, longest))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
    subprocess.run(command, env=environment, check=True)
    assert kills >= least
    ours, theirs = labels_of(output), labels_of(learned.folder)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one.positions, other.positions, atol=WRITTEN)
        assert one.get_potential_energy() == pytest.approx(other.get_potential_energy())
    lines = log.read_text().splitlines()
    # What was computed but not yet written when the process was killed.
    assert len(lines) - len(set(lines)) <= kills
    assert len(set(lines)) == learned.n_labels
    assert json.loads((output / "learning" / "test-01" / "row.json").read_text())["n_frames"] > 0


def test_the_command_does_the_same(finished: Finished, initial: Path, tmp_path: Path) -> None:
    learned, _ = finished
    write(tmp_path / "water.xyz", WATER)
    values = options(tmp_path / "model", initial)
    arguments = [str(tmp_path / "water.xyz"), "--output", str(values["output"])]
    arguments += ["--method", METHOD, "--initial", str(initial), "--first", "rattle"]
    arguments += ["--temperature", "300", "--labels", "20", "--per-round", "6"]
    arguments += ["--committee", "2", "--training-frames", "24", "--forces", "0.001"]
    result = CliRunner().invoke(app, ["learn", *arguments])
    assert result.exit_code == 0, result.output
    assert "final test, " in result.stdout
    assert "SE3SetCalculator(" in result.stdout
    for one, other in zip(labels_of(tmp_path / "model"), labels_of(learned.folder), strict=True):
        np.testing.assert_allclose(one.positions, other.positions, atol=WRITTEN)
