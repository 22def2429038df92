"""Files of molecules: compressed files are read like others, damaged files are refused at once."""

from __future__ import annotations

import bz2
import gzip
import lzma
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.io import read, write
from made_up_data import frames as made_up_frames

from se3set_ase.cli.console import count_frames
from se3set_ase.cli.console import read_frames as read_by_command
from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.io.extended_xyz import frames_of_file
from se3set_ase.train.data import read_frames as read_to_train
from se3set_ase.visualize.molecule import show

#: Number of lines that ASE's reader alone would request for a minute.
COUNT = 99_999_999

#: Seconds. Reading that many lines takes ten.
AT_ONCE = 1.0

READERS: dict[str, Callable[[Path], object]] = {
    "frames_of_file": lambda path: list(frames_of_file(path)),
    "command": lambda path: list(read_by_command(path)),
    "train": lambda path: read_to_train(path, HypergraphConfig()),
    "show": show,
}


@pytest.mark.parametrize("name", ["many.xyz", "many.xyz.gz", "many"])
@pytest.mark.parametrize("n_complete", [0, 2])
@pytest.mark.parametrize("reader", READERS)
def test_more_atoms_than_lines_are_refused_at_once(
    reader: str, n_complete: int, name: str, tmp_path: Path
) -> None:
    path, plain = tmp_path / name, tmp_path / "plain.xyz"
    write(plain, made_up_frames(n_complete), format="extxyz")
    text = plain.read_text() + f"{COUNT}\n\nO 0.0 0.0 0.0\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    with pytest.raises(ValueError, match="the file ends before the last of the atoms"):
        READERS[reader](path)


def test_more_columns_than_a_line_has_are_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "wide.xyz"
    text = "1\nProperties=species:S:1:pos:R:{}\nO 0.0 0.0 0.0\n"
    path.write_text(text.format(3))
    assert len(list(frames_of_file(path))) == 1
    path.write_text(text.format("6:a:R:".join(["9999"] * 3)))
    with pytest.raises(ValueError, match="at most 10000 columns, got"):
        list(read_by_command(path))
    path.write_text(text.format(COUNT))
    with pytest.raises(ValueError, match=f"frame 0 of .*at most 10000 columns, got {COUNT + 1}"):
        list(read_by_command(path))


@pytest.mark.parametrize("number", [-1, 119, 10**9])
def test_invalid_atomic_numbers_are_refused(number: int, tmp_path: Path) -> None:
    path = tmp_path / "odd.xyz"
    path.write_text(f"1\nProperties=Z:I:1:pos:R:3\n{number} 0.0 0.0 0.0\n")
    with pytest.raises(ValueError, match="expected atomic numbers from 0 to 118, got "):
        list(read_by_command(path))


@pytest.mark.parametrize(
    ("odd", "count"),
    [
        (f"{COUNT}\n", 3),
        (f"{'9' * 5000}\n", None),
        ("\u00b2\n", None),
        ("-1\n", None),
        ("           0\n\n", 3),
    ],
    ids=["count", "digits", "letter", "sign", "padded"],
)
def test_frames_of_a_damaged_file_are_counted_at_once(
    odd: str, count: int | None, tmp_path: Path
) -> None:
    path = tmp_path / "many.xyz"
    write(path, [molecule("H2O"), molecule("CO")], format="extxyz")
    assert count_frames(path) == 2
    with open(path, "a", encoding="utf-8") as file:
        file.write(odd)
    start = time.process_time()
    assert count_frames(path) == count
    assert time.process_time() - start < AT_ONCE


@pytest.mark.parametrize(
    ("ending", "compress"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)]
)
def test_a_compressed_file_is_read_like_others(
    ending: str, compress: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    plain = tmp_path / "plain.xyz"
    write(plain, [molecule("H2O"), molecule("CO"), molecule("CH4")], format="extxyz")
    path = tmp_path / f"packed.xyz.{ending}"
    content = compress(plain.read_bytes())
    path.write_bytes(content)
    expected = read(plain, ":")
    found = list(frames_of_file(path))
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert (a.numbers == b.numbers).all()
        assert np.array_equal(a.positions, b.positions)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(
        ValueError, match=rf"packed\.xyz\.{ending}: expected a complete compressed file"
    ):
        list(frames_of_file(path))


def test_an_at_sign_in_a_name_is_not_an_index(tmp_path: Path) -> None:
    path = tmp_path / "md@300K.xyz"
    write(tmp_path / "md.xyz", [molecule("H2O"), molecule("H2O")])
    (tmp_path / "md.xyz").rename(path)
    assert len(list(read_by_command(path))) == 2
    show(path)  # without such a file it is one, as in ASE
    path.rename(tmp_path / "md.xyz")
    show(f"{tmp_path / 'md.xyz'}@0:1")
