"""Find, recognise and read the files of a checkpoint, and report damage."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from se3set_ase import __version__
from se3set_ase.checkpoint.metadata import (
    DECIDING,
    CheckpointError,
    DataFile,
    ModelMetadata,
    WeightsFile,
)
from se3set_ase.io.files import sha256_of

if TYPE_CHECKING:
    import torch

WEIGHTS_FILE = "weights.safetensors"
METADATA_FILE = "model.json"

AGAIN = "Download or copy the model again."

# Longest header that the safetensors format allows (100 MB, from its reference reader).
_MAX_HEADER = 100_000_000


def metadata_file(path: Path) -> Path:
    """The ``model.json`` for a model folder or a file in it."""
    if path.is_dir():
        json_file = path / METADATA_FILE
        if not json_file.exists():
            there = sorted(p.name for p in path.iterdir())
            raise CheckpointError(
                f"{path} is not a model folder: expected {METADATA_FILE} and {WEIGHTS_FILE} in "
                f"it, got {listed(there)}. Point to a folder saved by se3set-ase."
            )
        return json_file
    if not path.exists():
        raise FileNotFoundError(
            f"no model at {path}: expected a folder with {METADATA_FILE} and {WEIGHTS_FILE}, or "
            "one of these two files"
        )
    start = first_bytes(path)
    refuse_pickle(path, start)
    if start.lstrip()[:1] == b"{":
        return path
    json_file = path.parent / METADATA_FILE
    if is_safetensors(path, start):
        if not json_file.exists():
            raise CheckpointError(
                f"{path} contains tensors without metadata: expected {METADATA_FILE} in the "
                "same folder. Point to a model saved by se3set-ase; weights "
                "of other programs cannot be read."
            )
        return json_file
    if path.name in (WEIGHTS_FILE, METADATA_FILE) and json_file.exists():
        return json_file  # damaged: the error about that file says more
    raise CheckpointError(
        f"{path} is not a se3set-ase model: expected a folder with {METADATA_FILE} and "
        f"{WEIGHTS_FILE}, or one of these files; its first bytes are {start[:8]!r}"
    )


def read_metadata(json_file: Path) -> ModelMetadata:
    """Read and check ``model.json``."""
    refuse_pickle(json_file, first_bytes(json_file))
    try:
        text = json_file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(
            f"{json_file} is not readable as JSON: expected UTF-8 text, got byte "
            f"{error.object[error.start]:#04x} at position {error.start}. {AGAIN}"
        ) from error
    return ModelMetadata.from_json(text, where=str(json_file), package_version=__version__)


def read_weights(path: Path, expected: WeightsFile, json_file: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of the file that ``model.json`` describes."""
    import safetensors
    import safetensors.torch

    if not path.exists():
        raise CheckpointError(
            f"{json_file} lists the weights {path.name!r}, but the folder has no such file. "
            "Copy the whole model folder."
        )
    content = path.read_bytes()
    refuse_pickle(path, content[:16])
    if len(content) < expected.n_bytes:
        raise CheckpointError(
            f"{path} is truncated: expected {expected.n_bytes} bytes, got {len(content)}. {AGAIN}"
        )
    if not is_safetensors(path, content[:16]):
        raise CheckpointError(
            f"{path} is damaged or not a safetensors file: expected its header, "
            f"got the bytes {content[:8]!r}. {AGAIN}"
        )
    digest = hashlib.sha256(content).hexdigest()
    if digest != expected.sha256:
        raise CheckpointError(
            f"{path} is not the file that {json_file.name} describes: checksum mismatch, recorded "
            f"sha256 {expected.sha256} ({expected.n_bytes} bytes), contents hash to {digest} "
            f"({len(content)} bytes). It is damaged, from another model, or saving was "
            f"interrupted. {AGAIN}"
        )
    try:
        return safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors: {error}. {AGAIN}") from error


def check_description(metadata: ModelMetadata, json_file: Path) -> None:
    """Raise CheckpointError if an entry that decides a number was changed after saving."""
    if metadata.sha256 != metadata.digest:
        raise CheckpointError(
            f"{json_file} is not as it was saved: expected unchanged entries "
            f"{', '.join(DECIDING)}, got others. {AGAIN}"
        )


def listed(names: list[str], most: int = 12) -> str:
    """Names for a message, at most ``most`` of them."""
    if not names:
        return "none"
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def first_bytes(path: Path) -> bytes:
    """The first bytes of a file, by which it is recognised."""
    with open(path, "rb") as file:
        return file.read(16)


def is_safetensors(path: Path, start: bytes) -> bool:
    """Whether a file starts like safetensors: header length (8 bytes, little endian), then JSON."""
    length = int.from_bytes(start[:8], "little")
    return start[8:9] == b"{" and 2 <= length <= min(_MAX_HEADER, path.stat().st_size - 8)


def refuse_pickle(path: Path, start: bytes) -> None:
    """Raise CheckpointError for files of ``torch.save`` and ``pickle``, recognised by content.

    torch.save writes a zip archive since version 1.6, and wrote a pickle (protocol 2) before.
    A pickle of protocol 2 or later starts with the byte 0x80 and its protocol number. A
    safetensors header of 128 + 256 n bytes may start with the same two bytes, so a file that is
    clearly safetensors passes.
    """
    archive = start.startswith((b"PK\x03\x04", b"PK\x05\x06"))
    pickled = len(start) > 1 and start[0] == 0x80 and start[1] <= 5
    if archive or (pickled and not is_safetensors(path, start)):
        kind = "zip archive, as torch.save writes it" if archive else "Python pickle"
        raise CheckpointError(
            f"{path} is a {kind}: pickles are never loaded, because loading one runs any code "
            "in it. Expected a safetensors or JSON file saved by se3set-ase; ask the "
            "source of the model for that format."
        )


def describe_data_file(path: str | os.PathLike[str], *, n_frames: int, role: str) -> DataFile:
    """The entry for a data file in the metadata: name without folder, hash and frame count."""
    return DataFile(file=Path(path).name, sha256=sha256_of(path), n_frames=n_frames, role=role)
