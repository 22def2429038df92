"""Damages the content of files, for fuzzing."""

from __future__ import annotations

import numpy as np

ODD_BYTES = (b"", b"nan", b"-", b"\n", b"\x00", b"1e999", b"99999999", b"{", b'"', b"\xff", b"0.5")


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """A few bytes lost, changed or added, or cut off."""
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(content) + 1))
        kind = rng.integers(5)
        if kind == 0:
            content = content[:at]
        elif kind == 1:
            content = content[:at] + content[at + int(rng.integers(1, 40)) :]
        elif kind == 2:
            content = content[:at] + ODD_BYTES[rng.integers(len(ODD_BYTES))] + content[at:]
        elif kind == 3:
            content = content[:at] + bytes([rng.integers(256)]) + content[at + 1 :]
        else:
            content = content[:at] + content[at // 2 : at] + content[at:]
    return content
