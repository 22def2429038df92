"""A small model with random weights, and metadata for it: for tests of all that is not physics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from se3set_ase import SE3SetCalculator
from se3set_ase.checkpoint.metadata import DataFile, Measurement, ModelMetadata
from se3set_ase.checkpoint.store import save_checkpoint
from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.nn.light.config import LightConfig
from se3set_ase.nn.longrange.config import LongRangeConfig
from se3set_ase.nn.model import SE3Set
from se3set_ase.uncertainty.calibration import write_calibration

#: Makes a calculator of :func:`tiny_model` with these options (fixture ``make``).
Make = Callable[..., SE3SetCalculator]

ATOMIC_ENERGIES = (-13.587222780835477, -1029.4889999168986, -2041.9816003861047)  # eV


def tiny_model(
    seed: int = 7,
    *,
    channels: int = 8,
    dtype: torch.dtype = torch.float32,
    long_range: LongRangeConfig | None = None,
) -> SE3Set:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SE3Set(
            elements=(1, 6, 8),
            hypergraph=HypergraphConfig(cutoff=4.5),
            network=LightConfig(channels=channels, blocks=1, heads=2, radial_functions=8),
            atomic_energies=ATOMIC_ENERGIES,
            shifts=(0.1, 0.2, 0.3),
            scale=1.7,
            long_range=long_range,
        ).to(dtype)


METADATA = ModelMetadata(
    name="tiny",
    level_of_theory="PBE-D3/def2-SVP",
    description="Untrained, for tests.",
    limits=("Knows no chemistry.",),
    training_data=(DataFile(file="train.xyz", sha256="ab" * 32, n_frames=450, role="train"),),
    measured=(
        Measurement(
            data=DataFile(file="test.xyz", sha256="cd" * 32, n_frames=650, role="test"),
            energy_mae_meV=1.25,
            energy_rmse_meV=1.5,
            energy_mae_meV_per_atom=0.1,
            forces_mae_meV_A=None,
            forces_rmse_meV_A=None,
        ),
    ),
    training={"epochs": 3, "ema": 0.99},
)


ENERGY_FACTOR, FORCES_FACTOR = 3.0, 0.5
#: The environments that a committee of :func:`save_committee` has seen.
ETHANOL = ("C(C,H,H,H)", "C(C,H,H,O)", "O(C,H)", "H(C)", "H(O)")


def save_committee(
    folder: Path,
    *,
    familiar_forces: float = 1e6,
    seeds: tuple[int, ...] = (0, 1, 2),
    metadata: ModelMetadata = METADATA,
) -> Path:
    """A model and further members of other random weights, which have seen ethanol."""
    first, *others = seeds
    save_checkpoint(folder, tiny_model(first), metadata)
    names = [f"member-{seed}" for seed in others]
    for name, seed in zip(names, others, strict=True):
        save_checkpoint(folder / name, tiny_model(seed), metadata)
    write_calibration(
        folder,
        names,
        energy_factor=ENERGY_FACTOR,
        forces_factor=FORCES_FACTOR,
        familiar_forces=familiar_forces,
        environments=ETHANOL,
    )
    return folder
