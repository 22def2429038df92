"""Whole trainings, small ones: they learn, stop, log, and refuse what does not fit."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from made_up_data import HYDROGEN, PEROXIDE, WATER, frames, labelled, write_run
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch._dynamo.exc import BackendCompilerFailed

from se3set_ase import SE3SetCalculator
from se3set_ase.checkpoint.store import load_checkpoint
from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.nn.model import SE3Set
from se3set_ase.train.build import build_model
from se3set_ase.train.config import load_config
from se3set_ase.train.data import DataError, read_training_data
from se3set_ase.train.errors import energy_errors
from se3set_ase.train.log import CURVE_FILE, LOG_FILE, read_log, write_row
from se3set_ase.train.normalisation import fit_elements
from se3set_ase.train.run import FITTED_ATOMS, train
from se3set_ase.train.state import STATE_FILE, StateError
from se3set_ase.train.trainer import Trainer

ROUNDING = 1e-6  # of float32 weights
LEARNT = 0.2  # of the error before


def weights(model: SE3Set) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def trainer(path: Path) -> Trainer:
    return Trainer(load_config(path), progress=False)


def run(path: Path) -> torch.Tensor:
    return weights(trainer(path).run())


def interrupted(path: Path, after: int) -> None:
    """Train as far as the ``after``-th validation, then forget all but the files."""
    training = trainer(path)
    validate = training._validate
    count = 0

    def stop(train_error: np.ndarray) -> str:
        nonlocal count
        text = validate(train_error)
        count += 1
        if count == after:
            raise KeyboardInterrupt
        return text

    training._validate = stop  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        training.run()


def test_learns_another_potential(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "epochs": 40,
        "validate_every": 4,
        "learning_rate": 2e-2,
        "ema_decay": 0.9,
        "energy_weight": [1.0, 10.0],
    }
    path = write_run(
        tmp_path,
        frames(20, [WATER, HYDROGEN]),
        validation=frames(8, [WATER], seed=1),
        training=options,
        data={"tests": {"same": "validation.xyz", "absent": "none.xyz"}},
        description="Morse molecules.",
        limits=["Only for tests."],
    )
    config = load_config(path)
    folder = train(config, progress=False)
    rows = [{k: float(v) for k, v in row.items()} for row in read_log(folder.parent)]
    assert [row["epoch"] for row in rows] == list(range(4, 41, 4))
    for key in ("validation_energy_rmse_meV", "validation_forces_rmse_meV_A"):
        best = rows[[i for i, row in enumerate(rows) if row["best"]][-1]][key]
        assert best < LEARNT * rows[0][key]
    assert (folder.parent / CURVE_FILE).read_bytes().startswith(b"\x89PNG")

    model, metadata = load_checkpoint(folder)
    assert model.elements == (1, 8)
    assert metadata.description == "Morse molecules."
    assert metadata.limits == ("Only for tests.", FITTED_ATOMS)
    assert [(d.role, d.n_frames) for d in metadata.training_data] == [
        ("train", 20),
        ("validation", 8),
    ]
    assert metadata.training["loss"] == "mse"
    # What the card says is what the log says of the best weights.
    (measured,) = metadata.measured
    best_row = next(row for row in rows if row["epoch"] == metadata.training["best_epoch"])
    assert measured.data.n_frames == 8
    assert measured.energy_rmse_meV == pytest.approx(
        best_row["validation_energy_rmse_meV"], rel=1e-2
    )
    assert measured.forces_rmse_meV_A == pytest.approx(
        best_row["validation_forces_rmse_meV_A"], rel=1e-3
    )
    assert "Only for tests." in (folder / "README.md").read_text()

    # Better than the mean force on molecules that it never saw, through the calculator.
    (test,) = frames(1, seed=5)
    atoms = test.copy()
    atoms.calc = SE3SetCalculator(str(folder))
    error = np.abs(atoms.get_forces() - test.get_forces()).mean()
    assert error < 0.3 * np.abs(test.get_forces()).mean()
    # A finished run trains no more, and gives the same model.
    state = (folder.parent / STATE_FILE).read_bytes()
    again, _ = load_checkpoint(train(config, progress=False))
    assert torch.equal(weights(again), weights(model))
    assert (folder.parent / STATE_FILE).read_bytes() == state


def test_no_offset_is_left_in_the_energies(tmp_path: Path) -> None:
    """The shifts are fitted to what the weights leave, so no constant per element can improve."""
    apart = [labelled(Atoms("O2", [[0, 0, 0], [0, 0, d]])) for d in (2.6, 3.7, 9.0)]
    made = frames(12, [WATER, HYDROGEN]) + apart
    path = write_run(tmp_path, made, validation=frames(4, seed=1), training={"epochs": 2})
    training = trainer(path)
    training.run()
    batches = training._batches(training.train_frames, 25)

    def left() -> np.ndarray:
        errors, counts = energy_errors(training.model, batches)
        return fit_elements(counts, errors)

    # What a unit of a shift makes of the energies, by trying.
    errors, counts = energy_errors(training.model, batches)
    training.model.set_shifts([s + d for s, d in zip(training.model.shifts, (1, 0), strict=True)])
    changed, _ = energy_errors(training.model, batches)
    np.testing.assert_allclose(changed - errors, counts[:, 0], atol=1e-9)
    assert counts.min() == 0.0  # apart
    assert ((counts > 0.0) & (counts < 1.0)).any()  # nearly so
    training._fit_shifts(training.model, len(training.train_frames))
    np.testing.assert_allclose(left(), 0.0, atol=1e-9)
    training.model.set_shifts(training.normalisation.shifts)
    assert np.abs(left()).max() > 1e-4


def test_same_seed_same_result_and_another_seed_another(tmp_path: Path) -> None:
    made, validation = frames(8), frames(4, seed=1)
    a, b, c = (
        run(write_run(tmp_path / name, made, validation=validation, seed=seed))
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert torch.equal(a, b)
    assert (a - c).abs().max() > 1e-2


@pytest.mark.parametrize("loss", ["mse", "l2mae"])
def test_resumed_run_is_the_uninterrupted_one(tmp_path: Path, loss: str) -> None:
    made = frames(10)
    options = {"epochs": 7, "validate_every": 2, "weight_decay": 1e-3, "loss": loss}
    options["learning_rate"] = 2e-2
    whole = write_run(tmp_path / "whole", made, training=options)
    broken = write_run(tmp_path / "broken", made, training=options)
    uninterrupted = trainer(whole)
    expected = weights(uninterrupted.run())
    start = weights(trainer(broken).model)
    interrupted(broken, after=1)
    interrupted(broken, after=1)
    resumed = trainer(broken)
    assert resumed.progress.epoch == 4
    assert resumed.averaged.n_averaged == 4 * len(resumed.batches)
    result = weights(resumed.run())
    torch.testing.assert_close(result, expected, rtol=ROUNDING, atol=ROUNDING)
    assert (expected - start).abs().max() > 1e-2
    # Not the best weights alone: all that the next step would start from.
    for a, b in (
        (uninterrupted.averaged, resumed.averaged),
        (uninterrupted.optimizer, resumed.optimizer),
    ):
        first, second = a.state_dict(), b.state_dict()
        torch.testing.assert_close(first, second, rtol=ROUNDING, atol=ROUNDING)
    moments = resumed.optimizer.state_dict()["state"][0]
    assert set(moments) == {"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"}
    columns = ("epoch", "best", "learning_rate", "validation_forces_rmse_meV_A")
    logs = [
        [[float(row[c]) for c in columns] for row in read_log(t.folder)]
        for t in (uninterrupted, resumed)
    ]
    np.testing.assert_allclose(logs[1], logs[0], rtol=1e-4)
    assert len(logs[0]) == 4


def test_log_replaces_the_rows_of_an_attempt_that_was_killed(tmp_path: Path) -> None:
    for epoch, value in ((1, 10.0), (2, 20.0), (3, 30.0), (2, 21.0)):
        write_row(tmp_path, {"epoch": epoch, "value": value})
    assert read_log(tmp_path) == [{"epoch": "1", "value": "10.0"}, {"epoch": "2", "value": "21.0"}]
    assert [p.name for p in tmp_path.iterdir()] == [LOG_FILE]


@pytest.fixture
def started(tmp_path: Path) -> Path:
    """A run of eight frames, stopped after its first validation."""
    path = write_run(tmp_path, frames(8))
    interrupted(path, after=1)
    return path


def rewritten(path: Path, made: list[Atoms] | None = None, **changes: Any) -> Path:
    return write_run(path.parent, frames(8) if made is None else made, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"network": {"channels": 8, "heads": 2, "blocks": 2, "radial_hidden": 8}},
        {"hypergraph": {"cutoff": 4.5}},
        {"training": {"loss": "l2mae"}},
        {"training": {"learning_rate": 1e-4}},
        {"validation": 3},
        {"made": frames(9)},
        {"validation": frames(4, seed=9)},
    ],
)
def test_refuses_to_resume_under_another_configuration(
    started: Path, changes: dict[str, Any]
) -> None:
    assert trainer(started).progress.epoch == 2
    with pytest.raises(
        StateError, match="belongs to a run with another configuration or other data"
    ):
        trainer(rewritten(started, **changes))


def test_refuses_other_validation_frames_and_atomic_energies(tmp_path: Path) -> None:
    made = frames(8)

    def configured(energy: float, seed: int) -> Path:
        lone = []
        for symbol in "HO":
            atoms = Atoms(symbol)
            atoms.calc = SinglePointCalculator(atoms, energy=energy)
            lone.append(atoms)
        tmp_path.mkdir(exist_ok=True)
        write(tmp_path / "atoms.xyz", lone, format="extxyz")
        return write_run(
            tmp_path,
            made,
            validation=frames(4, seed=seed),
            data={"isolated_atoms": "atoms.xyz"},
        )

    interrupted(configured(-1.0, 1), after=1)
    assert trainer(configured(-1.0, 1)).progress.epoch == 2
    for energy, seed in ((-2.0, 1), (-1.0, 2)):
        with pytest.raises(
            StateError, match="belongs to a run with another configuration or other data"
        ):
            trainer(configured(energy, seed))


def test_resumes_on_other_threads_and_devices_settings(started: Path) -> None:
    assert trainer(rewritten(started, training={"threads": 1, "device": "cpu"})).progress.epoch == 2


def damage(content: bytes, how: str) -> bytes:
    return {
        "truncated": content[: len(content) // 2],
        "empty": b"",
        "foreign": b"PK\x03\x04" + content,
        "pickle": b"\x80\x04K\x01.",
    }[how]


@pytest.mark.parametrize("how", ["truncated", "empty", "foreign", "pickle"])
def test_refuses_a_damaged_state(started: Path, how: str) -> None:
    file = trainer(started).folder / STATE_FILE
    file.write_bytes(damage(file.read_bytes(), how))
    with pytest.raises(StateError, match=r"state\.safetensors: damaged .*remove it to start"):
        trainer(started)


def test_refuses_another_kind_of_file_and_missing_weights(started: Path) -> None:
    file = trainer(started).folder / STATE_FILE
    tensors = load_file(file)
    with safe_open(file, framework="pt") as state:
        metadata = state.metadata()
    save_file(tensors, file)
    with pytest.raises(StateError, match="expected the state of a training run"):
        trainer(started)
    name = next(key for key in tensors if key.startswith("averaged."))
    for tensor in (None, torch.zeros(2)):
        changed = {k: v for k, v in tensors.items() if k != name}
        if tensor is not None:
            changed[name] = tensor
        save_file(changed, file, metadata=metadata)
        with pytest.raises(StateError, match="expected the weights of this network"):
            trainer(started)


def test_stops_without_improvement_and_stays_stopped(tmp_path: Path) -> None:
    # So high a rate that the first validations are not bettered.
    options = {"epochs": 50, "validate_every": 1, "patience": 2, "learning_rate": 0.3}
    path = write_run(tmp_path, frames(8), training={**options, "warmup_steps": 0})
    training = trainer(path)
    result = weights(training.run())
    assert training.progress.since_best == 2
    assert training.progress.epoch == training.progress.best_epoch + 2 < 50
    again = trainer(path)
    assert torch.equal(weights(again.run()), result)
    assert again.progress == training.progress


def test_a_diverging_training_raises(tmp_path: Path) -> None:
    path = write_run(tmp_path, frames(8), training={"learning_rate": 1e30, "warmup_steps": 0})
    with pytest.raises(FloatingPointError, match=r"diverged in epoch .* lower learning_rate"):
        train(load_config(path), progress=False)


@pytest.mark.parametrize(
    ("made", "validation", "batch_size"),
    [
        (frames(1), frames(1, seed=1), 5),  # one frame, smaller than a batch
        (frames(7, [WATER, PEROXIDE, HYDROGEN]), 3, 3),  # a frame left over
        (frames(6, [WATER, Atoms("O")]), frames(2, [Atoms("H")]), 2),  # isolated atoms
        (frames(2, [Atoms("O"), Atoms("H")]), frames(1, [Atoms("H")]), 2),  # nothing else
    ],
    ids=["single", "mixed", "some isolated atoms", "isolated atoms"],
)
def test_unusual_data(
    tmp_path: Path, made: list[Atoms], validation: list[Atoms] | int, batch_size: int
) -> None:
    options = {"batch_size": batch_size, "epochs": 2, "validate_every": 1}
    path = write_run(tmp_path, made, validation=validation, training=options)
    training = trainer(path)
    assert torch.isfinite(weights(training.run())).all()
    assert all(np.isfinite(float(v)) for row in read_log(training.folder) for v in row.values())
    assert (training.folder / CURVE_FILE).exists()


def test_all_validation_frames_are_measured(tmp_path: Path) -> None:
    """More than a batch of them and not a multiple: the last one alone spoils the error."""
    validation = frames(27, seed=1)
    options = {"epochs": 1, "validate_every": 1}
    errors = []
    for name, shift in (("plain", 0.0), ("spoilt", 100.0)):
        last = validation[-1].copy()
        last.calc = SinglePointCalculator(
            last,
            energy=validation[-1].get_potential_energy() + shift,
            forces=validation[-1].get_forces(),
        )
        path = write_run(
            tmp_path / name, frames(4), validation=[*validation[:-1], last], training=options
        )
        training = trainer(path)
        training.run()
        errors.append(float(read_log(training.folder)[0]["validation_energy_rmse_meV"]))
    assert errors[1] == pytest.approx(1e5 / 27**0.5, rel=0.05)
    assert errors[0] < 0.5 * errors[1]


def test_does_not_change_the_number_of_threads(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    options = {"threads": before + 1, "epochs": 1}
    trainer(write_run(tmp_path, frames(6), training=options)).run()
    assert torch.get_num_threads() == before


def test_errors_of_the_data_come_before_a_folder_is_made(tmp_path: Path) -> None:
    bad = frames(6)
    bad[3] = labelled(bad[3])
    bad[3].calc.results.pop("forces")
    path = write_run(tmp_path, bad)
    with pytest.raises(DataError, match=r"train\.xyz, frame 3: expected a label 'forces'"):
        train(load_config(path), progress=False)
    assert not (tmp_path / "runs").exists()


def test_the_model_is_kept_if_a_test_cannot_be_measured(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "methane.xyz", Atoms("CH", [[0, 0, 0], [0, 0, 1.1]]), format="extxyz")
    path = write_run(
        tmp_path,
        frames(6),
        training={"epochs": 1},
        data={"tests": {"other": "methane.xyz", "absent": "none.xyz"}},
    )
    _, metadata = load_checkpoint(train(load_config(path), progress=False))
    assert metadata.measured == ()
    assert "test 'other' is not measured" in caplog.text
    assert "test 'absent' is not measured: no such file" in caplog.text


def test_log_has_a_header_and_one_row_per_validation(tmp_path: Path) -> None:
    training = trainer(write_run(tmp_path, frames(6), training={"epochs": 5}))
    training.run()
    with (training.folder / LOG_FILE).open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header[:3] == ["epoch", "seconds", "learning_rate"]
    assert [row[0] for row in rows] == ["2", "4", "5"]
    shutil.rmtree(training.folder)


def test_requires_launched_processes(tmp_path: Path) -> None:
    path = write_run(tmp_path, frames(6), training={"devices": 2, "device": "cpu"})
    with pytest.raises(ValueError, match="expected a fabric of 2 launched processes"):
        trainer(path)


def test_trains_without_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise BackendCompilerFailed(fail, RuntimeError("no working C++ compiler"), None)

    monkeypatch.setattr("se3set_ase.train.trainer.compile_step", fail)
    path = write_run(tmp_path, frames(8), training={"compile": True, "epochs": 1})
    with pytest.warns(UserWarning, match=r"is not compiled(.|\n)*no working C\+\+ compiler"):
        trainer(path).run()


def test_takes_data_and_a_model_in_place_of_those_of_the_configuration(tmp_path: Path) -> None:
    config = load_config(write_run(tmp_path, frames(12), training={"epochs": 2}))
    given = read_training_data(config.data, HypergraphConfig(), seed=1)
    fewer = replace(given, train=given.train[:4])
    built: list[SE3Set] = []

    def build(*arguments: Any) -> SE3Set:
        built.append(build_model(*arguments))
        return built[-1]

    training = Trainer(config, progress=False, data=fewer, build=build)
    assert training.model is built[0]
    assert [frame.origin for frame in training.train_frames] == [f.origin for f in fewer.train]
    assert len(trainer(write_run(tmp_path / "usual", frames(12))).train_frames) == 8  # the control
