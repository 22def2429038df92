"""Save and load models: folders with weights, metadata and a card.

::

    acac/
      weights.safetensors   tensors
      model.json            metadata (se3set_ase.checkpoint.metadata)
      README.md             card, generated from the metadata (se3set_ase.checkpoint.card)

Nothing is ever unpickled, because a pickle can run any code.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from se3set_ase import __version__
from se3set_ase.checkpoint.card import render_card
from se3set_ase.checkpoint.files import (
    AGAIN,
    METADATA_FILE,
    WEIGHTS_FILE,
    check_description,
    listed,
    metadata_file,
    read_metadata,
    read_weights,
)
from se3set_ase.checkpoint.metadata import MODEL_UNITS, CheckpointError, ModelMetadata, WeightsFile
from se3set_ase.io.files import replace, write_temporary

if TYPE_CHECKING:
    import torch

    from se3set_ase.nn.model import SE3Set
    from se3set_ase.nn.scatter import Backend

__all__ = ["CARD_FILE", "load_checkpoint", "load_metadata", "save_checkpoint"]

CARD_FILE = "README.md"

_OTHER_VERSION = "Use the version of se3set-ase that saved the model, or a newer one."


def save_checkpoint(
    folder: str | os.PathLike[str], model: SE3Set, metadata: ModelMetadata
) -> ModelMetadata:
    """Write a checkpoint folder, or replace an existing one.

    The new files are complete on disk before the first old one is replaced, and ``model.json`` is
    replaced last. If saving is killed, the old model remains, or a model whose mismatch of weights
    and metadata is detected on loading.

    Parameters
    ----------
    folder : Created if missing, with its parents.
    model : Saved in its own dtype, from any device.
    metadata : Fields of the author; those that the model determines are filled in.

    Returns
    -------
    The metadata as written.

    Raises
    ------
    CheckpointError : a weight or a number in the metadata is not finite.
    """
    import safetensors.torch

    folder = Path(folder)
    tensors = {
        # Tensors may share storage or be views, and safetensors takes neither.
        name: tensor.detach().to("cpu").clone().contiguous()
        for name, tensor in model.state_dict().items()
    }
    bad = [n for n, t in tensors.items() if t.is_floating_point() and not bool(t.isfinite().all())]
    if bad:
        raise CheckpointError(
            f"model {metadata.name!r} cannot be saved: expected finite weights, got NaN or "
            f"infinity in {bad}. The training has diverged; lower its learning rate."
        )
    metadata = dataclasses.replace(
        metadata,
        **_describe(model),
        units=dict(MODEL_UNITS),
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        package_version=__version__,
    )
    content = safetensors.torch.save(tensors, metadata={"format": "pt"})
    metadata = dataclasses.replace(
        metadata,
        weights=WeightsFile(
            file=WEIGHTS_FILE,
            sha256=hashlib.sha256(content).hexdigest(),
            n_bytes=len(content),
            dtype=cast(Any, str(model.dtype).removeprefix("torch.")),  # checked below
            n_parameters=sum(p.numel() for p in model.parameters()),
        ),
    )
    metadata = dataclasses.replace(metadata, sha256=metadata.digest)
    text = metadata.to_json()
    # Check now that what is written can be read.
    ModelMetadata.from_json(text, where=METADATA_FILE, package_version=__version__)
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        WEIGHTS_FILE: content,
        CARD_FILE: render_card(metadata, folder.as_posix()).encode(),
        METADATA_FILE: text.encode(),
    }
    temporaries: dict[str, Path] = {}
    try:
        for name, data in files.items():
            temporaries[name] = write_temporary(folder / name, data)
        for name in files:
            replace(temporaries[name], folder / name)
            del temporaries[name]
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)
    return metadata


def load_metadata(path: str | os.PathLike[str]) -> ModelMetadata:
    """Read and check ``model.json`` alone; arguments and errors as :func:`load_checkpoint`."""
    return read_metadata(metadata_file(Path(path)))


def load_checkpoint(
    path: str | os.PathLike[str],
    *,
    dtype: torch.dtype | None = None,
    device: str | torch.device = "cpu",
    backend: Backend = "native",
    hard: bool = False,
) -> tuple[SE3Set, ModelMetadata]:
    """Load a model for inference: in evaluation mode, with parameters that need no gradient.

    Parameters
    ----------
    path : The folder, or either file in it.
    dtype : Of weights and arithmetic; ``None`` keeps that of the file.
    device : Where the model goes.
    backend : Takes its sums over members, see :func:`se3set_ase.nn.scatter.scatter_sum`.
    hard : Bonds and reach are decided by thresholds, see
        :class:`se3set_ase.hypergraph.HypergraphConfig`.

    Raises
    ------
    FileNotFoundError : ``path`` does not exist.
    CheckpointError : the model cannot be used; the text says which file, what was expected, what
        was found, and what to do.
    ValueError : unknown device or backend.
    ImportError : the backend is not installed.
    """
    import torch

    from se3set_ase.nn.scatter import check_backend

    _check_device(device)
    check_backend(backend)
    json_file = metadata_file(Path(path))
    metadata = read_metadata(json_file)
    assert metadata.weights is not None  # read_metadata has checked it
    weights_file = json_file.parent / metadata.weights.file
    tensors = read_weights(weights_file, metadata.weights, json_file)
    model = _build_model(metadata, json_file, backend, hard)
    _check_tensors(model.state_dict(), tensors, weights_file, json_file)
    check_description(metadata, json_file)
    # In the precision of the file first, then in the requested one: nothing is rounded twice.
    model.load_state_dict(tensors, assign=True)
    model.requires_grad_(False).eval()
    if dtype is None:
        dtype = getattr(torch, metadata.weights.dtype)
    return model.to(device=device, dtype=dtype), metadata


# --- Model and metadata ---------------------------------------------------

_CONFIG_KEYS = ("elements", "network", "hypergraph", "atomic_energies", "shifts", "scale")


def _describe(model: SE3Set) -> dict[str, Any]:
    """The part of the metadata that the model determines."""
    from ase.data import chemical_symbols

    config = model.to_config()
    return {
        **{key: config[key] for key in _CONFIG_KEYS},
        "long_range": config.get("long_range"),
        "symbols": tuple(chemical_symbols[z] for z in config["elements"]),
    }


def _build_model(metadata: ModelMetadata, json_file: Path, backend: Backend, hard: bool) -> SE3Set:
    """A model of the described shape; its weights are random still."""
    import torch

    from se3set_ase.nn.model import SE3Set

    config = {key: getattr(metadata, key) for key in (*_CONFIG_KEYS, "long_range")}
    if hard:
        config["hypergraph"] = {**config["hypergraph"], "hard": True}
    try:
        with torch.random.fork_rng(devices=[]):  # loading must not change the user's random numbers
            model = SE3Set.from_config(config, backend=backend)
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"{json_file}: se3set-ase {__version__} cannot build the model described there: "
            f"{error}. {_OTHER_VERSION}"
        ) from error
    # A missing key would silently take its default.
    complete = model.to_config()
    for key in ("network", "hypergraph", "long_range"):
        if config[key] is None:
            continue
        if missing := sorted(complete[key].keys() - config[key].keys()):
            raise CheckpointError(
                f"{json_file}: the entry {key!r} is incomplete: missing {missing}. {_OTHER_VERSION}"
            )
    return model


def _check_tensors(
    expected: Mapping[str, torch.Tensor],
    got: Mapping[str, torch.Tensor],
    weights_file: Path,
    json_file: Path,
) -> None:
    missing = sorted(expected.keys() - got.keys())
    extra = sorted(got.keys() - expected.keys())
    misshaped = [
        f"{name} (expected {tuple(expected[name].shape)}, got {tuple(got[name].shape)})"
        for name in sorted(expected.keys() & got.keys())
        if expected[name].shape != got[name].shape
    ]
    if missing or extra or misshaped:
        raise CheckpointError(
            f"{weights_file} does not fit the network that {json_file.name} describes: "
            f"missing tensors: {listed(missing)}; extra tensors: {listed(extra)}; "
            f"tensors of another shape: {listed(misshaped)}. "
            f"The two files are from different models, or one was edited. {AGAIN}"
        )


def _check_device(device: str | torch.device) -> None:
    import torch

    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    try:
        asked = torch.device(device)
    except RuntimeError:
        asked = None
    if asked is None or (asked.type == "cuda" and (asked.index or 0) >= n_cuda):
        raise ValueError(
            f"expected device 'cpu' or one of the {n_cuda} CUDA devices that torch sees here, "
            f"got {str(device)!r}"
        )
