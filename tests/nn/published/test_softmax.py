"""Smooth softmax: sums, weights, the sink, stability."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from se3set_ase.nn.published.softmax import smooth_softmax

TOLERANCE_FLOAT64 = 1e-14
INDEX = torch.tensor([0, 0, 0, 1, 1, 3])
SIZE = 4


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Logits of two heads, weights and sinks; group 2 has no members."""
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(6, 2, generator=generator, dtype=torch.float64)
    weight = torch.rand(6, generator=generator, dtype=torch.float64)
    return logits, weight, torch.tensor([0.3, -0.5], dtype=torch.float64)


def by_hand(logits: Tensor, weight: Tensor, sink: Tensor) -> Tensor:
    result = torch.zeros_like(logits)
    for k in range(6):
        total = sink.exp()
        for m in range(6):
            if INDEX[m] == INDEX[k]:
                total = total + weight[m] * logits[m].exp()
        result[k] = weight[k] * logits[k].exp() / total
    return result


def test_equals_its_definition() -> None:
    logits, weight, sink = inputs()
    got = smooth_softmax(logits, weight, INDEX, SIZE, sink)
    expected = by_hand(logits, weight, sink)
    torch.testing.assert_close(got, expected, rtol=0, atol=TOLERANCE_FLOAT64)


def test_members_and_sink_sum_to_one() -> None:
    logits, weight, sink = inputs()
    members = torch.zeros(SIZE, 2).double()
    members = members.index_add(0, INDEX, smooth_softmax(logits, weight, INDEX, SIZE, sink))
    assert members[2].abs().max() == 0.0
    assert (members[[0, 1, 3]] > 0.0).all()
    assert (members < 1.0).all()
    # The sink as another member of weight 1, with a negligible sink.
    groups = torch.cat([INDEX, torch.arange(SIZE)])
    everything = smooth_softmax(
        torch.cat([logits, sink.expand(SIZE, 2)]),
        torch.cat([weight, torch.ones(SIZE).double()]),
        groups,
        SIZE,
        torch.full((2,), -1e3).double(),
    )
    torch.testing.assert_close(everything[:6].sum(0), members.sum(0), rtol=0, atol=1e-14)
    total = torch.zeros(SIZE, 2).double().index_add(0, groups, everything)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-14)


@pytest.mark.parametrize("logit", [0.0, 50.0, 1e4, float("-1e4")])
def test_weight_zero_changes_no_bit(logit: float) -> None:
    logits, weight, sink = inputs()
    expected = smooth_softmax(logits, weight, INDEX, SIZE, sink)

    def with_another(extra: float) -> Tensor:
        return smooth_softmax(
            torch.cat([logits, torch.full((1, 2), logit).double()]),
            torch.cat([weight, torch.tensor([extra]).double()]),
            torch.cat([INDEX, torch.tensor([0])]),
            SIZE,
            sink,
        )

    got = with_another(0.0)
    assert torch.equal(got[:6], expected)
    assert torch.equal(got[6], torch.zeros(2).double())
    if logit >= 0.0:  # the control
        assert (with_another(0.5)[:3] - expected[:3]).abs().max() > 1e-2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("offset", [-1e4, 1e4])
def test_large_logits_and_their_gradients_are_finite(dtype: torch.dtype, offset: float) -> None:
    logits, weight, sink = (x.to(dtype) for x in inputs())
    weight[0] = 0.0
    logits = (logits + offset).requires_grad_()
    got = smooth_softmax(logits, weight, INDEX, SIZE, sink)
    (gradient,) = torch.autograd.grad(got.square().sum(), logits)
    assert got.dtype == dtype
    assert torch.isfinite(got).all()
    assert torch.isfinite(gradient).all()


def test_shift_of_everything_cancels_but_not_that_of_the_logits_alone() -> None:
    logits, weight, sink = inputs()
    expected = smooth_softmax(logits, weight, INDEX, SIZE, sink)
    together = smooth_softmax(logits + 3.0, weight, INDEX, SIZE, sink + 3.0)
    torch.testing.assert_close(together, expected, rtol=0, atol=TOLERANCE_FLOAT64)
    alone = smooth_softmax(logits + 3.0, weight, INDEX, SIZE, sink)
    assert (alone - expected).abs().max() > 1e-2


def test_derivatives_to_second_order() -> None:
    logits, weight, sink = (x.requires_grad_() for x in inputs())

    def coefficients(logits: Tensor, weight: Tensor, sink: Tensor) -> Tensor:
        return smooth_softmax(logits, weight, INDEX, SIZE, sink)

    assert gradcheck(coefficients, (logits, weight, sink))
    assert gradgradcheck(coefficients, (logits, weight, sink))


def test_no_members() -> None:
    got = smooth_softmax(
        torch.empty(0, 2), torch.empty(0), torch.empty(0, dtype=torch.int64), 3, torch.zeros(2)
    )
    assert got.shape == (0, 2)
