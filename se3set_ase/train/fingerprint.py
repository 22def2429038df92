"""Hashes of everything a run depends on: it is resumed only under the same conditions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import astuple

import numpy as np
from torch import nn

from se3set_ase.train.config import RunConfig
from se3set_ase.train.data import Frame
from se3set_ase.train.normalisation import Normalisation


def fingerprint(
    config: RunConfig, frames: Sequence[Frame], initial: nn.Module | None = None
) -> str:
    """Hash of everything that affects the weights: settings, seed, training data, initial model."""
    digest = hashlib.sha256()
    deciding = {"seed", "network", "hypergraph", "long_range", "training"}
    settings = config.model_dump(mode="json", include=deciding)
    training = settings["training"]
    training.pop("device")
    training.pop("threads")
    training["devices"] = 1  # the number of processes does not change a batch
    # Options that are not used are left out: a run of a version without them can be resumed.
    if not settings["long_range"]:
        del settings["long_range"]
    if not training["dipole_weight"]:
        del training["dipole_weight"]
    digest.update(repr(sorted(settings.items())).encode())
    _add(digest, frames, dipoles=bool(config.training.dipole_weight))
    for parameter in initial.parameters() if initial is not None else ():
        digest.update(parameter.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def conditions(normalisation: Normalisation, validation: Sequence[Frame]) -> str:
    """Hash of the constants of the model and of the validation frames."""
    digest = hashlib.sha256(repr(astuple(normalisation)).encode())
    _add(digest, validation, dipoles=False)
    return digest.hexdigest()


def _add(digest: hashlib._Hash, frames: Sequence[Frame], *, dipoles: bool) -> None:
    for frame in frames:
        digest.update(frame.numbers.tobytes() + frame.positions.tobytes())
        digest.update(np.float64(frame.energy).tobytes() + frame.forces.tobytes())
        if dipoles and frame.dipole is not None:
            digest.update(frame.dipole.tobytes())
        if frame.charge:
            digest.update(np.int64(frame.charge).tobytes())
