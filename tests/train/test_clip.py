"""Outlying gradients are shortened, all others are left as they are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from se3set_ase.train.clip import DECAY, clip_unusual

TIMES = 3.0
LENGTH_TOLERANCE = 1e-5
"""Relative: torch's clipping adds 1e-6 to the length."""


def with_gradients(scale: float) -> list[Tensor]:
    """Two weights whose gradients have the length ``scale`` together."""
    weights = [torch.zeros(2, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)]
    weights[0].grad = scale * torch.tensor([0.6, 0.0], dtype=torch.float64)
    weights[1].grad = scale * torch.tensor([-0.8], dtype=torch.float64)
    return weights


def gradient(weights: list[Tensor]) -> Tensor:
    return torch.cat([w.grad for w in weights if w.grad is not None])


@pytest.mark.parametrize("usual", [0.0, 1.0], ids=["first", "later"])
def test_usual_gradients_are_not_clipped(usual: float) -> None:
    weights = with_gradients(2.0)
    before = gradient(weights).clone()
    now = clip_unusual(weights, usual, TIMES)
    assert torch.equal(gradient(weights), before)
    assert now == pytest.approx(2.0 if not usual else DECAY * 1.0 + (1 - DECAY) * 2.0)


def test_an_outlier_is_clipped_and_keeps_its_direction() -> None:
    weights = with_gradients(1e4)
    direction = gradient(weights) / 1e4
    now = clip_unusual(weights, 1.0, TIMES)
    assert torch.allclose(gradient(weights), TIMES * direction, rtol=LENGTH_TOLERANCE)
    assert now == pytest.approx(DECAY * 1.0 + (1 - DECAY) * TIMES)


def test_the_usual_length_follows_the_gradients() -> None:
    usual = clip_unusual(with_gradients(1.0), 0.0, TIMES)
    expected = 1.0
    for length in [50.0] * 1000 + [0.1] * 1000:
        usual = clip_unusual(with_gradients(length), usual, TIMES)
        expected = DECAY * expected + (1 - DECAY) * min(length, TIMES * expected)
        assert usual == pytest.approx(expected, rel=1e-12)
        if length == 50.0:
            largest = usual
    assert largest == pytest.approx(50.0, rel=1e-3)
    # What is left of 50 after a thousand steps, and nothing else.
    assert usual - 0.1 == pytest.approx((largest - 0.1) * DECAY**1000, rel=1e-9)


def test_without_gradients_nothing_happens() -> None:
    assert clip_unusual([torch.zeros(2)], 1.0, TIMES) == pytest.approx(DECAY)
