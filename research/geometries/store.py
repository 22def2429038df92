"""Command line of the scripts that append geometries to a file; interrupted runs resume."""

from __future__ import annotations

import argparse
import io
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms
from ase.io import iread, write
from rdkit import rdBase
from tqdm import tqdm

from research.geometries.sampling import generator

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A molecule or cluster: SMILES, with dots between molecules, and its kind."""

    smiles: str
    kind: str


#: Makes the geometries of an entry for a seed and the number of a draw.
Sampler = Callable[[Entry, int, int], list[Atoms]]


def command(
    entries: Callable[[int], Sequence[Entry]], sampler: Sampler, argv: list[str] | None = None
) -> None:
    """Parse the command line and make the geometries.

    Parameters
    ----------
    entries : returns the entries for a seed.
    sampler : makes their geometries.
    argv : arguments; those of the command line by default.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--draws", type=int, default=1, help="number of draws of each molecule")
    parser.add_argument("--frames", type=int, default=10**9, help="stop at this number of frames")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args(argv)
    rdBase.DisableLog("rdApp.*")
    append(
        arguments.output,
        entries(arguments.seed),
        sampler,
        seed=arguments.seed,
        draws=arguments.draws,
        most=arguments.frames,
    )


def append(
    path: Path, entries: Sequence[Entry], sampler: Sampler, *, seed: int, draws: int, most: int
) -> None:
    """Append the geometries that are not in a file yet, one draw of all entries after another.

    The frames of an entry are written at once. Entries without geometries are listed in a file
    next to it, ``NAME.empty``, and are not tried again; errors are logged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    empty = path.with_suffix(".empty")
    done, count = finished(path)
    if empty.exists():
        done |= set(empty.read_text().splitlines())
    for draw in range(draws):
        order = generator("order", seed, draw).permutation(len(entries))
        for k in tqdm(order, f"{path.stem} {draw}", disable=None):
            entry = entries[int(k)]
            name = f"{draw} {entry.smiles}"
            if count >= most:
                return
            if name in done:
                continue
            done.add(name)
            try:
                frames = sampler(entry, seed, draw)
            except (RuntimeError, ValueError):  # a failure does not affect other entries
                logger.exception("no geometry of %s", name)
                frames = []
            if not frames:
                _append_text(empty, f"{name}\n")
                continue
            text = io.StringIO()
            write(text, frames, format="extxyz")
            _append_text(path, text.getvalue())
            count += len(frames)


def finished(path: Path) -> tuple[set[str], int]:
    """Read which draws and entries are in a file, and its number of frames."""
    if not path.exists():
        return set(), 0
    names, count = set(), 0
    for atoms in iread(path, format="extxyz"):
        names.add(f"{atoms.info['draw']} {atoms.info['start']}")
        count += 1
    return names, count


def _append_text(path: Path, text: str) -> None:
    """Append text in one write, so that a reader never sees part of a frame."""
    with path.open("ab", buffering=0) as file:
        file.write(text.encode())
