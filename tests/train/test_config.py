"""The configuration file of a training run: what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from made_up_data import frames, write_run

from se3set_ase.train.config import ConfigError, TrainingConfig, load_config
from se3set_ase.train.schedule import energy_weight, learning_rate


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_run(tmp_path, frames(1))


def change(path: Path, section: str | None, **values: Any) -> Path:
    content = yaml.safe_load(path.read_text())
    (content[section] if section else content).update(values)
    path.write_text(yaml.safe_dump(content))
    return path


def test_data_paths_are_relative_to_the_file(path: Path) -> None:
    change(path, "data", validation="v.xyz", isolated_atoms="a/b.xyz", tests={"300 K": "../t.xyz"})
    data = load_config(path).data
    assert data.train == path.parent / "train.xyz"
    assert data.validation == path.parent / "v.xyz"
    assert data.isolated_atoms == path.parent / "a/b.xyz"
    assert data.tests == {"300 K": path.parent / "../t.xyz"}


def test_a_number_of_validation_frames_stays_a_number(path: Path) -> None:
    assert load_config(change(path, "data", validation=50)).data.validation == 50


@pytest.mark.parametrize(
    ("section", "values", "text"),
    [
        (None, {"nmae": "x"}, "nmae: Extra inputs"),
        (None, {"name": "a/b"}, "name: "),
        (None, {"name": ".."}, "name: "),
        (None, {"name": ""}, "name: "),
        (None, {"seed": -1}, "seed: "),
        (None, {"network": {"chanels": 8}}, r"got unknown keys \['chanels'\]"),
        (None, {"network": {"preset": "heavy"}}, "expected preset to be one of .* got 'heavy'"),
        (None, {"network": {"channels": 6, "heads": 4}}, "multiple of heads, got 6, 4"),
        (None, {"network": {"channels": "many"}}, "expected channels to be a whole number"),
        (None, {"hypergraph": {"cutof": 5.0}}, r"got unknown keys \['cutof'\]"),
        (None, {"hypergraph": {"reach": 9.0}}, "expected 0 < reach_width <= reach <= cutoff"),
        ("data", {"level_of_theory": None}, "data.level_of_theory: "),
        ("data", {"n_train": 0}, "data.n_train: "),
        ("training", {"epochs": 0}, "training.epochs: "),
        ("training", {"epochs": "many"}, "training.epochs: "),
        ("training", {"loss": "huber"}, "training.loss: .*'mse' or 'l2mae'"),
        ("training", {"device": "gpu0"}, "training.device: "),
        ("training", {"learning_rate": -1e-3}, "training.learning_rate: "),
        ("training", {"ema_decay": 1.0}, "training.ema_decay: "),
        ("training", {"forces_weight": float("nan")}, "training.forces_weight: "),
        ("training", {"energy_weight": [0.0, 1.0]}, "both energy weights above 0 or none"),
        ("training", {"energy_weight": [-1.0, 1.0]}, "training.energy_weight.0: "),
        ("training", {"energy_weight": [0.0, 0.0], "forces_weight": 0.0}, "got none"),
        ("training", {"devices": 3}, "multiple of devices, got 4 and 3"),
    ],
)
def test_refuses_and_names_the_field(
    path: Path, section: str | None, values: dict[str, Any], text: str
) -> None:
    load_config(path)  # fine before the change
    with pytest.raises(ConfigError, match=text) as caught:
        load_config(change(path, section, **values))
    assert str(path) in str(caught.value)


def test_names_every_bad_field_at_once(path: Path) -> None:
    change(path, "training", epochs=0, batch_size=0)
    with pytest.raises(ConfigError, match=r"(?s)training\.epochs.*training\.batch_size"):
        load_config(path)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"name: [", "expected YAML"),
        (b"\xff\xfe", "expected YAML"),
        (b"- a\n- b\n", "expected a mapping, got list"),
        (b"", "expected a mapping, got NoneType"),
        (b"? \n", "None: Keys should be strings"),
        (b"name: x\n", "training: Field required"),
    ],
)
def test_refuses_what_is_no_configuration(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=text):
        load_config(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_config(tmp_path / "none.yaml")


def test_learning_rate_rises_linearly_and_falls_by_half_a_cosine() -> None:
    options = TrainingConfig(epochs=10, learning_rate=1.0, final_learning_rate=0.2, warmup_steps=4)
    assert [learning_rate(options, 0.0, step) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert learning_rate(options, 5.0, 99) == pytest.approx(0.6, abs=1e-12)
    assert learning_rate(options, 10.0, 99) == pytest.approx(0.2, abs=1e-12)


def test_energy_weight_is_geometric_or_off() -> None:
    options = TrainingConfig(epochs=10, energy_weight=(1.0, 100.0))
    assert [energy_weight(options, e) for e in (0.0, 5.0, 10.0)] == pytest.approx([1, 10, 100])
    assert energy_weight(TrainingConfig(epochs=10, energy_weight=(0.0, 0.0)), 5.0) == 0.0
