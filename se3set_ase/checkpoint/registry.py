"""Bundled models, by name.

``models/registry.json`` lists them with the checksums of their files, so that a bundled model is
the one that was measured. The folder is part of an installed package, or at the top of a source
checkout. ``python -m se3set_ase.checkpoint.registry`` updates the list after a training.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import json
import os
import sys
from pathlib import Path
from typing import Any

from se3set_ase.checkpoint.card import render_card
from se3set_ase.checkpoint.files import METADATA_FILE
from se3set_ase.checkpoint.metadata import CheckpointError, ModelMetadata
from se3set_ase.checkpoint.store import CARD_FILE, load_checkpoint, load_metadata
from se3set_ase.io.files import sha256_of, write_atomically

__all__ = ["ModelInfo", "list_models", "models_folder", "resolve_model", "write_registry"]

REGISTRY_FILE = "registry.json"
REGISTRY_FORMAT = "se3set-ase registry"
REGISTRY_SCHEMA_VERSION = 1
#: In the folder of a model with a committee, see :mod:`se3set_ase.uncertainty.committee`.
COMMITTEE_FILE = "committee.json"
_KEYS = ("folder", "metadata_sha256")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """A bundled model: its name, folder and metadata."""

    name: str
    folder: Path
    metadata: ModelMetadata


def models_folder() -> Path | None:
    """The folder of the bundled models, or ``None`` if there are none."""
    package = Path(__file__).resolve().parents[1]
    if (package / "models" / REGISTRY_FILE).exists():
        return package / "models"
    # Next to an installed package are unrelated folders; only a checkout has a pyproject.toml.
    checkout = package.parent
    if (checkout / "pyproject.toml").exists() and (checkout / "models" / REGISTRY_FILE).exists():
        return checkout / "models"
    return None


def list_models() -> list[ModelInfo]:
    """All bundled models, sorted by name; their files are checked when they are resolved."""
    root = models_folder()
    if root is None:
        return []
    return [
        ModelInfo(
            name=name, folder=root / entry["folder"], metadata=load_metadata(root / entry["folder"])
        )
        for name, entry in sorted(_read_registry(root / REGISTRY_FILE).items())
    ]


def resolve_model(
    name_or_path: str | os.PathLike[str], *, relative_to: str | os.PathLike[str] = "."
) -> Path:
    """The path of a model given by name or path.

    The name of a bundled model takes precedence over a folder of the same name in the working
    directory (write ``./name`` for the folder).

    Parameters
    ----------
    name_or_path : Bundled name, or path of a model folder or of a file in it.
    relative_to : Folder that a relative path starts from; the working directory by default.

    Returns
    -------
    Path for :func:`se3set_ase.checkpoint.store.load_checkpoint`.

    Raises
    ------
    FileNotFoundError : neither a bundled name nor an existing path; the text lists the names.
    TypeError : neither a string nor a path.
    CheckpointError : the files of a bundled model do not match the registry.
    """
    if not isinstance(name_or_path, str | os.PathLike):
        raise TypeError(f"expected the name or the path of a model, got {name_or_path!r}")
    if isinstance(name_or_path, str) and not name_or_path.strip():
        raise CheckpointError(f"expected a model name or path, got {name_or_path!r}")
    root = models_folder()
    entries = _read_registry(root / REGISTRY_FILE) if root is not None else {}
    if isinstance(name_or_path, str) and root is not None and name_or_path in entries:
        return _checked_folder(root, name_or_path, entries[name_or_path])
    path = Path(relative_to) / Path(name_or_path).expanduser()
    if path.exists():
        return path
    close = difflib.get_close_matches(str(name_or_path).lower(), list(entries), cutoff=0.5)
    hint = f" Did you mean {' or '.join(repr(name) for name in close)}?" if close else ""
    names = ", ".join(sorted(entries)) or "none"
    where = "" if relative_to == "." else f" in {relative_to}"
    raise FileNotFoundError(
        f"no model {str(name_or_path)!r}{where}: expected a bundled model ({names}) or an existing "
        f"folder or file.{hint}"
    )


def write_registry(root: str | os.PathLike[str]) -> dict[str, Any]:
    """List all model folders in ``root`` in ``root/registry.json``.

    Each model is loaded first, and an error is raised if that fails. From now on it has a name, by
    which its card says to load it.

    Returns
    -------
    The content written.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"no folder {root}: expected the folder with the models")
    models: dict[str, dict[str, str]] = {}
    for json_file in sorted(root.glob(f"*/{METADATA_FILE}")):
        _, metadata = load_checkpoint(json_file)
        if metadata.name in models:
            raise CheckpointError(
                f"two models are named {metadata.name!r}: {models[metadata.name]['folder']} and "
                f"{json_file.parent.name}; rename one"
            )
        models[metadata.name] = {
            "folder": json_file.parent.name,
            "metadata_sha256": sha256_of(json_file),
        }
        if (committee := json_file.parent / COMMITTEE_FILE).exists():
            models[metadata.name]["committee_sha256"] = sha256_of(committee)
        card, text = json_file.parent / CARD_FILE, render_card(metadata).encode()
        if not card.exists() or card.read_bytes() != text:
            write_atomically(card, text)
    content = {
        "format": REGISTRY_FORMAT,
        "schema_version": REGISTRY_SCHEMA_VERSION,
        "models": models,
    }
    write_atomically(root / REGISTRY_FILE, (json.dumps(content, indent=2) + "\n").encode())
    return content


def _read_registry(path: Path) -> dict[str, dict[str, str]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != REGISTRY_FORMAT:
            raise ValueError(f"its format is {content['format']!r}")
        if content["schema_version"] != REGISTRY_SCHEMA_VERSION:
            raise ValueError(f"its schema version is {content['schema_version']!r}")
        return {
            name: {key: entry[key] for key in _KEYS}
            | {k: v for k, v in entry.items() if k == "committee_sha256"}
            for name, entry in content["models"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"the list of bundled models, {path}, is damaged: {error}. Reinstall se3set-ase "
            "or, in a source checkout, run: python -m se3set_ase.checkpoint.registry"
        ) from error


def _checked_folder(root: Path, name: str, entry: dict[str, str]) -> Path:
    folder = root / entry["folder"]
    files = {METADATA_FILE: "metadata_sha256"}  # which has the hash of the weights
    if "committee_sha256" in entry:
        files[COMMITTEE_FILE] = "committee_sha256"
    for file, key in files.items():
        path = folder / file
        if not path.exists():
            raise CheckpointError(
                f"the bundled model {name!r} lacks {file}: expected it at {path}. "
                "Reinstall se3set-ase."
            )
        if (digest := sha256_of(path)) != entry[key]:
            raise CheckpointError(
                f"the bundled model {name!r} is not the one that was released: checksum "
                f"mismatch of {path}, recorded {entry[key]}, contents hash to {digest}. "
                "Reinstall se3set-ase; after a training of your own in a source checkout run: "
                "python -m se3set_ase.checkpoint.registry"
            )
    return folder


def main(arguments: list[str] | None = None) -> int:
    """Entry point of ``python -m se3set_ase.checkpoint.registry``."""
    parser = argparse.ArgumentParser(
        prog="python -m se3set_ase.checkpoint.registry",
        description="Update registry.json from the model folders (after a training).",
    )
    default = models_folder() or Path(__file__).resolve().parents[2] / "models"
    parser.add_argument("folder", nargs="?", type=Path, default=default)
    folder = parser.parse_args(arguments).folder
    try:
        content = write_registry(folder)
    except (CheckpointError, FileNotFoundError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    names = ", ".join(content["models"]) or "no models"
    sys.stdout.write(f"{folder / REGISTRY_FILE}: {names}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
