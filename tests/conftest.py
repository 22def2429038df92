"""Conditions of every test: no CUDA unless it is requested, and unchanged defaults of torch."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from untrained import METADATA, Make, tiny_model

from se3set_ase import SE3SetCalculator
from se3set_ase.checkpoint.store import save_checkpoint

# No deadline: the first example pays for what torch loads late.  The same examples in every run.
settings.register_profile("se3set", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("se3set")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests that take minutes")
    parser.addoption("--fuzz", type=int, default=60, help="random inputs of each fuzzing test")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    skip_slow = pytest.mark.skip(reason="takes minutes: give --slow")
    skip_gpu = pytest.mark.skip(reason="no CUDA device")
    for item in items:
        if "slow" in item.keywords and not config.getoption("--slow"):
            item.add_marker(skip_slow)
        if "gpu" in item.keywords and not torch.cuda.is_available():
            item.add_marker(skip_gpu)


@pytest.fixture(autouse=True)
def _hide_cuda(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``device="auto"`` mean the CPU, so that a test says the same on every machine."""
    if "gpu" not in request.keywords:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture(autouse=True)
def _torch_defaults_unchanged() -> Iterator[None]:
    """Fail the test that leaves a process-wide setting of torch changed."""
    before = _torch_defaults()
    yield
    assert _torch_defaults() == before, "the test, or what it called, changed a torch default"


def _torch_defaults() -> dict[str, object]:
    return {
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "grad": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "matmul precision": torch.get_float32_matmul_precision(),
        "threads": torch.get_num_threads(),
    }


@pytest.fixture(autouse=True)
def _no_compiler_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep pytest's capture of logs from turning on torch's trace of every compiled graph."""
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "disabled", True)


@pytest.fixture
def rng() -> np.random.Generator:
    """A numpy generator with the same seed in every test."""
    return np.random.default_rng(20260101)


@pytest.fixture
def torch_rng() -> torch.Generator:
    """A torch generator (CPU) with the same seed in every test."""
    return torch.Generator().manual_seed(20260101)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small model with random weights, see ``untrained.py``."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_checkpoint(folder, tiny_model(), METADATA)
    return folder


@pytest.fixture(scope="module")
def make(saved: Path) -> Make:
    """Makes calculators of it."""
    return lambda **options: SE3SetCalculator(saved, device="cpu", **options)
