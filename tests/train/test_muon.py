"""Muon against torch's own, and against a singular value decomposition."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from se3set_ase.nn.light.cartesian import FeatureLinear
from se3set_ase.train.muon import MOMENTUM, UPDATE_RMS, MuonAdamW, orthogonalise

SAME = 1e-6  # of weights of order one, after a few steps in float32
SAME_DIRECTION = 2e-2  # torch's iterations are in bfloat16
RATE, DECAY = 0.01, 0.1


def stack(seed: int, c: int = 16) -> nn.Parameter:
    generator = torch.Generator().manual_seed(seed)
    return nn.Parameter(torch.randn(3, c, c, generator=generator))


class Weights(nn.Module):
    """Some that mix channels, and others."""

    def __init__(self, *mixing: nn.Parameter, others: Sequence[nn.Parameter] = ()):
        super().__init__()
        self.mixing = nn.ModuleList(FeatureLinear(w.shape[-1]) for w in mixing)
        for module, weight in zip(self.mixing, mixing, strict=True):
            module.weight = weight
        self.others = nn.ParameterList(others)


def gradients(like: Tensor, n_steps: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(9)
    return [torch.randn(like.shape, generator=generator) for _ in range(n_steps)]


@pytest.mark.parametrize("size", [1.0, 1e-6, 1e-25, 1e20])
def test_singular_values_are_near_one_and_vectors_are_kept(size: float) -> None:
    matrices = stack(0).detach()
    u, values, v = torch.linalg.svd(matrices)
    assert values.max() / values.min() > 10  # a control: they were far from one another
    orthogonal = orthogonalise(size * matrices)
    there = torch.diagonal(u.mT @ orthogonal @ v.mT, dim1=1, dim2=2)
    assert there.min() > 0.25
    assert there.max() < 1.25
    assert there.median() == pytest.approx(1.0, abs=0.3)
    rest = u.mT @ orthogonal @ v.mT - torch.diag_embed(there)
    assert rest.abs().max() < 0.05


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")
def test_stacks_are_updated_as_by_torch_muon() -> None:
    ours = [stack(1), stack(2)]
    theirs = [nn.Parameter(m.detach().clone()) for w in ours for m in w]
    optimizer = MuonAdamW(Weights(*ours), lr=RATE, weight_decay=DECAY)
    reference = torch.optim.Muon(
        theirs,
        lr=RATE,
        weight_decay=DECAY,
        momentum=MOMENTUM,
        adjust_lr_fn="match_rms_adamw",  # which is UPDATE_RMS sqrt(c)
    )
    start = torch.cat([w.detach().clone() for w in ours])
    steps = [gradients(w, 5) for w in ours]
    for number in range(5):
        for weight, step in zip(ours, steps, strict=True):
            weight.grad = step[number].clone()
        for weight, grad in zip(theirs, torch.cat([s[number] for s in steps]), strict=True):
            weight.grad = grad.clone()
        optimizer.step()
        reference.step()
    moved = torch.cat([w.detach() for w in ours]) - start
    expected = torch.stack([w.detach() for w in theirs]) - start
    size = expected.square().mean().sqrt()
    assert size > RATE * UPDATE_RMS
    assert (moved - expected).square().mean().sqrt() < SAME_DIRECTION * size


def test_other_weights_are_updated_as_by_adamw() -> None:
    def others() -> list[nn.Parameter]:
        shapes = [(8,), (8, 8), (3, 11, 11), (4, 2)]
        return [nn.Parameter(torch.linspace(-1, 1, nn.Parameter(torch.empty(s)).numel()).view(s))
                for s in shapes]  # fmt: skip

    ours, theirs = others(), others()
    options = {"lr": RATE, "weight_decay": DECAY, "amsgrad": True}
    optimizer = MuonAdamW(Weights(stack(3), others=ours), **options)
    reference = torch.optim.AdamW(theirs, **options)
    steps = [gradients(w, 4) for w in ours]
    for number in range(4):
        for mine, yours, step in zip(ours, theirs, steps, strict=True):
            mine.grad, yours.grad = step[number].clone(), step[number].clone()
        optimizer.step()
        reference.step()
    for mine, yours, start in zip(ours, theirs, others(), strict=True):
        torch.testing.assert_close(mine, yours, rtol=0, atol=SAME)
        assert (mine - start).abs().max() > RATE


def test_a_weight_without_a_gradient_stays() -> None:
    weight = stack(4)
    before = weight.detach().clone()
    optimizer = MuonAdamW(Weights(weight), lr=RATE, weight_decay=DECAY)
    optimizer.step()
    assert torch.equal(weight, before)
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert not torch.equal(weight, before)


def test_momentum_is_saved_and_restored() -> None:
    steps = gradients(stack(5), 4)

    def run(weight: nn.Parameter, optimizer: MuonAdamW, chosen: list[Tensor]) -> None:
        for grad in chosen:
            weight.grad = grad.clone()
            optimizer.step()

    whole = stack(5)
    run(whole, MuonAdamW(Weights(whole), lr=RATE), steps)
    first = stack(5)
    optimizer = MuonAdamW(Weights(first), lr=RATE)
    run(first, optimizer, steps[:2])
    second = nn.Parameter(first.detach().clone())
    resumed = MuonAdamW(Weights(second), lr=RATE)
    resumed.load_state_dict(optimizer.state_dict())
    run(second, resumed, steps[2:])
    assert torch.equal(whole, second)
    restarted = nn.Parameter(first.detach().clone())
    run(restarted, MuonAdamW(Weights(restarted), lr=RATE), steps[2:])
    assert not torch.equal(whole, restarted)


def test_a_zero_gradient_changes_nothing_and_a_closure_is_called_once() -> None:
    weight, other = stack(6), nn.Parameter(torch.ones(3))
    optimizer = MuonAdamW(Weights(weight, others=[other]), lr=RATE, weight_decay=0.0)
    before, calls = weight.detach().clone(), []

    def closure() -> torch.Tensor:
        calls.append(1)
        loss = (0.0 * weight).sum() + (other**2).sum()
        loss.backward()
        return loss.detach()

    assert float(optimizer.step(closure)) == 3.0
    assert len(calls) == 1
    assert torch.equal(weight, before)
    assert (other < 1).all()
