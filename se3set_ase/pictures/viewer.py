"""Interactive 3-D views of hypergraphs in a notebook or browser, drawn by 3Dmol.js."""

from __future__ import annotations

import base64
import gzip
import html
import json
import os
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from se3set_ase.io.text import atom_names, formula
from se3set_ase.pictures.drawing import (
    FAINT,
    Drawable,
    atom_colour,
    atom_radius,
    fragment_colours,
    hull,
    oriented,
)

__all__ = ["View"]

#: Opacity of the hull of a fragment with weight one.
OPACITY = 0.5


class View:
    """An interactive view of one frame, or a film of several.

    Fragments are hulls, with their weights as opacity; the width of a bond is its weight. An atom
    under the mouse shows its name and fragments. The view is one page that includes 3Dmol.js and
    needs no network. A notebook displays it.

    Parameters
    ----------
    frames : frames of one molecule, at least one.
    captions : a line below each frame.
    width, height : size in a notebook, pixels.
    rate : frames per second.

    Raises
    ------
    ValueError : no frames, or frames of different molecules.
    """

    def __init__(
        self,
        frames: Sequence[Drawable],
        captions: Sequence[str] | None = None,
        *,
        width: int = 700,
        height: int = 480,
        rate: float = 12.0,
    ) -> None:
        if len(frames) == 0:
            raise ValueError("expected at least one frame, got none")
        numbers = frames[0].numbers
        for k, frame in enumerate(frames):
            if not np.array_equal(frame.numbers, numbers):
                raise ValueError(
                    f"expected frames of one molecule, got {formula(numbers)} "
                    f"and, in frame {k}, {formula(frame.numbers)}"
                )
        self._frames = frames
        self._size = width, height
        colours = fragment_colours(frames)
        symbols = [chemical_symbols[z] for z in numbers]
        self._title = formula(numbers)
        self._data = {
            "symbols": symbols,
            "names": [f"{symbol}{i}" for i, symbol in enumerate(symbols)],
            "colours": [atom_colour(z) for z in numbers],
            "radii": [atom_radius(z) for z in numbers],
            "rate": rate,
            "frames": [
                _frame(frame, positions, caption, colours)
                for frame, positions, caption in zip(
                    frames, oriented(frames), captions or [""] * len(frames), strict=True
                )
            ],
        }

    @property
    def html(self) -> str:
        """The whole page."""
        page = Template(_resource("view.html").decode())
        data = json.dumps(self._data, separators=(",", ":")).replace("<", "\\u003c")
        return page.substitute(title=self._title, data=data, library=_library())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page; any browser of 2023 or newer shows it."""
        Path(path).write_text(self.html, encoding="utf-8")

    def _repr_html_(self) -> str:
        # An iframe isolates 3Dmol.js from other scripts of the notebook.
        width, height = self._size
        return (
            f'<iframe srcdoc="{html.escape(self.html)}" width="{width}" height="{height}" '
            f'style="border:0;max-width:100%" title="{self._title}"></iframe>'
        )

    def __repr__(self) -> str:
        return f"View({self._title}, {len(self._frames)} frames)"


def _frame(
    frame: Drawable, positions: np.ndarray, caption: str, colours: dict[tuple[int, ...], str]
) -> dict[str, Any]:
    """The data of one frame for the page."""
    numbers = frame.numbers
    hulls = []
    for atoms, weight in frame.fragments:
        if weight < FAINT:
            continue
        members = list(atoms)
        vertices, normals, faces = hull(positions[members], numbers[members])
        symbols = [chemical_symbols[numbers[i]] for i in members]
        name = f"{formula(numbers, atoms)}: {atom_names('fragment', atoms, symbols)}"
        hulls.append(
            {
                "vertices": vertices.round(2).tolist(),
                "normals": normals.round(2).tolist(),
                "faces": faces.tolist(),
                "colour": colours[atoms],
                "opacity": round(OPACITY * weight, 3),
                "weight": round(weight, 3),
                "atoms": members,
                "formula": formula(numbers, atoms),
                "name": name if weight >= 0.995 else f"{name}, weight {weight:.2f}",
            }
        )
    return {
        "positions": positions.round(3).tolist(),
        "bonds": [[i, j, round(weight, 3)] for (i, j), weight in frame.bonds],
        "hulls": hulls,
        "caption": caption,
    }


@cache
def _library() -> str:
    """The compressed source of 3Dmol.js."""
    return base64.b64encode(gzip.compress(_resource("3Dmol-min.js"), mtime=0)).decode()


def _resource(name: str) -> bytes:
    return files("se3set_ase.pictures").joinpath("javascript", name).read_bytes()
