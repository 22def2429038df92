"""Hand-written gradients against finite differences, and against autograd in whole networks."""

from __future__ import annotations

import pytest
import torch
from made_up_graph import CUTOFF, graph, positions, weigh
from torch import Tensor

from se3set_ase.nn.light import kernels
from se3set_ase.nn.light.cartesian import (
    PRODUCT_PATHS,
    Direction,
    Features,
    square,
)
from se3set_ase.nn.light.config import LightConfig
from se3set_ase.nn.light.gather_kernel import Gather
from se3set_ase.nn.light.incidence import Incidence
from se3set_ase.nn.light.kernels import Deliver, Square, square_by_hand
from se3set_ase.nn.light.network import LightNetwork
from se3set_ase.nn.scatter import Backend

SAME = 1e-11
SINGLE = 1e-5
CONTROL = 1e-3
SMALL = LightConfig(
    channels=4, heads=2, blocks=2, radial_functions=4, radial_hidden=4, readout_hidden=4
)


def network(
    config: LightConfig = SMALL, dtype: torch.dtype = torch.float64, backend: Backend = "native"
) -> LightNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        made = LightNetwork(config, 3, CUTOFF, backend=backend).double()
        for parameter in made.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
    return made.to(dtype).requires_grad_(False)


@pytest.fixture(autouse=True, params=[2, 256])
def at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small chunks, so that there are several and a shorter last one."""
    monkeypatch.setattr(kernels, "AT_ONCE_IN_CACHE", request.param)


def derivatives(made: LightNetwork, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Outputs, the first derivative with nothing kept for a second, and first and second."""
    g = graph(dtype)
    points = positions().to(dtype).requires_grad_(True)
    output = made(g.species, g, weigh(points, g))
    (alone,) = torch.autograd.grad(output.square().sum(), points, retain_graph=True)
    (first,) = torch.autograd.grad(output.square().sum(), points, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), points)
    return [output.detach(), alone, first.detach(), second]


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_a_network_by_hand_is_the_plain_one(blocks: int) -> None:
    config = LightConfig(**{**vars(SMALL), "blocks": blocks})
    plain = derivatives(network(config))
    by_hand = derivatives(network(config, backend="by_hand"))
    for ours, theirs in zip(by_hand, plain, strict=True):
        assert float((ours - theirs).abs().max()) < SAME * max(1.0, float(theirs.abs().max()))
        assert float(theirs.abs().max()) > CONTROL


def test_single_precision() -> None:
    plain = derivatives(network(dtype=torch.float32), torch.float32)[:3]
    made = network(dtype=torch.float32, backend="by_hand")
    for ours, theirs in zip(derivatives(made, torch.float32)[:3], plain, strict=True):
        assert ours.dtype == torch.float32
        assert float((ours - theirs).abs().max()) < SINGLE * float(theirs.abs().max())


def incidence() -> Incidence:
    g = graph()
    weights = weigh(positions(), g)
    return Incidence(
        species=g.species,
        hyper_atom=g.hyper_atom,
        edge_hyper=g.edge_hyper,
        owner=g.hyper_atom[g.edge_hyper],
        edge_atom=g.edge_atom,
        hyperedge=weights.hyperedge,
        edge=weights.edge,
        direction=Direction.of(weights.vector / weights.distance[:, None]),
        basis=torch.randn(len(g.edge_atom), 4, dtype=torch.float64),
    )


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("first", [True, False])
def test_gather_against_finite_differences(first: bool) -> None:
    """Of all inputs, to second order."""
    gather = network().blocks[0 if first else 1].gather
    seen = incidence()
    n, e, c = len(seen.species), len(seen.owner), SMALL.channels
    torch.manual_seed(0)
    inputs = [random(n, c), random(n, c), random(e, 4), random(e), random(e, 3), random(e, 5, 3)]
    inputs += [random(n, c)] if first else [random(n, c), random(n, 3, c), random(n, 5, c)]

    def sums(*inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(Gather.apply(gather, seen, *inputs))

    assert torch.autograd.gradcheck(sums, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(sums, inputs, fast_mode=True)
    wrong = [inputs[0].detach().requires_grad_(True), *(x.detach() for x in inputs[1:])]
    with pytest.raises(RuntimeError, match="Jacobian"):  # a gradient that is forgotten
        torch.autograd.gradcheck(lambda x, *rest: sums(x, *rest)[0] + x.detach().sum(), wrong)


def test_deliver_against_finite_differences() -> None:
    seen = incidence()
    n, h, c = len(seen.species), len(seen.hyper_atom), SMALL.channels
    torch.manual_seed(0)
    shapes = [(h, c), (h,), *2 * [(h, c), (h, 3, c), (h, 5, c)]]
    inputs = [random(*shape) for shape in shapes]

    def sums(*inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(Deliver.apply(network().blocks[0].scatter, seen, n, *inputs))

    assert torch.autograd.gradcheck(sums, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(sums, inputs, fast_mode=True)


@pytest.mark.parametrize("weights", [1, 5])
def test_square_against_finite_differences(weights: int) -> None:
    torch.manual_seed(0)
    w = torch.randn(weights, PRODUCT_PATHS, 4, dtype=torch.float64)
    inputs = [random(5, 4), random(5, 3, 4), random(5, 5, 4)]

    def squares(s: Tensor, v: Tensor, t: Tensor) -> tuple[Tensor, ...]:
        return tuple(Square.apply(s, v, t, w))

    assert torch.autograd.gradcheck(squares, inputs)
    assert torch.autograd.gradgradcheck(squares, inputs)


def test_trainable_weights_use_the_plain_formula() -> None:
    f = Features(random(5, 4), random(5, 3, 4), random(5, 5, 4))
    w = random(1, PRODUCT_PATHS, 4)
    for ours, theirs in zip(square_by_hand(f, w), square(f, w), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    (gradient,) = torch.autograd.grad(square_by_hand(f, w).tensor.square().sum(), w)
    assert float(gradient.abs().max()) > CONTROL
