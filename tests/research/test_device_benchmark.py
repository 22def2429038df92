"""The benchmark of `make gpu`, on the processor."""

import sys

import pytest
import torch

from research.benchmarks import device
from research.tables import read_rows


def test_it_measures_everything_on_the_processor(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(device, "SECONDS", 0.01)
    monkeypatch.setattr(device, "BATCHES", (1, 4))
    monkeypatch.setattr(device, "FRAMES", 64)
    monkeypatch.setattr(device, "LARGEST_ON_CPU", 42)
    monkeypatch.setattr(sys, "argv", ["device", "--device", "cpu", "--output", str(tmp_path)])
    device.main()
    rows = read_rows(tmp_path / "device.csv")
    assert [row["measurement"] for row in rows] == ["MD step"] * 4 + ["batch"] * 2 + ["training"]
    assert {row["device"] for row in rows} == {"cpu"}
    assert all(float(row["value"]) > 0 and int(row["memory_MB"]) > 0 for row in rows)
    assert "one core of" in capsys.readouterr().out


def test_what_the_time_does_not_suffice_for_is_named(capsys) -> None:
    assert device.Deadline(1.0).allows(10.0, "something short")
    assert not device.Deadline(0.1).allows(10.0, "a training")
    assert capsys.readouterr().out == "no time left for a training\n"


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_missing_device_is_said(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["device"])
    with pytest.raises(SystemExit):
        device.main()
    assert "--device cpu" in capsys.readouterr().err
