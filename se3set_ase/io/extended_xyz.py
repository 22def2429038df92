"""Extended XYZ: what is written can be read again, what is damaged is refused."""

from __future__ import annotations

import itertools
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
from ase.io import iread, read, write
from ase.io.extxyz import key_val_str_to_dict
from ase.io.formats import filetype, open_with_compression

from se3set_ase.system import check_numbers

__all__ = [
    "arrays_that_text_loses",
    "as_text",
    "frames_of_file",
    "of_text",
    "that_text_keeps",
    "whole_frames",
]

#: Stands behind everything else in a trial.
LAST = "se3set_ase_last"
#: Every frame has these.
ARRAYS = {"numbers", "positions"}
#: What the frames have that are written.
RESULTS = {"energy": 0.0, "forces": np.zeros((1, 3))}
#: Lines that a reader may ask for behind the last one: a moment, after which ASE names the frame.
PAST_END = 1_000_000
#: Of all properties.
MAX_COLUMNS = 10_000


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

    Raises
    ------
    OSError : no such file, or none that may be read.
    ValueError : a frame that cannot be read, by its number from 0. Of extended XYZ, what a damaged
        file may say (more atoms than lines, more columns than a line has) is refused at once.
    """
    frames = _frames(path, format)
    for index in itertools.count():
        try:
            atoms = next(frames, None)
            if atoms is not None and len(atoms):
                check_numbers(atoms.numbers)
        except (FileNotFoundError, IsADirectoryError, PermissionError):
            raise
        except Exception as error:  # ASE's readers fail with whatever their parser ran into
            raise ValueError(
                f"cannot read frame {index} of {path}: {error or type(error).__name__}; "
                "expected a file that ASE reads, such as extended XYZ"
            ) from error
        if atoms is None:
            return
        yield atoms


def _frames(path: Path, format: str | None) -> Iterator[Atoms]:
    packed = path.suffix in (".gz", ".bz2", ".xz")
    name = path.with_suffix("") if packed else path
    named = name.suffix.lower() in (".xyz", ".extxyz")
    if not named and (format or filetype(str(path))) != "extxyz":
        yield from iread(path, ":", format=format, do_not_split_by_at_sign=True)
        return
    with open_with_compression(str(path), "rb") as file:
        if packed:  # once: ASE would unpack it again for each frame
            try:
                file = BytesIO(file.read())
            except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
                raise ValueError(f"expected a whole compressed file, got: {error}") from error
        with _Lines(file, encoding="utf-8") as lines:
            yield from iread(lines, ":", format="extxyz", properties_parser=_info)


def _info(comment: str) -> dict[str, Any]:
    """Of a frame; ValueError for columns that no line has, which ASE would make place for."""
    info: dict[str, Any] = key_val_str_to_dict(comment)
    columns = sum(int(count) for count in str(info.get("Properties", "")).split(":")[2::3])
    if columns > MAX_COLUMNS:
        raise ValueError(f"expected at most {MAX_COLUMNS} columns, got {columns}")
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


def arrays_that_text_loses(atoms: Atoms) -> set[str]:
    """Names of the arrays that ASE cannot write, or that shift what follows: empty words."""
    return {name for name in atoms.arrays.keys() - ARRAYS if not _array_is_kept(atoms, name)}


def _array_is_kept(atoms: Atoms, name: str) -> bool:
    bare = Atoms(atoms.numbers, atoms.positions)
    forces = np.ones((len(atoms), 3))
    bare.calc = SinglePointCalculator(bare, energy=0.0, forces=forces)
    bare.arrays[name] = atoms.arrays[name]
    try:
        (back,) = of_text(as_text([bare]))
        return np.array_equal(back.get_forces(), forces)
    except Exception:  # whatever its writer or its parser ran into
        return False


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
    rest = [line.strip() for line in lines[end:]]
    if any(rest[1:]) and (not rest[0].isdecimal() or any(map(str.isdecimal, rest[1:]))):
        raise ValueError(f"expected a frame of extended XYZ, got line {end + 1} {rest[0]!r:.60}")
    return sum(len(line) + 1 for line in lines[:end])
