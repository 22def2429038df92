"""Layers of the published network, and its configuration."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch
from torch import nn

from se3set_ase.nn.published.blocks import (
    ExpNormalBasis,
    Incidence,
    RadialNetwork,
    smooth_leaky_relu,
)
from se3set_ase.nn.published.network import PublishedConfig, PublishedNetwork
from se3set_ase.nn.smooth import envelope

CUTOFF = 5.0
SAME_FLOAT64 = 1e-12


def count(module: nn.Module) -> int:
    """Parameters without the sinks, which the paper does not have."""
    return sum(p.numel() for name, p in module.named_parameters() if not name.endswith("sink"))


@pytest.fixture(scope="module")
def full() -> PublishedNetwork:
    return PublishedNetwork(PublishedConfig(), 3, CUTOFF)


def test_parameters_are_those_published_and_the_sinks(full: PublishedNetwork) -> None:
    assert count(full) == 6_288_033
    sinks = [p.numel() for name, p in full.named_parameters() if name.endswith("sink")]
    assert sinks == [4] * (2 * 6)  # a head each, in both directions of each block


def test_parameters_part_by_part(full: PublishedNetwork) -> None:
    assert count(full.blocks) == 5_800_032
    for block in full.blocks:
        assert count(block.to_hyper) == 283_232
        assert count(block.to_atoms) == 315_104
        assert count(block.feed_hyper) == 166_688
        assert count(block.to_hyper.radial.layers[-1]) == 64 * 768
    for block in full.blocks[:-1]:
        assert count(block.feed_atoms) == 166_688
        assert block.shortcut is None
    assert count(full.blocks[-1].feed_atoms) == 299_168
    assert count(full.blocks[-1].shortcut) == 66_048
    assert count(full.readout) == 263_169
    assert count(full.degree_hyper) == 112_128
    assert count(full.degree_atoms) == 110_976
    assert count(full.blocks[0].to_atoms.product) == 55_296
    assert count(full.blocks[0].to_atoms.second_product) == 55_296


def test_edges_fade_at_the_cutoff_though_the_radial_network_has_norms() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        radial = RadialNetwork(PublishedConfig(), 5).double()
    basis = ExpNormalBasis(PublishedConfig().radial_functions, CUTOFF).double()

    def weights(distance: float, enveloped: bool = True) -> float:
        d = torch.tensor([distance], dtype=torch.float64)
        omega = envelope(d, CUTOFF)
        none = torch.empty(0, dtype=torch.int64)
        incidence = Incidence(
            none, none, none, omega if enveloped else torch.ones_like(omega), omega, omega,
            basis(d) * omega[:, None],
        )  # fmt: skip
        return float(radial(incidence).detach().abs().max())

    assert weights(CUTOFF) == 0.0
    assert weights(CUTOFF - 1e-3) < 1e-8  # envelope ~ 56 (1e-3 / 5)^3
    assert weights(CUTOFF - 1e-3, enveloped=False) > 0.1  # the control: the norm undid it


def test_smooth_leaky_relu_has_both_slopes() -> None:
    x = torch.tensor([-40.0, 0.0, 40.0], dtype=torch.float64)
    expected = torch.tensor([-8.0, 0.0, 40.0], dtype=torch.float64)
    torch.testing.assert_close(smooth_leaky_relu(x), expected, rtol=0, atol=SAME_FLOAT64)


def test_config_survives_plain_values() -> None:
    changed = PublishedConfig(blocks=2, heads=2)
    assert PublishedConfig(**asdict(changed)) == changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"irreps_node": "8x1o+4x0e"}, "expected irreps_node like"),
        ({"irreps_node": "8x0e+4x1e"}, r"parity \(-1\)\^l"),
        ({"irreps_last": "6x1o"}, "expected irreps_last to be scalars"),
        ({"heads": 3}, "expected heads to divide every multiplicity of irreps_node, got 3"),
        ({"mean_atoms": 0.0}, "expected mean_atoms > 0, got 0.0"),
        ({"lmax": -1}, "expected lmax >= 0, got -1"),
    ],
)
def test_config_errors(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(PublishedConfig(), **change)  # type: ignore[arg-type]
