"""Models with random weights, for measurements of time and memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from se3set_ase.checkpoint import ModelMetadata, save_checkpoint
from se3set_ase.hypergraph import HypergraphConfig
from se3set_ase.nn.architecture import network_config, preset_values
from se3set_ase.nn.longrange.config import LongRangeConfig
from se3set_ase.nn.model import SE3Set


def save_untrained(
    folder: Path,
    elements: Sequence[int],
    preset: str = "light",
    *,
    long_range: LongRangeConfig | None = None,
    network: Mapping[str, object] | None = None,
) -> Path:
    """Write a model of a preset, with changes of the network; returns its folder."""
    torch.manual_seed(0)
    model = SE3Set(
        elements=elements,
        hypergraph=HypergraphConfig(),
        network=network_config(preset_values({"preset": preset, **(network or {})})),
        atomic_energies=[0.0] * len(elements),
        long_range=long_range,
    )
    metadata = ModelMetadata(
        name="untrained", level_of_theory="none", description="Random weights."
    )
    save_checkpoint(folder, model, metadata)
    return folder
