"""Configurations of small networks, for tests that need no accuracy."""

from __future__ import annotations

from se3set_ase.nn.light.config import LightConfig
from se3set_ase.nn.published.network import PublishedConfig

SMALL_LIGHT = LightConfig(channels=8, heads=2, radial_hidden=8, readout_hidden=8)
SMALL_PUBLISHED = PublishedConfig(
    irreps_node="8x0e+4x1o+4x2e",
    irreps_feedforward="12x0e+8x1o+4x2e",
    irreps_last="6x0e",
    heads=2,
    attention_channels=4,
    blocks=2,
    radial_functions=8,
    radial_hidden=8,
)
