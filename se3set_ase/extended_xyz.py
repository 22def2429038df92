"""Extended XYZ: what is written can be read again, what is damaged is refused."""

from __future__ import annotations

import lzma
import warnings
import zlib
from collections.abc import Iterator, Sequence
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import chemical_symbols
from ase.io import iread, read, write
from ase.io.extxyz import key_val_str_to_dict
from ase.io.formats import open_with_compression

__all__ = ["as_text", "frames_of_file", "of_text", "that_text_keeps", "whole_frames"]

#: Stands behind everything else in a trial.
LAST = "se3set_ase_last"
#: What the frames have that are written.
RESULTS = {"energy": 0.0, "forces": np.zeros((1, 3))}
#: Lines that a reader may ask for behind the last one: a moment, after which ASE names the frame.
PAST_END = 1_000_000
#: With a dummy, 0.
N_ELEMENTS = len(chemical_symbols)
#: Of the number of columns of a property.
MAX_DIGITS = 5


class _Lines(TextIOWrapper):
    """Text with an end: ASE's reader takes a count of atoms at its word, 9999999999 too, and asks
    for as many lines, hours long."""

    _past_end = 0

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]
        line = super().readline(size)
        self._past_end = 0 if line else self._past_end + 1
        if self._past_end > PAST_END:
            raise ValueError("the file ends before the last of the atoms that its frame counts")
        return line


def frames_of_file(path: Path, format: str | None = None) -> Iterator[Atoms]:
    """One by one, of a file that ASE reads, by its name or content where no format is given.

    Raises ValueError for a damaged compressed file and for atoms of no element, and whatever ASE's
    readers run into.
    """
    for atoms in _frames(path, format):
        if len(atoms) and not 0 <= atoms.numbers.min() <= atoms.numbers.max() < N_ELEMENTS:
            raise ValueError(f"expected atomic numbers below {N_ELEMENTS}, got {atoms.numbers}")
        yield atoms


def _frames(path: Path, format: str | None) -> Iterator[Atoms]:
    packed = path.suffix in (".gz", ".bz2", ".xz")
    name = path.with_suffix("") if packed else path
    if format != "extxyz" and name.suffix.lower() not in (".xyz", ".extxyz"):
        yield from iread(path, ":", format=format, do_not_split_by_at_sign=True)
        return
    with open_with_compression(str(path), "rb") as file:
        if packed:  # once: ASE would unpack it again for each frame
            try:
                file = BytesIO(file.read())
            except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
                raise ValueError(
                    f"{path}: expected a whole compressed file, got: {error}"
                ) from error
        with _Lines(file, encoding="utf-8") as lines:
            yield from iread(lines, ":", format="extxyz", properties_parser=_info)


def _info(comment: str) -> dict[str, Any]:
    """Of a frame; ValueError for columns that no line has, which ASE would make place for."""
    info: dict[str, Any] = key_val_str_to_dict(comment)
    columns = str(info.get("Properties", "")).split(":")[2::3]
    if any(len(count) > MAX_DIGITS for count in columns):
        raise ValueError(f"expected fewer columns of a property, got {max(columns, key=len)}")
    return info


def as_text(frames: Sequence[Atoms]) -> str:
    """Of frames, with their results."""
    text = StringIO()
    write(text, list(frames), format="extxyz")
    return text.getvalue()


def of_text(text: str) -> list[Atoms]:
    """Back from :func:`as_text`."""
    if not text:
        return []
    return list(read(StringIO(text), ":", format="extxyz", properties_parser=_info))


def that_text_keeps(info: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """Of the ``info`` of a frame with results what can be read back, and the names of the rest."""
    if _is_kept(info):
        return info, set()
    kept = {key: value for key, value in info.items() if _is_kept({key: value})}
    return kept, {str(key) for key in info.keys() - kept.keys()}


def _is_kept(info: dict[str, Any]) -> bool:
    """ASE writes what it cannot read, or reads as results, as other words, or with what follows."""
    frames = [Atoms("H", info={**info, LAST: True}), Atoms("H")]
    frames[0].calc = SinglePointCalculator(frames[0], **RESULTS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            text = StringIO(as_text(frames), newline=None).read()  # as of a file
            back = of_text(text)
    except Exception:  # whatever its writer or its parser ran into
        return False
    results = getattr(back[0].calc, "results", {})
    if len(back) != len(frames) or results.keys() != RESULTS.keys():
        return False
    found = {key: value for key, value in back[0].info.items() if key != LAST}
    # What looks like a number is read as one, which its reader expects; a word must be the same.
    words = [key for key, value in found.items() if isinstance(value, str)]
    return back[0].info.keys() == {*info, LAST} and all(found[key] == info[key] for key in words)


def whole_frames(text: str) -> int:
    """Characters of the frames that are complete: all, or all but one that was being written.

    ValueError where more would be lost, since what follows is no such frame.
    """
    lines = text.split("\n")  # as ASE does: other characters that end lines may be in a comment
    end = 0
    while end < len(lines) - 1:  # after the last newline is nothing, or a torn line
        count = lines[end].strip()
        after = end + 2 + int(count) if count.isdecimal() else len(lines)
        if after > len(lines) - 1:
            break
        end = after
    torn = [line.strip().isdecimal() for line in lines[end:]]
    if len(torn) > 1 and (not torn[0] or any(torn[1:])):
        raise ValueError(f"expected a frame of extended XYZ, got line {end + 1} {lines[end]!r:.60}")
    return sum(len(line) + 1 for line in lines[:end])
