"""Files written whole or not at all, and their hashes."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

__all__ = [
    "replace",
    "sha256_of",
    "write_atomically",
    "write_temporary",
]


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
