"""Extended XYZ: writes only what can be read again, and refuses damaged files."""

from __future__ import annotations

import itertools
import lzma
import re
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
    "as_text",
    "complete_frames",
    "frames_of_file",
    "from_text",
    "storable_info",
    "unstorable_arrays",
]

#: Key that marks the end of ``info`` in frames written as a test.
LAST = "se3set_ase_last"
#: Arrays that every frame has.
ARRAYS = {"numbers", "positions"}
#: Results of frames written as a test.
RESULTS = {"energy": 0.0, "forces": np.zeros((1, 3))}
#: Number of lines that ASE may request after the end of a file before the frame is refused.
PAST_END = 1_000_000
#: Largest number of columns of all properties together.
MAX_COLUMNS = 10_000


#: A declaration in a comment, such as ``charge: -1``.
DECLARATION = re.compile(
    r"\b(?P<name>(?:total[ _]?)?charge|(?:spin[ _])?multiplicity|mult)\s*[:=]\s*"
    r"(?P<value>[-+]?\d+)\b",
    re.IGNORECASE,
)
#: A comment that consists of charge and multiplicity, as many programs write it.
BARE_DECLARATION = re.compile(r"\s*([-+]?\d+)\s+\+?0*([1-9]\d*)\s*", re.ASCII)


class _Lines(TextIOWrapper):
    """Text that raises ValueError if far too many lines are requested.

    ASE's reader trusts the number of atoms in a file. For 9999999999 it would run for hours.
    """

    _past_end = 0

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]
        line = super().readline(size)
        self._past_end = 0 if line else self._past_end + 1
        if self._past_end > PAST_END:
            raise ValueError("the file ends before the last of the atoms of the frame")
        return line


def frames_of_file(path: Path, format: str | None = None) -> Iterator[Atoms]:
    """Yield the frames of a file that ASE reads; the format is guessed if it is not given.

    Raises
    ------
    OSError : no such file, or no permission to read it.
    ValueError : a frame cannot be read; the error has its number, from 0. Damaged extended XYZ
        (more atoms than lines, more columns than a line has) is refused at once.
    """
    frames = _frames(path, format)
    for index in itertools.count():
        try:
            atoms = next(frames, None)
            if atoms is not None and len(atoms):
                check_numbers(atoms.numbers)
        except (FileNotFoundError, IsADirectoryError, PermissionError):
            raise
        except Exception as error:  # ASE's readers raise any type of error
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
        if packed:  # once, because ASE decompresses the file for each frame
            try:
                file = BytesIO(file.read())
            except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
                raise ValueError(f"expected a complete compressed file, got: {error}") from error
        with _Lines(file, encoding="utf-8") as lines:
            yield from iread(lines, ":", format="extxyz", properties_parser=_info)


def _info(comment: str) -> dict[str, Any]:
    """``info`` of a frame, with charge and multiplicity from comments of other programs.

    These may be named (``charge: -1``), or the whole comment, such as ``0 3``. ValueError for too
    many columns, for which ASE allocates memory.
    """
    if bare := BARE_DECLARATION.fullmatch(comment):
        return {"charge": int(bare[1]), "spin_multiplicity": int(bare[2])}
    info: dict[str, Any] = key_val_str_to_dict(comment)
    for found in DECLARATION.finditer(comment):
        kind = "charge" if "charge" in found["name"].lower() else "spin_multiplicity"
        info.setdefault(kind, int(found["value"]))
    columns = sum(int(count) for count in str(info.get("Properties", "")).split(":")[2::3])
    if columns > MAX_COLUMNS:
        raise ValueError(f"expected at most {MAX_COLUMNS} columns, got {columns}")
    return info


def as_text(frames: Sequence[Atoms]) -> str:
    """Extended XYZ of frames with their results."""
    text = StringIO()
    write(text, list(frames), format="extxyz")
    return text.getvalue()


def from_text(text: str) -> list[Atoms]:
    """The inverse of :func:`as_text`."""
    if not text:
        return []
    return list(read(StringIO(text), ":", format="extxyz", properties_parser=_info))


def storable_info(info: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """The entries of ``info`` that extended XYZ can store, and the names of the others."""
    if _is_storable(info):
        return info, set()
    kept = {key: value for key, value in info.items() if _is_storable({key: value})}
    return kept, {str(key) for key in info.keys() - kept.keys()}


def unstorable_arrays(atoms: Atoms) -> set[str]:
    """Names of arrays that ASE cannot write, or whose empty strings shift other columns."""
    return {name for name in atoms.arrays.keys() - ARRAYS if not _is_storable_array(atoms, name)}


def _is_storable_array(atoms: Atoms, name: str) -> bool:
    bare = Atoms(atoms.numbers, atoms.positions)
    forces = np.ones((len(atoms), 3))
    bare.calc = SinglePointCalculator(bare, energy=0.0, forces=forces)
    bare.arrays[name] = atoms.arrays[name]
    try:
        (back,) = from_text(as_text([bare]))
        return np.array_equal(back.get_forces(), forces)
    except Exception:  # any error of its writer or parser
        return False


def _is_storable(info: dict[str, Any]) -> bool:
    """Whether ASE reads these entries back as they are, and not as results or other text."""
    frames = [Atoms("H", info={**info, LAST: True}), Atoms("H")]
    frames[0].calc = SinglePointCalculator(frames[0], **RESULTS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            text = StringIO(as_text(frames), newline=None).read()  # as from a file
            back = from_text(text)
    except Exception:  # any error of its writer or parser
        return False
    results = getattr(back[0].calc, "results", {})
    if len(back) != len(frames) or results.keys() != RESULTS.keys():
        return False
    found = {key: value for key, value in back[0].info.items() if key != LAST}
    # Text that looks like a number is read as one; other text must be the same.
    texts = [key for key, value in found.items() if isinstance(value, str)]
    return back[0].info.keys() == {*info, LAST} and all(found[key] == info[key] for key in texts)


def complete_frames(text: str) -> int:
    """Number of characters of the complete frames; the last frame may be half written.

    Raises ValueError if the rest is not a half-written frame.
    """
    lines = text.split("\n")  # as ASE does: comments may have other line separators
    end = 0
    while end < len(lines) - 1:  # after the last newline is nothing or an incomplete line
        count = lines[end].strip()
        after = end + 2 + int(count) if count.isdecimal() else len(lines)
        if after > len(lines) - 1:
            break
        end = after
    rest = [line.strip() for line in lines[end:]]
    if any(rest[1:]) and (not rest[0].isdecimal() or any(map(str.isdecimal, rest[1:]))):
        raise ValueError(f"expected a frame of extended XYZ, got line {end + 1} {rest[0]!r:.60}")
    return sum(len(line) + 1 for line in lines[:end])
