"""The model of a training run, with its initial weights."""

from __future__ import annotations

from collections.abc import Callable

import torch

from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.nn.architecture import network_config, preset_values
from se3set_ase.nn.longrange.config import LongRangeConfig
from se3set_ase.nn.model import SE3Set
from se3set_ase.train.config import RunConfig
from se3set_ase.train.data import DataError, symbols
from se3set_ase.train.normalisation import Normalisation

#: See :func:`build_model`.
ModelBuilder = Callable[[RunConfig, HypergraphConfig, Normalisation, SE3Set | None], SE3Set]


def build_model(
    config: RunConfig,
    hypergraph: HypergraphConfig,
    normalisation: Normalisation,
    initial: SE3Set | None = None,
) -> SE3Set:
    """The model of a run with random weights, or those of the ``initial`` model.

    Raises
    ------
    DataError : an element is not in the initial model, or several charges or dipoles need a model
        with charges.
    """
    network, scale = network_config(preset_values(config.network)), normalisation.scale
    long_range = LongRangeConfig.from_dict(config.long_range)
    if initial is not None:
        network, scale = initial.network_config, initial.scale
        long_range = initial.long_range.config if initial.long_range else LongRangeConfig()
        if foreign := sorted(set(normalisation.elements) - set(initial.elements)):
            raise DataError(
                f"expected elements of the initial model ({symbols(initial.elements)}), "
                f"got {symbols(foreign)}"
            )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = SE3Set(
            elements=normalisation.elements,
            hypergraph=hypergraph,
            network=network,
            atomic_energies=normalisation.atomic_energies,
            shifts=normalisation.shifts,
            scale=scale,
            long_range=long_range,
        )
    _check_charges(config, model)
    if initial is not None:
        rows = [initial.elements.index(z) for z in model.elements]
        own = model.state_dict()
        model.load_state_dict(
            {  # tensors of another length have a row for each element
                name: value if value.shape == own[name].shape else value[rows]
                for name, value in initial.state_dict().items()
            }
        )
    return model


def _check_charges(config: RunConfig, model: SE3Set) -> None:
    """Raise DataError for data whose charges or dipoles the model cannot describe."""
    if model.has_charges:
        return
    charges = ", ".join(map(str, config.data.charges))
    if len(config.data.charges) > 1 and config.baseline is None:
        raise DataError(
            f"expected one charge, or a model with charges or with a baseline, got {charges}"
        )
    if config.training.dipole_weight:
        raise DataError("expected a model with charges for a dipole_weight, got one without")
