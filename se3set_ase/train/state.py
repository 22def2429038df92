"""The state of a training run, in one safetensors file, to resume it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from se3set_ase.nn.model import SE3Set

STATE_FILE = "state.safetensors"


class StateError(ValueError):
    """The state file is damaged or belongs to another run."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Progress of a run. ``fingerprint`` identifies its configuration and data."""

    fingerprint: str
    epoch: int = 0
    best_epoch: int = -1
    best_score: float = float("inf")
    since_best: int = 0
    seconds: float = 0.0
    loss: float = 0.0
    """Mean of the last epoch."""
    gradient: float = 0.0
    """Running mean of the gradients' lengths."""


def save_state(
    folder: Path,
    progress: Progress,
    model: SE3Set,
    averaged: nn.Module,
    best: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    conditions: str,
) -> None:
    """Write weights, averages, best weights and optimiser moments atomically.

    Parameters
    ----------
    conditions : hash of everything else that the run depends on.
    """
    tensors: dict[str, Tensor] = {f"model.{k}": v for k, v in model.named_parameters()}
    tensors |= {f"averaged.{k}": v for k, v in averaged.named_parameters()}
    tensors |= {f"best.{k}": v for k, v in best.items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": v for k, v in moments.items()}
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    temporary = folder / f".{STATE_FILE}.new"
    metadata = {"progress": json.dumps(asdict(progress)), "conditions": conditions}
    save_file(tensors, temporary, metadata=metadata)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, folder / STATE_FILE)


def load_state(
    folder: Path,
    fingerprint: str,
    model: SE3Set,
    averaged: nn.Module,
    optimizer: torch.optim.Optimizer,
    conditions: str,
) -> tuple[Progress, dict[str, Tensor]] | None:
    """Restore a run in place and return its progress and best weights; None without a state.

    Raises
    ------
    StateError : the file is damaged, or from another configuration or other data.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            values = json.loads(metadata.get("progress", "null"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise StateError(f"{path}: damaged ({error}); remove it to start again") from error
    if not isinstance(values, dict) or set(values) != {f.name for f in fields(Progress)}:
        raise StateError(f"{path}: expected the state of a training run")
    progress = Progress(**values)
    if progress.fingerprint != fingerprint or metadata.get("conditions") != conditions:
        raise StateError(
            f"{path} belongs to a run with another configuration or other data; "
            "choose another name or remove the folder"
        )

    def part(prefix: str) -> dict[str, Tensor]:
        return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}

    expected = {f"model.{k}": v.shape for k, v in model.named_parameters()}
    expected |= {f"averaged.{k}": v.shape for k, v in averaged.named_parameters()}
    expected |= {f"best.{k}": v.shape for k, v in model.named_parameters()}
    if any(key not in tensors or tensors[key].shape != expected[key] for key in expected):
        raise StateError(
            f"{path}: expected the weights of this network, got others (from another version "
            "of the package?); remove it to start again"
        )
    with torch.no_grad():
        for prefix, module in (("model.", model), ("averaged.", averaged)):
            stored = part(prefix)
            for name, parameter in module.named_parameters():
                parameter.copy_(stored[name])
    states: dict[int, dict[str, Tensor]] = {}
    for key, tensor in part("optimizer.").items():
        index, name = key.split(".", 1)
        states.setdefault(int(index), {})[name] = tensor
    if states:
        optimizer.load_state_dict({**optimizer.state_dict(), "state": states})
    return progress, part("best.")
