"""Models as files: weights, metadata and card; bundled models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from se3set_ase._lazy import lazy_names

if TYPE_CHECKING:
    from se3set_ase.checkpoint.metadata import CheckpointError, DataFile, Measurement, ModelMetadata
    from se3set_ase.checkpoint.registry import (
        ModelInfo,
        list_models,
        models_folder,
        resolve_model,
        write_registry,
    )
    from se3set_ase.checkpoint.store import load_checkpoint, load_metadata, save_checkpoint

__all__ = [
    "CheckpointError",
    "DataFile",
    "Measurement",
    "ModelInfo",
    "ModelMetadata",
    "list_models",
    "load_checkpoint",
    "load_metadata",
    "models_folder",
    "resolve_model",
    "save_checkpoint",
    "write_registry",
]

_HOMES = {
    "CheckpointError": "se3set_ase.checkpoint.metadata",
    "DataFile": "se3set_ase.checkpoint.metadata",
    "Measurement": "se3set_ase.checkpoint.metadata",
    "ModelInfo": "se3set_ase.checkpoint.registry",
    "ModelMetadata": "se3set_ase.checkpoint.metadata",
    "list_models": "se3set_ase.checkpoint.registry",
    "load_checkpoint": "se3set_ase.checkpoint.store",
    "load_metadata": "se3set_ase.checkpoint.store",
    "models_folder": "se3set_ase.checkpoint.registry",
    "resolve_model": "se3set_ase.checkpoint.registry",
    "save_checkpoint": "se3set_ase.checkpoint.store",
    "write_registry": "se3set_ase.checkpoint.registry",
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
