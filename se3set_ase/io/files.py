"""Files written whole or not at all, and recognised by content instead of by name."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

from se3set_ase.checkpoint.metadata import CheckpointError, DataFile

__all__ = [
    "first_bytes",
    "is_safetensors",
    "refuse_pickle",
    "replace",
    "sha256_of",
    "write_atomically",
    "write_temporary",
]

# Longest header that the safetensors format allows (100 MB, from its reference reader).
_MAX_HEADER = 100_000_000


def sha256_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's content, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that at any moment either the old or the new content stands there whole."""
    temporary = write_temporary(path, content)
    replace(temporary, path)


def write_temporary(path: Path, content: bytes) -> Path:
    """Write ``content``, whole and on disk, to a new hidden file beside ``path``."""
    # In the same folder, since os.replace is atomic within one file system only; not by mkstemp,
    # whose files are private, while a model is read by whoever may read the folder.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def replace(temporary: Path, path: Path) -> None:
    """Put a file in the place of another at one stroke, and see that this is on disk."""
    os.replace(temporary, path)
    if os.name == "posix":  # the new name is on disk only once its folder is
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def first_bytes(path: Path) -> bytes:
    """Enough of a file to recognise it by."""
    with open(path, "rb") as file:
        return file.read(16)


def is_safetensors(path: Path, start: bytes) -> bool:
    """A safetensors file starts with the length of its JSON header (8 bytes, little endian)."""
    length = int.from_bytes(start[:8], "little")
    return start[8:9] == b"{" and 2 <= length <= min(_MAX_HEADER, path.stat().st_size - 8)


def refuse_pickle(path: Path, start: bytes) -> None:
    """Recognise what ``torch.save`` and ``pickle`` write, by content: names prove nothing.

    torch.save writes a zip archive since version 1.6, and a pickle (protocol 2 by default)
    before; a pickle of protocol 2 or later starts with the byte 0x80 and its protocol number.
    A safetensors header of 128 + 256 n bytes may start with the same two bytes, so what is
    plainly safetensors passes.
    """
    archive = start.startswith((b"PK\x03\x04", b"PK\x05\x06"))
    pickled = len(start) > 1 and start[0] == 0x80 and start[1] <= 5
    if archive or (pickled and not is_safetensors(path, start)):
        kind = "zip archive, as torch.save writes it" if archive else "Python pickle"
        raise CheckpointError(
            f"{path} is a {kind}: pickles are never loaded, since loading one runs whatever "
            "code is in it. Expected a safetensors or JSON file saved by se3set-ase; "
            "get the model in that form from where it came from."
        )


def describe_data_file(path: str | os.PathLike[str], *, n_frames: int, role: str) -> DataFile:
    """The entry for a data file in the metadata: its name without folder, hash and count."""
    return DataFile(file=Path(path).name, sha256=sha256_of(path), n_frames=n_frames, role=role)
