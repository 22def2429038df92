"""The command that trains: killed and started again, on one process and on two."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase.io import read
from made_up_data import HYDROGEN, PEROXIDE, WATER, frames, write_run

from se3set_ase.checkpoint.store import load_checkpoint
from se3set_ase.io.files import sha256_of
from se3set_ase.nn.model import SE3Set
from se3set_ase.potential import Potential
from se3set_ase.train.config import load_config
from se3set_ase.train.data import DataError
from se3set_ase.train.log import read_log
from se3set_ase.train.run import few_formulas, train
from se3set_ase.train.trainer import Trainer

ROUNDING = 1e-5  # of float32 weights, over some tens of steps
PATIENCE = 120.0  # seconds
COMMAND = (sys.executable, "-c", "from se3set_ase.cli import app; app()", "train")


def flat(model: SE3Set) -> torch.Tensor:
    """All weights but those that cancel against the isolated atom's: their gradient is rounding
    alone, which Adam makes as large as any other."""
    cancel = "readout.2.bias"
    return torch.cat(
        [p.detach().double().flatten() for k, p in model.named_parameters() if cancel not in k]
    )


def weights(folder: Path) -> torch.Tensor:
    return flat(load_checkpoint(folder)[0])


def start(path: Path) -> torch.Tensor:
    """The weights that the run began with."""
    config = load_config(path).model_copy(update={"name": "fresh"})
    return flat(Trainer(config, progress=False).model)


def test_killed_command_resumes_to_the_same_model(tmp_path: Path) -> None:
    options = {"epochs": 30, "validate_every": 3, "learning_rate": 1e-2}
    whole, broken = (
        write_run(tmp_path / name, frames(12), training=options) for name in ("whole", "broken")
    )
    folder = broken.parent / "runs" / "tiny"
    process = subprocess.Popen([*COMMAND, broken], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE
        while len(read_log(folder)) < 2 and time.monotonic() < deadline:
            assert process.poll() is None, "the run ended before it could be killed"
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    rows = len(read_log(folder))
    assert 2 <= rows < 10
    assert not (folder / "model").exists()

    done = subprocess.run([*COMMAND, broken], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert f"written: {folder / 'model'}" in done.stdout
    assert "\r" not in done.stderr  # no bar without a terminal
    expected = train(load_config(whole), progress=False)
    torch.testing.assert_close(
        weights(folder / "model"), weights(expected), rtol=ROUNDING, atol=ROUNDING
    )
    assert (weights(expected) - start(broken)).abs().max() > 1e-2
    logs = [read_log(f.parent) for f in (folder / "model", expected)]
    assert [r["epoch"] for r in logs[0]] == [r["epoch"] for r in logs[1]]
    assert sorted(p.name for p in folder.iterdir()) == [
        "learning_curve.png",
        "log.csv",
        "model",
        "state.safetensors",
    ]


def run(path: Path) -> Path:
    return train(load_config(path), progress=False)


def test_two_processes_give_the_result_of_one(tmp_path: Path) -> None:
    made = frames(13, [WATER, PEROXIDE, HYDROGEN])
    options: dict[str, Any] = {
        "epochs": 6,
        "validate_every": 3,
        "learning_rate": 1e-2,
        "device": "cpu",
    }
    one = write_run(tmp_path / "one", made, training=options)
    expected = weights(run(one))
    environment = dict(os.environ)
    two = write_run(tmp_path / "two", made, training={**options, "devices": 2})
    folder = run(two)
    assert dict(os.environ) == environment
    assert not torch.distributed.is_initialized()
    torch.testing.assert_close(weights(folder), expected, rtol=ROUNDING, atol=ROUNDING)
    logs = [
        [[float(v) for k, v in row.items() if k != "seconds"] for row in read_log(p)]
        for p in (folder.parent, one.parent / "runs" / "tiny")
    ]
    np.testing.assert_allclose(logs[0], logs[1], rtol=1e-3)
    assert (expected - start(one)).abs().max() > 1e-2
    (atoms,) = read(two.parent / "train.xyz", index="0:1")
    assert np.isfinite(Potential(folder).predict([atoms])[0].energy)


def test_an_error_in_the_processes_keeps_its_type(tmp_path: Path) -> None:
    bad = frames(8)
    bad[5].calc.results.pop("forces")
    path = write_run(tmp_path, bad, training={"devices": 2, "device": "cpu"})
    with pytest.raises(DataError, match=r"train\.xyz, frame 5: expected a label 'forces'"):
        run(path)


def test_the_card_has_the_data_that_were_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels that are still being made grow while a model is trained."""
    config = load_config(write_run(tmp_path, frames(8), training={"epochs": 1}))
    read_then = sha256_of(config.data.train)
    fit = Trainer.run

    def growing(trainer: Trainer) -> SE3Set:
        with config.data.train.open("a") as file:
            file.write(config.data.train.read_text().split("Properties")[0])
        return fit(trainer)

    monkeypatch.setattr(Trainer, "run", growing)
    _, metadata = load_checkpoint(train(config, progress=False))
    assert {file.sha256 for file in metadata.training_data} == {read_then}
    assert sha256_of(config.data.train) != read_then


def test_model_knows_its_molecules(tmp_path: Path) -> None:
    config = load_config(write_run(tmp_path, frames(8), training={"epochs": 1}))
    _, metadata = load_checkpoint(train(config, progress=False))
    assert metadata.formulas == ("H2O",)
    many = [np.ones(k, int) for k in range(1, 12)]
    assert few_formulas(many) == ()
    assert few_formulas(many[:3] * 5) == ("H", "H2", "H3")
