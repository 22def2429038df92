"""The training step: its loss and gradients against formulas, differences and the compiler."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.io import write
from made_up_data import HYDROGEN, PEROXIDE, TINY, WATER, frames
from torch import Tensor, nn

from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.nn.graph import Graph, weigh
from se3set_ase.nn.light.config import LightConfig
from se3set_ase.nn.longrange.config import LongRangeConfig
from se3set_ase.nn.model import SE3Set, energy_and_forces
from se3set_ase.nn.scatter import scatter_sum
from se3set_ase.train.batches import Batch, Batches
from se3set_ase.train.data import Frame, read_frames
from se3set_ase.train.step import Loss, LossWeights, compile_step, length, make_step

CONFIG = HypergraphConfig()
LOSSES: tuple[Loss, ...] = ("mse", "l2mae")
FORCES_WEIGHT, ENERGY_WEIGHT = 3.0, 0.7
EXACT_TOLERANCE = 1e-12
DIFFERENCE_STEP, DIFFERENCE_TOLERANCE = 1e-5, 1e-7  # relative to the longest gradient
COMPILED_TOLERANCE = 1e-9  # relative, float64


def model(blocks: int = 2, long_range: LongRangeConfig | None = None) -> SE3Set:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return SE3Set(
            elements=(1, 8),
            hypergraph=CONFIG,
            network=LightConfig(**{**TINY, "blocks": blocks}),
            atomic_energies=(-1.0, -2.0),
            shifts=(0.1, 0.2),
            scale=1.3,
            long_range=long_range,
        ).double()


@pytest.fixture
def made(tmp_path: Path) -> list[Frame]:
    """Molecules of two, three and four atoms: batches are padded."""
    write(tmp_path / "a.xyz", frames(6, [WATER, HYDROGEN, PEROXIDE]), format="extxyz")
    return read_frames(tmp_path / "a.xyz", CONFIG)


def batches(made: list[Frame], size: int, world: int = 1, pairs: bool = False) -> Batches:
    return Batches(
        made,
        {1: 0, 8: 1},
        CONFIG,
        batch_size=size,
        dtype=torch.float64,
        device="cpu",
        world=world,
        epochs=2,
        pairs=pairs,
    )


def weight(excess: float = 0.0) -> LossWeights:
    return LossWeights(*(torch.tensor(w, dtype=torch.float64) for w in (ENERGY_WEIGHT, excess)))


def first(made: list[Frame], size: int = 4) -> Batch:
    return next(batches(made, size).epoch(0))


@pytest.mark.parametrize("kind", LOSSES)
def test_loss_is_its_formula_over_single_frames(made: list[Frame], kind: Loss) -> None:
    network = model()
    step = make_step(network, FORCES_WEIGHT, kind)
    result = step(list(network.parameters()), first(made), weight())
    by_energy = {f.energy: f for f in made}
    chosen = [by_energy[e] for e in first(made).energy.tolist()]
    energy_terms, energy_squared, force_terms, force_squared, n_atoms = [], [], [], [], 0
    for batch in batches(chosen, 1).every_frame():
        energy, forces, _ = energy_and_forces(network, batch.positions, batch.graph)
        error = float((energy - batch.energy).detach())
        n = int(batch.graph.n_atoms)
        difference = (forces - batch.forces).detach().numpy()[:n]
        n_atoms += n
        energy_squared.append(error**2)
        force_squared.append((difference**2).sum())
        energy_terms.append(error**2 / n if kind == "mse" else abs(error))
        lengths = np.linalg.norm(difference, axis=1)
        force_terms.append((lengths**2).sum() / 3 if kind == "mse" else lengths.sum())
    expected = ENERGY_WEIGHT * np.mean(energy_terms) + FORCES_WEIGHT * np.sum(force_terms) / n_atoms
    assert float(result.loss) == pytest.approx(expected, rel=EXACT_TOLERANCE)
    assert float(result.energy_squared) == pytest.approx(
        np.mean(energy_squared), rel=EXACT_TOLERANCE
    )
    assert float(result.forces_squared) == pytest.approx(
        np.sum(force_squared) / (3 * n_atoms), rel=EXACT_TOLERANCE
    )
    assert expected > 0.1


CHARGED = LongRangeConfig(charges=True, dispersion=True, hidden=6, flows=4)


@pytest.fixture
def polar(made: list[Frame]) -> list[Frame]:
    """Every second frame has a dipole, every third a charge of 2."""
    rng = np.random.default_rng(4)
    return [
        replace(f, dipole=rng.normal(size=3) if k % 2 else None, charge=0 if k % 3 else 2)
        for k, f in enumerate(made)
    ]


def test_dipoles_add_their_mean_square(polar: list[Frame]) -> None:
    network = model(long_range=CHARGED)
    batch = next(batches(polar, 4, pairs=True).epoch(0))
    losses = [
        float(
            make_step(network, 1.0, dipole_weight=w)(
                tuple(network.parameters()), batch, weight()
            ).loss
        )
        for w in (0.0, 2.5)
    ]
    by_energy = {f.energy: f for f in polar}
    squares = []
    for frame in (by_energy[e] for e in batch.energy.tolist()):
        if frame.dipole is None:
            continue
        alone = next(batches([frame], 1, pairs=True).every_frame())
        charge = network(alone.positions, alone.graph, with_charges=True).charge.detach().numpy()
        assert charge.sum() == pytest.approx(frame.charge, abs=1e-12)
        squares.append((charge @ frame.positions - frame.dipole) ** 2)
    expected = 2.5 * np.mean(squares)
    assert losses[1] - losses[0] == pytest.approx(expected, rel=1e-9)
    assert expected > 0.1


# torch warns about itself, as below.
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is:DeprecationWarning")
@pytest.mark.slow
def test_the_compiled_step_with_charges_has_the_same_gradients(
    polar: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "disabled", True)
    network = model(blocks=1, long_range=CHARGED)
    parameters = list(network.parameters())
    batch = next(batches(polar, 4, pairs=True).epoch(0))
    step = make_step(network, FORCES_WEIGHT, dipole_weight=1.5)
    plain = step(parameters, batch, weight())
    compiled = compile_step(step, parameters, batch, weight())(parameters, batch, weight())
    assert float(compiled.loss) == pytest.approx(float(plain.loss), rel=COMPILED_TOLERANCE)
    largest = max(float(g.abs().max()) for g in plain.gradients)
    for one, other in zip(compiled.gradients, plain.gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=COMPILED_TOLERANCE * largest)
    names = [name for name, _ in network.named_parameters()]
    learnt = [n for n, g in zip(names, plain.gradients, strict=True) if float(g.abs().max()) > 0]
    assert {"long_range.charges.radial.weight", "long_range.charges.readout.weight"} <= {*learnt}


@pytest.mark.parametrize("kind", LOSSES)
def test_excess_penalises_messages_beyond_the_saturation(made: list[Frame], kind: Loss) -> None:
    """Its part of the gradients, against differences of its formula with float numbers."""
    network = model()
    saturation, heaviest = network.network.config.saturation, 0.4
    batch = next(batches(made, 1).every_frame())  # nothing padded
    parameters = list(network.parameters())
    without = make_step(network, FORCES_WEIGHT, kind)(parameters, batch, weight())
    step = make_step(network, FORCES_WEIGHT, kind, hold_back=True)
    found = step(parameters, batch, weight(heaviest))
    assert float(found.loss) == float(without.loss)

    def beyond() -> float:
        sizes: list[np.ndarray] = []
        hooks = [
            layer.register_forward_hook(
                lambda _, __, f: sizes.append(
                    sum(
                        (x.detach().numpy().reshape(len(x), -1, x.shape[-1]) ** 2).sum(1) for x in f
                    )
                )
            )
            for block in network.network.blocks
            for layer in (block.scatter.mix, block.mix)
        ]
        network(batch.positions, batch.graph)
        for hook in hooks:
            hook.remove()
        n_atoms, n_channels = float(batch.graph.n_atoms), sizes[0].shape[1]
        each = [np.log(1 + s / saturation**2).sum() / n_channels / n_atoms for s in sizes]
        return float(np.mean(each))

    mixing = dict(network.named_parameters())["network.blocks.1.mix.weight"]
    index = [name for name, _ in network.named_parameters()].index("network.blocks.1.mix.weight")
    pull = found.gradients[index] - without.gradients[index]
    # Along the pull, so that the slope isn't small by chance, and across it, to see all of it.
    across = torch.randn(
        mixing.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    direction = pull / pull.norm() + across / across.norm()
    slope = float((pull * direction).sum())
    with torch.no_grad():
        mixing += DIFFERENCE_STEP * direction
        more = beyond()
        mixing -= 2 * DIFFERENCE_STEP * direction
        less = beyond()
    numeric = heaviest * (more - less) / (2 * DIFFERENCE_STEP)
    assert numeric == pytest.approx(slope, rel=1e-5)
    assert slope > 1e-4, slope


@pytest.mark.parametrize("kind", LOSSES)
def test_gradients_are_differences_of_the_loss(made: list[Frame], kind: Loss) -> None:
    network = model()
    step = make_step(network, FORCES_WEIGHT, kind)
    batch = first(made)
    parameters = [p.detach().clone() for p in network.parameters()]

    def loss(shift: float, direction: list[Tensor]) -> float:
        moved = [
            (p + shift * d).requires_grad_(True) for p, d in zip(parameters, direction, strict=True)
        ]
        return float(step(moved, batch, weight()).loss)

    analytic = step([p.requires_grad_(True) for p in parameters], batch, weight()).gradients
    parameters = [p.detach() for p in parameters]
    longest = float(torch.cat([g.flatten() for g in analytic]).norm())
    generator = torch.Generator().manual_seed(0)
    # Along a random direction of all weights, and of every third tensor of weights alone.
    for alone in [None, *range(0, len(parameters), 3)]:
        direction = [
            torch.randn(p.shape, generator=generator, dtype=p.dtype)
            * (1.0 if alone in (None, index) else 0.0)
            for index, p in enumerate(parameters)
        ]
        norm = torch.cat([d.flatten() for d in direction]).norm()
        direction = [d / norm for d in direction]
        slope = sum(float((g * d).sum()) for g, d in zip(analytic, direction, strict=True))
        numeric = (loss(DIFFERENCE_STEP, direction) - loss(-DIFFERENCE_STEP, direction)) / (
            2 * DIFFERENCE_STEP
        )
        assert numeric == pytest.approx(slope, abs=DIFFERENCE_TOLERANCE * longest)
    assert longest > 0.1


def test_every_weight_has_a_gradient(made: list[Frame]) -> None:
    network = model()
    result = make_step(network, 1.0)(list(network.parameters()), first(made), weight())
    dead = {
        name
        for (name, _), gradient in zip(network.named_parameters(), result.gradients, strict=True)
        if not gradient.abs().max() > 0
    }
    assert dead == set()


@pytest.mark.parametrize("kind", LOSSES)
def test_mean_over_processes_is_the_step_of_the_whole_batch(made: list[Frame], kind: Loss) -> None:
    network = model()
    step = make_step(network, FORCES_WEIGHT, kind)
    parameters = list(network.parameters())
    whole = step(parameters, first(made), weight())
    shares = [
        step(parameters, next(batches(made, 4, world=2).epoch(0, rank)), weight())
        for rank in range(2)
    ]
    assert float(shares[0].loss) != pytest.approx(float(shares[1].loss), rel=1e-3)
    for all_of_it, *parts in zip(
        [whole.loss, whole.energy_squared, whole.forces_squared, *whole.gradients],
        *[[s.loss, s.energy_squared, s.forces_squared, *s.gradients] for s in shares],
        strict=True,
    ):
        torch.testing.assert_close(
            sum(parts) / 2, all_of_it, rtol=1e-10, atol=1e-12 * float(whole.loss)
        )


def test_nothing_is_changed_in_place(made: list[Frame]) -> None:
    network = model()
    before = [p.detach().clone() for p in network.parameters()]
    batch = first(made)
    positions = batch.positions.clone()
    make_step(network, 1.0)(list(network.parameters()), batch, weight())
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    assert all(p.grad is None for p in network.parameters())
    assert torch.equal(positions, batch.positions)
    assert not batch.positions.requires_grad


def test_length_of_zero_has_gradient_zero() -> None:
    vectors = torch.tensor([[0.0, 0.0, 0.0], [3.0, 0.0, 4.0]], requires_grad=True)
    lengths = length(vectors)
    assert lengths.tolist() == [0.0, 5.0]
    (gradient,) = torch.autograd.grad(lengths.sum(), vectors)
    torch.testing.assert_close(gradient, torch.tensor([[0.0, 0.0, 0.0], [0.6, 0.0, 0.8]]))


class Pairs(nn.Module):
    """A model that compiles in seconds: a sum over edges, whose weights its second derivative
    reaches as it does those of the network."""

    def __init__(self) -> None:
        super().__init__()
        self.decay = nn.Parameter(torch.tensor([[1.0, 0.5], [0.7, 1.2]], dtype=torch.float64))
        self.hypergraph = CONFIG

    def forward(self, positions: Tensor, graph: Graph) -> Tensor:
        weights = weigh(positions, graph, self.hypergraph)
        owner = graph.hyper_atom[graph.edge_hyper]
        decay = self.decay[graph.species[owner], graph.species[graph.edge_atom]]
        edge = weights.edge * torch.tanh(decay * weights.distance)
        edge = edge * weights.hyperedge[graph.edge_hyper]
        return scatter_sum(edge, owner, len(graph.species)) * graph.atom_weight


# torch warns about itself: its compiler imports modules that use what it has deprecated.
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is:DeprecationWarning")
@pytest.mark.parametrize(
    "made_model",
    [Pairs, pytest.param(partial(model, 1), marks=pytest.mark.slow, id="network")],
)
def test_compiled_step_is_the_eager_step_on_other_batches_and_weights(
    made: list[Frame], made_model: Callable[[], SE3Set], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Or pytest's capture of logs has the compiler trace itself at length.
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "disabled", True)
    potential = made_model()
    step = make_step(potential, FORCES_WEIGHT, "l2mae", hold_back=isinstance(potential, SE3Set))
    parameters = list(potential.parameters())
    several = batches(made, 2)
    compiled = compile_step(step, parameters, next(several.epoch(0)), weight())
    others = [(p * 1.1 + 0.01).detach().requires_grad_(True) for p in parameters]
    for weights in (parameters, others):
        for batch in several.epoch(1):
            other = LossWeights(2 * weight().energy, weight().excess + 0.3)
            expected, got = (call(weights, batch, other) for call in (step, compiled))
            scale = float(torch.cat([g.flatten() for g in expected.gradients]).norm())
            torch.testing.assert_close(got[:3], expected[:3], rtol=COMPILED_TOLERANCE, atol=0)
            torch.testing.assert_close(
                got.gradients, expected.gradients, rtol=0, atol=COMPILED_TOLERANCE * scale
            )
            assert scale > 0.1
