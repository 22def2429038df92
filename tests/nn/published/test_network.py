"""The published network: symmetries, smooth weights, unusual graphs, dtypes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from made_up_graph import CUTOFF, graph, positions, weigh
from small_networks import SMALL_PUBLISHED
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from se3set_ase.nn.graph import Graph, Weights
from se3set_ase.nn.published.network import PublishedConfig, PublishedNetwork

INVARIANCE_FLOAT64 = 1e-9
SAME_FLOAT64 = 1e-12
FLOAT32 = 1e-4
CONTROL = 1e-4  # what must be seen at least where something does change


def network(
    config: PublishedConfig = SMALL_PUBLISHED, dtype: torch.dtype = torch.float64
) -> nn.Module:
    """Random weights, biases, norms and sinks too."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        made = PublishedNetwork(config, 3, CUTOFF).double()
        for parameter in made.parameters():
            parameter.data += 0.5 * torch.randn_like(parameter)
    return made.to(dtype)


def outputs(model: nn.Module, positions: Tensor, graph: Graph) -> Tensor:
    result: Tensor = model(graph.species, graph, weigh(positions, graph))
    return result


def rotations(number: int) -> Tensor:
    generator = torch.Generator().manual_seed(9)
    q, _ = torch.linalg.qr(torch.randn(number, 3, 3, generator=generator, dtype=torch.float64))
    return q * torch.linalg.det(q)[:, None, None]


def largest(difference: Tensor) -> float:
    return float(difference.detach().abs().max())


def test_every_parameter_is_used_where_it_can_be() -> None:
    model = network()
    outputs(model, positions(), graph()).square().sum().backward()
    unused = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # The published network has dead weights, which its count includes: the degree embeddings
    # multiply a constant, which has no l > 0, and the last atoms keep none of theirs.
    dead = ("degree_hyper", "degree_atoms", "blocks.1.")
    assert [name for name in unused if not name.startswith(dead)] == []
    assert [name for name in unused if name.endswith((".0e", "bias", "sink", "direction"))] == []
    assert unused != []


# --- symmetries ------------------------------------------------------------------------------


@pytest.mark.parametrize("determinant", [1.0, -1.0], ids=["rotation", "reflection"])
def test_invariant_under(determinant: float) -> None:
    model, turn = network(), determinant * rotations(1)[0]
    before = outputs(model, positions(), graph())
    after = outputs(model, positions() @ turn.T + 3.0, graph())
    assert largest(after - before) < INVARIANCE_FLOAT64
    strained = outputs(model, positions() * torch.tensor([1.02, 1.0, 1.0]), graph())
    assert largest(strained - before) > CONTROL


def test_output_depends_on_angles() -> None:
    """The control of the invariances: the same distances in every hyperedge, other angles."""
    model, made = network(), graph()
    weights = weigh(positions(), made)
    turn = rotations(len(weights.vector))
    turned = weights._replace(vector=torch.einsum("eij,ej->ei", turn, weights.vector))
    change = model(made.species, made, turned) - model(made.species, made, weights)
    assert largest(change) > CONTROL


def test_invariant_under_permutation_of_edges_and_hyperedges() -> None:
    model, made = network(), graph()
    weights = weigh(positions(), made)
    expected = model(made.species, made, weights)
    generator = torch.Generator().manual_seed(1)
    h = torch.randperm(len(made.hyper_atom), generator=generator)
    e = torch.randperm(len(made.edge_hyper), generator=generator)
    shuffled = made._replace(
        hyper_atom=made.hyper_atom[h],
        edge_hyper=h.argsort()[made.edge_hyper][e],
        edge_atom=made.edge_atom[e],
    )
    moved = weights._replace(
        hyperedge=weights.hyperedge[h],
        edge=weights.edge[e],
        vector=weights.vector[e],
        distance=weights.distance[e],
    )
    assert largest(model(made.species, shuffled, moved) - expected) < INVARIANCE_FLOAT64
    mixed_up = weights._replace(edge=weights.edge[e])
    assert largest(model(made.species, made, mixed_up) - expected) > CONTROL


def test_equivariant_under_permutation_of_atoms() -> None:
    model, made = network(), graph()
    weights = weigh(positions(), made)
    expected = model(made.species, made, weights)
    order = torch.tensor([3, 5, 0, 1, 4, 2])  # new atom a is old atom order[a]
    new = order.argsort()
    permuted = made._replace(
        species=made.species[order],
        hyper_atom=new[made.hyper_atom],
        edge_atom=new[made.edge_atom],
    )
    after = model(permuted.species, permuted, weights)
    assert largest(after - expected[order]) < INVARIANCE_FLOAT64
    assert largest(after - expected) > CONTROL


# --- weights ---------------------------------------------------------------------------------


def zero_edge(weight: float) -> tuple[Graph, Weights]:
    """A seventh member of hyperedge 4, of the given weight."""
    made = graph()
    weights = weigh(positions(), made)
    made = made._replace(
        edge_hyper=torch.cat([made.edge_hyper, torch.tensor([4])]),
        edge_atom=torch.cat([made.edge_atom, torch.tensor([3])]),
    )
    one = torch.ones(1, dtype=torch.float64)
    return made, weights._replace(
        edge=torch.cat([weights.edge, weight * one]),
        vector=torch.cat([weights.vector, torch.tensor([[0.5, 0.7, 1.0]]).double()]),
        distance=torch.cat([weights.distance, 1.3 * one]),
    )


def zero_hyperedge(weight: float) -> tuple[Graph, Weights]:
    """Another hyperedge of atom 2, of the given weight, with two members of full weight."""
    made, weights = zero_edge(1.0)
    made = made._replace(
        hyper_atom=torch.cat([made.hyper_atom, torch.tensor([2])]),
        edge_hyper=torch.cat([made.edge_hyper[:-1], torch.tensor([12])]),
    )
    one = torch.ones(1, dtype=torch.float64)
    return made, weights._replace(hyperedge=torch.cat([weights.hyperedge, weight * one]))


@pytest.mark.parametrize("extra", [zero_edge, zero_hyperedge])
def test_weight_zero_changes_nothing(extra: Callable[[float], tuple[Graph, Weights]]) -> None:
    model = network()
    expected = outputs(model, positions(), graph())
    made, weights = extra(0.0)
    # Matrix products of other sizes round differently, so zero is zero up to rounding.
    assert largest(model(made.species, made, weights) - expected) < SAME_FLOAT64
    made, weights = extra(0.5)
    assert largest(model(made.species, made, weights) - expected) > CONTROL


@pytest.mark.parametrize("extra", [zero_edge, zero_hyperedge])
def test_weight_zero_is_reached_without_a_step(
    extra: Callable[[float], tuple[Graph, Weights]],
) -> None:
    """The change is linear in a small weight, however the norms magnify what is small."""
    model = network()

    def change(weight: float) -> Tensor:
        (made, weights), (_, none) = extra(weight), extra(0.0)
        result: Tensor = model(made.species, made, weights) - model(made.species, made, none)
        return result

    small, smaller = change(1e-6), change(1e-7)
    assert largest(small) > 0.0
    torch.testing.assert_close(smaller * 10.0, small, rtol=1e-3, atol=1e-11)


def test_gradient_is_that_of_finite_differences() -> None:
    model, made = network(), graph()
    at = positions().requires_grad_()
    (gradient,) = torch.autograd.grad(outputs(model, at, made).sum(), at)
    h = 1e-4
    with torch.no_grad():
        for atom in (0, 3, 5):
            for axis in range(3):
                shift = torch.zeros_like(at)
                shift[atom, axis] = h
                up, down = (outputs(model, at + s * shift, made).sum() for s in (1, -1))
                up2, down2 = (outputs(model, at + s * shift, made).sum() for s in (2, -2))
                numerical = (8.0 * (up - down) - (up2 - down2)) / (12.0 * h)
                assert abs(float(numerical - gradient[atom, axis])) < 1e-7
    assert largest(gradient) > 1e-2


def test_second_derivative_is_that_of_finite_differences() -> None:
    """What training on forces needs: the gradient of the squared forces in a weight."""
    model, made = network(), graph()
    weight = model.blocks[0].to_hyper.attention.direction

    def squared_forces() -> Tensor:
        at = positions().requires_grad_()
        (gradient,) = torch.autograd.grad(outputs(model, at, made).sum(), at, create_graph=True)
        return gradient.square().sum()

    (gradient,) = torch.autograd.grad(squared_forces(), weight)
    h = 1e-4
    values = []
    for sign in (1.0, -1.0):
        weight.data[0, 0] += sign * h
        values.append(float(squared_forces().detach()))
        weight.data[0, 0] -= sign * h
    numerical = (values[0] - values[1]) / (2.0 * h)
    assert abs(numerical - float(gradient[0, 0])) < 1e-6 * max(1.0, abs(numerical))
    assert abs(numerical) > 1e-6


# --- unusual graphs --------------------------------------------------------------------------


def without_edges(made: Graph, *, hyperedges: bool) -> Graph:
    none = torch.empty(0, dtype=torch.int64)
    shift = torch.empty(0, 3, dtype=torch.float64)
    made = made._replace(edge_hyper=none, edge_atom=none, edge_shift=shift)
    return made if hyperedges else made._replace(hyper_atom=none, hyper_fragment=none)


@pytest.mark.parametrize("hyperedges", [True, False])
def test_no_edges(hyperedges: bool) -> None:
    model = network()
    at = positions().requires_grad_()
    result = outputs(model, at, without_edges(graph(), hyperedges=hyperedges))
    assert torch.isfinite(result).all()
    assert largest(result) > CONTROL
    (gradient,) = torch.autograd.grad(result.sum(), at, materialize_grads=True)
    assert torch.isfinite(gradient).all()


def test_atoms_beyond_the_graph_are_isolated_atoms() -> None:
    model, made = network(), graph()
    weights = weigh(positions(), made)
    more = model(torch.cat([made.species, torch.arange(3)]), made, weights)
    alone = without_edges(made, hyperedges=False)
    lone = model(torch.arange(3), alone, weigh(positions(), alone))
    torch.testing.assert_close(more[:6], outputs(model, positions(), made), rtol=0, atol=1e-12)
    torch.testing.assert_close(more[6:], lone, rtol=0, atol=1e-12)
    assert largest(lone[0] - lone[1]) > CONTROL


# --- dtypes, backends, tracing ---------------------------------------------------------------


def test_float32_agrees_with_float64_and_exact_constants_survive_it() -> None:
    made, single = graph(), graph(torch.float32)
    model = network()
    expected = outputs(model, positions(), made)
    model.float()
    got = outputs(model, positions().float(), single)
    assert got.dtype == torch.float32
    assert 0.0 < largest(got.double() - expected) < FLOAT32 * largest(expected)
    model.double()  # its weights are rounded now; its couplings are not
    turn = rotations(1)[0]
    after = outputs(model, positions() @ turn.T, made)
    assert largest(after - outputs(model, positions(), made)) < INVARIANCE_FLOAT64


@pytest.fixture
def default_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_the_default_dtype_does_not_matter(default_float64: None) -> None:
    model = network(dtype=torch.float32)
    assert outputs(model, positions().float(), graph(torch.float32)).dtype == torch.float32


def test_torch_scatter_gives_the_same() -> None:
    pytest.importorskip("torch_scatter", reason="torch-scatter is not installed (an extra)")
    native = network()
    other = PublishedNetwork(SMALL_PUBLISHED, 3, CUTOFF, backend="torch_scatter").double()
    other.load_state_dict(native.state_dict())
    gradients = []
    for model in (native, other):
        at = positions().requires_grad_()
        gradients.append(torch.autograd.grad(outputs(model, at, graph()).sum(), at)[0])
    torch.testing.assert_close(gradients[1], gradients[0], rtol=0, atol=SAME_FLOAT64)
    assert largest(gradients[0]) > CONTROL


def test_forces_traced_once_serve_other_positions() -> None:
    model, made = network(replace(SMALL_PUBLISHED, blocks=1)), graph()

    def forces(at: Tensor) -> Tensor:
        at = at.detach().requires_grad_()
        return -torch.autograd.grad(outputs(model, at, made).sum(), at)[0]

    traced = make_fx(forces)(positions())
    moved = positions() * torch.tensor([1.05, 0.97, 1.0])
    torch.testing.assert_close(traced(moved), forces(moved), rtol=0, atol=SAME_FLOAT64)
    assert largest(forces(moved) - forces(positions())) > CONTROL


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_forces_on_a_gpu_are_those_on_the_cpu(dtype: torch.dtype) -> None:
    forces = []
    for device in ("cpu", "cuda"):
        model = network(dtype=dtype).to(device)
        made = Graph(*(field.to(device) for field in graph(dtype)))
        at = positions().to(device, dtype).requires_grad_()
        forces.append(-torch.autograd.grad(outputs(model, at, made).sum(), at)[0].cpu())
    tolerance = FLOAT32 if dtype == torch.float32 else INVARIANCE_FLOAT64
    assert largest(forces[1] - forces[0]) < tolerance * largest(forces[0])
    assert largest(forces[0]) > CONTROL
