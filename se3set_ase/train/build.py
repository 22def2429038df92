"""The model of a training run, with its initial weights."""

from __future__ import annotations

from collections.abc import Callable

import torch

from se3set_ase.checkpoint.metadata import ModelMetadata
from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.nn.architecture import network_config, preset_values
from se3set_ase.nn.longrange.config import LongRangeConfig
from se3set_ase.nn.model import SE3Set
from se3set_ase.train.config import RunConfig
from se3set_ase.train.data import DataError, symbols
from se3set_ase.train.normalisation import Normalisation

#: See :func:`build_model`.
ModelBuilder = Callable[[RunConfig, HypergraphConfig, Normalisation, "Checkpoint | None"], SE3Set]
#: A model and its description.
Checkpoint = tuple[SE3Set, ModelMetadata]


def build_model(
    config: RunConfig,
    hypergraph: HypergraphConfig,
    normalisation: Normalisation,
    initial: Checkpoint | None = None,
) -> SE3Set:
    """The model of a run with random weights, or those of the ``initial`` model.

    If only one of both is a correction, or they correct different methods, they predict different
    things: then the run takes the features of the initial model, but not its energies.

    Raises
    ------
    DataError : an element is not in the initial model, or several charges or dipoles need a model
        with charges.
    """
    network, scale = network_config(preset_values(config.network)), normalisation.scale
    long_range = LongRangeConfig.from_dict(config.long_range)
    same = initial is not None and predict_the_same(config, initial[1])
    if initial is not None:
        model, _ = initial
        network = model.network_config
        if same:
            if config.long_range:
                raise DataError("expected long_range to be that of the initial model, got another")
            scale = model.scale
            long_range = model.long_range.config if model.long_range else LongRangeConfig()
        if foreign := sorted(set(normalisation.elements) - set(model.elements)):
            raise DataError(
                f"expected elements of the initial model ({symbols(model.elements)}), "
                f"got {symbols(foreign)}"
            )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        own = SE3Set(
            elements=normalisation.elements,
            hypergraph=hypergraph,
            network=network,
            atomic_energies=normalisation.atomic_energies,
            shifts=normalisation.shifts,
            scale=scale,
            long_range=long_range,
        )
    _check_charges(config, own)
    if initial is not None:
        _take_weights(own, initial[0], features_only=not same)
    return own


def predict_the_same(config: RunConfig, other: ModelMetadata) -> bool:
    """Whether a run and another model have the same baseline, or none."""
    method = config.baseline_method
    return (method and method.name) == (other.baseline and other.baseline.name)


def _take_weights(model: SE3Set, initial: SE3Set, *, features_only: bool) -> None:
    """Weights of the initial model; of its features only, the energies are zero."""
    rows = [initial.elements.index(z) for z in model.elements]
    own = model.state_dict()
    given = {
        # Tensors of another length have a row for each element.
        name: value if value.shape == own[name].shape else value[rows]
        for name, value in initial.state_dict().items()
        if not (features_only and name.startswith("long_range."))
    }
    model.load_state_dict({**own, **given})
    if features_only:
        model.network.zero_output()


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
