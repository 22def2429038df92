"""What a learning run has on disk, from which it resumes after it was stopped at any point.

::

    my-model/
      model.json, weights.safetensors, README.md, committee.json, member-1/ ...
      learning_curve.png, rounds.csv, test.xyz, path.xyz
      learning/
        settings.json       what decides the results: only the same settings resume
        start/              the first labels
        round-00/           candidates.xyz, labels.xyz, train.xyz, validation.xyz, row.json
        models/             trainings of the members
        test-05/            final test of the model of round 5

A file is written when its step is complete, and never changed afterwards; ``row.json`` is the last
one of a round.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms
from filelock import FileLock, Timeout

from se3set_ase.checkpoint.files import METADATA_FILE
from se3set_ase.checkpoint.registry import COMMITTEE_FILE
from se3set_ase.checkpoint.store import CARD_FILE
from se3set_ase.io.extended_xyz import as_text, frames_of_file
from se3set_ase.io.files import write_atomically

FOLDER, SETTINGS, ROW = "learning", "settings.json", "row.json"
CURVE, TABLE, TEST, PATH = "learning_curve.png", "rounds.csv", "test.xyz", "path.xyz"


class State:
    """The files of a run in the folder ``output``."""

    def __init__(self, output: Path):
        self.output = output
        self.folder = output / FOLDER
        self.models = self.folder / "models"

    def earlier_settings(self) -> dict[str, Any]:
        """The settings of an earlier run; empty if there is none."""
        path = self.folder / SETTINGS
        return read_json(path) if path.exists() else {}

    def check(self, settings: Mapping[str, Any], *, overwrite: bool) -> None:
        """Check that the folder is new, or that of a run with the same settings.

        Raises
        ------
        FileExistsError : the folder has something else.
        FileNotFoundError : the folder above it does not exist.
        ValueError : it belongs to a run with other settings.
        """
        if not self.output.parent.is_dir():
            raise FileNotFoundError(
                f"no folder {self.output.parent} to write {self.output.name} into"
            )
        if not self.output.exists():
            return
        if not self.output.is_dir():
            raise FileExistsError(f"{self.output} exists already; give another name")
        path = self.folder / SETTINGS
        if not path.exists():
            # A run that was stopped at once has left only its lock.
            if [p for p in self.output.iterdir() if p != self.folder]:
                raise FileExistsError(
                    f"{self.output} exists already, and no run of learn has made it; give another "
                    "name"
                )
            return
        if overwrite:
            return
        earlier = self.earlier_settings()
        ours = json.loads(json.dumps(settings))
        if other := [
            f"{key} {earlier.get(key)!r} instead of {ours.get(key)!r}"
            for key in sorted({*ours, *earlier})
            if earlier.get(key) != ours.get(key)
        ]:
            raise ValueError(
                f"{self.output} is from a run with other settings: {', '.join(other)}; give "
                "another name or overwrite it"
            )

    def begin(self, settings: Mapping[str, Any], *, overwrite: bool) -> None:
        """Write the settings; removes an earlier run if it is to be overwritten."""
        if overwrite:
            self._remove()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.models.mkdir(exist_ok=True)
        write_json(self.folder / SETTINGS, settings)

    def _remove(self) -> None:
        """Remove what a run writes, and nothing else; its settings last."""
        (self.output / COMMITTEE_FILE).unlink(missing_ok=True)
        for name in (METADATA_FILE, "weights.safetensors", CARD_FILE, CURVE, TABLE, TEST, PATH):
            (self.output / name).unlink(missing_ok=True)
        for member in self.output.glob("member-*"):
            shutil.rmtree(member)
        if self.folder.exists():
            for path in self.folder.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
            (self.folder / SETTINGS).unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder: two runs would label the same geometries."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = FileLock(self.folder / ".lock").acquire(timeout=0)
        except Timeout as error:
            raise FileExistsError(
                f"another run is writing to {self.output}; wait for it, or give another name"
            ) from error
        with lock:
            yield

    def place(self, name: str) -> Path:
        """A folder for one step."""
        path = self.folder / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def round(self, number: int) -> Path:
        """The folder of a round."""
        return self.place(f"round-{number:02d}")

    def rows(self) -> list[dict[str, Any]]:
        """Records of the finished rounds."""
        found: list[dict[str, Any]] = []
        while (path := self.folder / f"round-{len(found):02d}" / ROW).exists():
            found.append(read_json(path))
        return found

    @property
    def usable(self) -> bool:
        """Whether the output has a model."""
        return (self.output / METADATA_FILE).exists()


def read_json(path: Path) -> dict[str, Any]:
    """The content of a file; ValueError if it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); remove it to repeat its step") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged; remove it to repeat its step")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file completely or not at all."""
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


def read_frames(path: Path) -> list[Atoms]:
    """The geometries of a file; none if it does not exist or is empty."""
    if not path.exists() or not path.stat().st_size:
        return []
    return list(frames_of_file(path, "extxyz"))


def write_frames(path: Path, frames: Sequence[Atoms]) -> None:
    """Write a file completely or not at all."""
    write_atomically(path, as_text(frames).encode())
