"""Atomic writing of files, and their checksums."""

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
    """Write a file so that at any moment it has either the old or the new content."""
    temporary = write_temporary(path, content)
    replace(temporary, path)


def write_temporary(path: Path, content: bytes) -> Path:
    """Write ``content`` to a new hidden file in the folder of ``path``, and flush it to disk."""
    # In the same folder, because os.replace is atomic only within one file system. Not with
    # mkstemp, whose files are private: whoever can read the folder can read a model.
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
    """Replace a file by another atomically, and flush the change to disk."""
    os.replace(temporary, path)
    if os.name == "posix":  # the new name is on disk when its folder is
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
