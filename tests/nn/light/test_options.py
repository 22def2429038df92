"""Optional parts of a block: against e3nn and autograd, symmetries, smoothness, nothing if off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import molecule
from cartesian_features import (
    PRODUCT_L,
    C,
    N,
    by_e3nn,
    features,
    only,
    outside,
    spherical,
    turn,
    turned,
)
from made_up_graph import CUTOFF, graph, positions, weigh
from paths import PATHS
from scans import Surface, roughness
from test_contract import (
    GRADIENT,
    JUMP_ENERGY,
    LIGHT,
    MOST_ENERGY,
    MOST_FORCES,
    STEP,
    hard,
    random_model,
)
from untrained import METADATA

from se3set_ase import Potential, SE3SetCalculator
from se3set_ase.checkpoint.store import load_checkpoint, save_checkpoint
from se3set_ase.nn.light.cartesian import PRODUCT_PATHS, Features, product, square
from se3set_ase.nn.light.config import LightConfig
from se3set_ase.nn.light.network import LightNetwork
from se3set_ase.nn.light.options import Fusion, InvariantGradient, Relaxed, block_options
from se3set_ase.nn.model import SE3Set

EXACT = 1e-12
EQUIVARIANCE = 1e-10
CONTROL = 1e-4
EQUIVARIANT = ["fusion", "invariant_gradient"]


def same(one: Features, other: Features, tolerance: float) -> None:
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


@pytest.mark.parametrize("path", range(PRODUCT_PATHS))
def test_product_is_that_of_e3nn(path: int) -> None:
    first, second, out = PRODUCT_L[path]
    f, g = features(0), features(7)
    ours = spherical(product(f, g, only(PRODUCT_PATHS, path)))
    theirs = by_e3nn(spherical(f)[first], spherical(g)[second], out)
    assert outside([ours[out]], [theirs]) < EXACT
    assert outside([theirs], [ours[out]]) < EXACT
    for degree in {0, 1, 2} - {out}:
        assert not ours[degree].any()
    assert outside([spherical(square(f, only(PRODUCT_PATHS, path)))[out]], [theirs]) > CONTROL


def test_the_square_is_the_product_with_itself() -> None:
    f, weight = features(), torch.randn(N, PRODUCT_PATHS, C, dtype=torch.float64)
    same(product(f, f, weight), square(f, weight), EXACT)


def made(kind: type[torch.nn.Module]) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return kind(C).double()


def test_new_features_turn_with_the_old_ones() -> None:
    f, rotation = features(), turn()
    fusion, gradient = made(Fusion), made(InvariantGradient)
    g = features(5)
    same(fusion(turned(f, rotation), turned(g, rotation)), turned(fusion(f, g), rotation), 1e-10)
    same(gradient(turned(f, rotation)), turned(gradient(f), rotation), 1e-10)
    assert float(gradient(f).vector.detach().abs().max()) > CONTROL
    relaxed = made(Relaxed)
    assert not any(part.any() for part in relaxed(f))
    with torch.no_grad():
        relaxed.vector.normal_()
    one, other = relaxed(turned(f, rotation)), turned(relaxed(f), rotation)
    assert float((one.vector - other.vector).detach().abs().max()) > CONTROL


def test_the_gradient_of_invariants_is_that_of_autograd() -> None:
    part = made(InvariantGradient)
    f = Features(*(x.requires_grad_(True) for x in features()))
    found = torch.autograd.grad(part.potential(f).sum(), f)
    same(part.gradient(f), Features(*found), EXACT)
    assert float(found[2].abs().max()) > CONTROL


@pytest.mark.parametrize("name", ["fusion", "invariant_gradient", "relaxed"])
def test_off_it_is_not_there_and_on_it_changes_the_energy(name: str) -> None:
    assert not block_options(LightConfig())
    plain = random_model(LIGHT)
    changed = random_model(replace(LIGHT, **{name: True}))
    changed.scale = plain.scale
    own = plain.state_dict()
    changed.load_state_dict({**changed.state_dict(), **own})
    atoms = molecule("CH3CH2OH")
    surface = Surface(plain, atoms.numbers, lambda t: atoms.positions)
    other = Surface(changed, atoms.numbers, lambda t: atoms.positions)
    if name == "relaxed":  # its weights begin as zero: the same to the bit
        assert other(0.0)[0] == surface(0.0)[0]
    else:
        assert abs(other(0.0)[0] - surface(0.0)[0]) > CONTROL


def with_option(name: str) -> SE3Set:
    """All weights random, also those that begin as zero."""
    model = random_model(replace(LIGHT, **{name: True}))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(4)
        for key, parameter in model.named_parameters():
            if key.endswith((".relaxed.vector", ".relaxed.tensor")):
                parameter.normal_(std=0.3)
    return model


@pytest.mark.parametrize("name", EQUIVARIANT)
def test_energy_is_invariant(name: str) -> None:
    config = LightConfig(channels=8, heads=2, **{name: True})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        network = LightNetwork(config, 3, CUTOFF).double()
    expected = network(graph().species, graph(), weigh(positions(), graph()))
    rotation = turn()
    moved = positions() @ rotation.T
    found = network(graph().species, graph(), weigh(moved, graph()))
    torch.testing.assert_close(found, expected, rtol=0, atol=EQUIVARIANCE)


@pytest.mark.parametrize("name", [*EQUIVARIANT, "relaxed"])
def test_the_contract_holds(name: str) -> None:
    """Smooth through events, forces are derivatives; relaxed weights keep translations only."""
    model = with_option(name)
    atoms, path, (start, end) = PATHS["proton transfer"]()
    surface = Surface(model, atoms.numbers, path)
    events = surface.events(start, end, n=80, most=4)
    assert len(events) >= 2
    worst = [roughness(surface, t, STEP) for t in events]
    assert max(r.energy for r in worst) < MOST_ENERGY
    assert max(r.forces for r in worst) < MOST_FORCES
    jumping = Surface(hard(model), atoms.numbers, path)
    control = [roughness(jumping, t, STEP, n=3) for t in jumping.events(start, end, 80, most=4)]
    assert max(r.energy for r in control) > JUMP_ENERGY

    middle = path(0.5 * (start + end))
    rng = np.random.default_rng(2)
    direction = rng.normal(size=middle.shape)

    def energy(positions: np.ndarray) -> float:
        return Surface(model, atoms.numbers, lambda t: positions)(0.0)[0]

    h = 1e-4
    slope = (energy(middle + h * direction) - energy(middle - h * direction)) / (2 * h)
    forces = Surface(model, atoms.numbers, lambda t: middle)(0.0)[1]
    assert -(forces * direction).sum() == pytest.approx(slope, abs=20 * GRADIENT)
    assert energy(middle + np.array([3.0, -7.0, 1.0])) == pytest.approx(energy(middle), abs=1e-9)
    turn_by = np.asarray(turn())
    change = abs(energy(middle @ turn_by.T) - energy(middle))
    assert change > CONTROL if name == "relaxed" else change < 1e-9


@pytest.mark.parametrize("name", [*EQUIVARIANT, "relaxed"])
def test_a_saved_model_is_the_same(tmp_path: Path, name: str) -> None:
    model = with_option(name)
    save_checkpoint(tmp_path, model, METADATA)
    loaded, metadata = load_checkpoint(tmp_path, dtype=torch.float64)
    assert metadata.network[name] is True
    atoms = molecule("CH3CH2OH")
    both = [Surface(m, atoms.numbers, lambda t: atoms.positions)(0.0)[0] for m in (model, loaded)]
    assert both[0] == pytest.approx(both[1], abs=1e-9)
    atoms.calc = SE3SetCalculator(tmp_path)
    assert atoms.get_potential_energy() == pytest.approx(both[0], abs=1e-9)
    assert np.abs(Potential(tmp_path).predict([atoms], warn=False)[0].forces).max() > 0.01


def test_options_are_true_or_false() -> None:
    with pytest.raises(ValueError, match="expected fusion to be true or false, got 1"):
        LightConfig(fusion=1)
