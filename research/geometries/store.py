"""Command lines that append geometries to a file, draw by draw, and can be stopped and resumed."""

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
    """One molecule or cluster to make geometries of: SMILES (molecules by dots) and its kind."""

    smiles: str
    kind: str


#: Geometries of an entry, for a seed and the number of the draw.
Sampler = Callable[[Entry, int, int], list[Atoms]]


def command(
    entries: Callable[[int], Sequence[Entry]], sampler: Sampler, argv: list[str] | None = None
) -> None:
    """Parse the command line and make the geometries.

    Parameters
    ----------
    entries : to make geometries of, for a seed.
    sampler : makes them.
    argv : arguments, of the command line by default.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--draws", type=int, default=1, help="times that each molecule is sampled")
    parser.add_argument("--frames", type=int, default=10**9, help="stop when the file has as many")
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
    """Append the geometries that a file does not have yet, one draw of every entry after another.

    The frames of an entry are written at once. Entries without geometries are listed in a file
    next to it, ``NAME.empty``, and not tried again; errors are logged. A stopped run resumes.
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
            except (RuntimeError, ValueError):  # one entry costs the others nothing
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
    """Draws and entries that a file has geometries of, and its number of frames."""
    if not path.exists():
        return set(), 0
    names, count = set(), 0
    for atoms in iread(path, format="extxyz"):
        names.add(f"{atoms.info['draw']} {atoms.info['start']}")
        count += 1
    return names, count


def _append_text(path: Path, text: str) -> None:
    """In one write, so that a reader sees whole frames."""
    with path.open("ab", buffering=0) as file:
        file.write(text.encode())
