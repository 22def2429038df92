"""The default network: symmetries, and no effect of items of weight zero."""

from __future__ import annotations

import pytest
import torch
from made_up_graph import CUTOFF, graph, positions, weigh
from torch import Tensor, nn

from se3set_ase.nn.graph import Graph, Weights
from se3set_ase.nn.light.config import LightConfig
from se3set_ase.nn.light.network import LightNetwork

INVARIANCE = 1e-11
NOTHING = 1e-14
CONTROL = 1e-4
SMALL = LightConfig(
    channels=8, heads=2, blocks=2, radial_functions=4, radial_hidden=8, readout_hidden=8
)


def network(dtype: torch.dtype = torch.float64) -> nn.Module:
    """Random weights and biases."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        made = LightNetwork(SMALL, 3, CUTOFF).double()
        for parameter in made.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
    return made.to(dtype)


def outputs(points: Tensor, g: Graph, weights: Weights | None = None) -> Tensor:
    result: Tensor = network()(g.species, g, weights or weigh(points, g))
    return result


def largest(difference: Tensor) -> float:
    return float(difference.detach().abs().max())


@pytest.mark.parametrize("determinant", [1.0, -1.0])
def test_invariant_under_rotations_reflections_translations(determinant: float) -> None:
    generator = torch.Generator().manual_seed(9)
    q, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    q = determinant * q * torch.linalg.det(q)
    expected = outputs(positions(), graph())
    moved = positions() @ q.T + torch.tensor([3.0, -2.0, 7.0])
    assert largest(outputs(moved, graph()) - expected) < INVARIANCE
    stretched = positions() * torch.tensor([1.0, 1.0, 1.05], dtype=torch.float64)
    assert largest(outputs(stretched, graph()) - expected) > CONTROL


def test_output_depends_on_angles_at_the_same_distances() -> None:
    """A member turned about its owner: to that owner, in one block, only the direction matters."""
    config = LightConfig(**{**vars(SMALL), "blocks": 1})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        made = LightNetwork(config, 3, CUTOFF).double()
    g = graph()
    weights = weigh(positions(), g)
    edge = int((g.hyper_atom[g.edge_hyper] == 0).nonzero()[0])
    vector = weights.vector.clone()
    vector[edge] = vector[edge].roll(1)
    before = made(g.species, g, weights)
    after = made(g.species, g, weights._replace(vector=vector))
    assert largest(before[0] - after[0]) > 1e-6
    assert largest(before[1:] - after[1:]) == 0.0


def test_permuted_members_and_hyperedges_change_nothing() -> None:
    """Fragments, hyperedges and edges listed in another order."""
    g = graph()
    weights = weigh(positions(), g)
    generator = torch.Generator().manual_seed(1)
    edge = torch.randperm(len(g.edge_atom), generator=generator)
    hyper = torch.randperm(len(g.hyper_atom), generator=generator)
    place = torch.argsort(hyper)
    other = g._replace(
        hyper_atom=g.hyper_atom[hyper],
        hyper_fragment=g.hyper_fragment[hyper],
        hyper_member=g.hyper_member[hyper],
        edge_hyper=place[g.edge_hyper[edge]],
        edge_atom=g.edge_atom[edge],
    )
    listed = weights._replace(
        hyperedge=weights.hyperedge[hyper],
        edge=weights.edge[edge],
        vector=weights.vector[edge],
        distance=weights.distance[edge],
    )
    expected = outputs(positions(), g)
    assert largest(outputs(positions(), other, listed) - expected) < INVARIANCE
    # Control: the weights of the hyperedges in the old order belong to others.
    wrong = listed._replace(hyperedge=weights.hyperedge)
    assert largest(outputs(positions(), other, wrong) - expected) > CONTROL


def with_items(weights: Weights, g: Graph, edge: float, hyperedge: float) -> tuple[Graph, Weights]:
    """Add a hyperedge of atom 5 with two edges, and an edge of hyperedge 0."""
    more = torch.tensor([0, 1])
    grown = g._replace(
        hyper_atom=torch.cat([g.hyper_atom, torch.tensor([5])]),
        hyper_fragment=torch.cat([g.hyper_fragment, torch.tensor([0])]),
        hyper_member=torch.cat([g.hyper_member, torch.zeros(1, dtype=torch.float64)]),
        edge_hyper=torch.cat([torch.tensor([0]), g.edge_hyper, torch.tensor([12, 12])]),
        edge_atom=torch.cat([torch.tensor([4]), g.edge_atom, more]),
    )

    def around(values: Tensor, first: float, last: float) -> Tensor:
        shape = values.shape[1:]
        return torch.cat(
            [values.new_full((1, *shape), first), values, values.new_full((2, *shape), last)]
        )

    return grown, weights._replace(
        hyperedge=torch.cat([weights.hyperedge, weights.hyperedge.new_full((1,), hyperedge)]),
        edge=around(weights.edge, edge, 0.7),
        vector=around(weights.vector, 2.0, 1.0),
        distance=around(weights.distance, 12**0.5, 3**0.5),
    )


def test_weight_zero_contributes_exactly_nothing() -> None:
    g = graph()
    weights = weigh(positions(), g)
    expected = outputs(positions(), g)
    grown = outputs(positions(), *with_items(weights, g, edge=0.0, hyperedge=0.0))
    assert largest(grown - expected) < NOTHING  # sums over more rows round differently
    for edge, hyperedge in ((0.1, 0.0), (0.0, 0.1)):
        control = outputs(positions(), *with_items(weights, g, edge=edge, hyperedge=hyperedge))
        assert largest(control - expected) > CONTROL


def test_an_atom_without_hyperedges_is_isolated() -> None:
    """Rows beyond the graph's atoms depend on their own element only."""
    g = graph()
    weights = weigh(positions(), g)
    species = torch.cat([g.species, torch.tensor([0, 1, 2])])
    out = network()(species, g, weights)
    assert largest(out[:6] - outputs(positions(), g)) < INVARIANCE
    moved = network()(species, g, weigh(1.1 * positions(), g))
    assert largest(out[6:] - moved[6:]) < INVARIANCE
    assert largest(out[:6] - moved[:6]) > CONTROL


def test_every_parameter_is_used_where_it_can_be() -> None:
    made = network()
    g = graph()
    made(g.species, g, weigh(positions(), g)).square().sum().backward()
    unused = {
        name
        for name, p in made.named_parameters()
        if p.grad is None or not bool((p.grad != 0).any())
    }
    assert unused == set()


def test_float32_is_float64_to_single_precision() -> None:
    g = graph(torch.float32)
    single = network(torch.float32)(g.species, g, weigh(positions().float(), g))
    assert single.dtype == torch.float32
    assert largest(single - outputs(positions(), graph())) < 1e-3


def test_heads_must_divide_channels() -> None:
    with pytest.raises(ValueError, match="channels to be a multiple of heads, got 6, 4"):
        LightConfig(channels=6, heads=4)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"heads": 0}, "expected heads above 0, got 0"),
        ({"channels": "64"}, "expected channels to be a whole number, got '64'"),
        ({"blocks": 2.5}, "expected blocks to be a whole number, got 2.5"),
        ({"blocks": True}, "expected blocks to be a whole number, got True"),
        ({"saturation": 0}, "expected saturation above 0, got 0"),
        ({"saturation": float("nan")}, "expected saturation above 0, got nan"),
        ({"mean_members": -1.0}, "expected mean_members above 0, got -1.0"),
        ({"channels": 6, "heads": 4}, "multiple of heads"),
    ],
)
def test_invalid_settings(setting: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LightConfig(**setting)  # type: ignore[arg-type]
