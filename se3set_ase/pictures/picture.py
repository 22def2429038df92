"""Still pictures of a hypergraph with matplotlib: no window, no browser, no global state."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Patch
from scipy.spatial import ConvexHull

from se3set_ase.io.text import formula
from se3set_ase.pictures.drawing import (
    FAINT,
    Drawable,
    atom_colour,
    atom_radius,
    fragment_colours,
    hull_radii,
    oriented,
)

__all__ = ["Picture"]

_SCALE = 0.62  # inches per Angstrom
_INK = "#30343A"


class Picture(Figure):
    """A picture of a hypergraph, seen along the shortest axis of the molecule.

    Fragments are hulls, with their weights as opacity. The width of a bond is its weight; bonds
    below one half are dashed. This is a matplotlib figure: ``savefig("molecule.svg")`` writes it,
    and a notebook displays it.

    Parameters
    ----------
    frame : the hypergraph.
    labels : show atom numbers.
    """

    def __init__(self, frame: Drawable, *, labels: bool = True) -> None:
        numbers, (positions,) = frame.numbers, oriented([frame])
        flat = positions[:, :2]
        low, high = flat.min(axis=0) - 1.0, flat.max(axis=0) + 1.0
        width, height = np.maximum(_SCALE * (high - low), 1.5)
        shown = [(atoms, weight) for atoms, weight in frame.fragments if weight >= FAINT]
        height = max(height, 0.25 * len(shown))
        super().__init__(figsize=(width + 2.6, height), layout="constrained")
        FigureCanvasAgg(self)
        axes = self.subplots()
        colours = fragment_colours([frame])
        for atoms, weight in sorted(shown, key=lambda pair: -len(pair[0])):
            _draw_hull(axes, positions[list(atoms)], numbers[list(atoms)], weight, colours[atoms])
        for (i, j), weight in frame.bonds:
            depth = 2.0 + 1e-3 * (positions[i, 2] + positions[j, 2])
            _draw_bond(axes, flat[[i, j]], [atom_colour(numbers[k]) for k in (i, j)], weight, depth)
        for i, position in enumerate(positions):
            _draw_atom(axes, position, int(numbers[i]), f"{i}" if labels else "")
        self.legend(
            handles=[_swatch(numbers, *fragment, colours[fragment[0]]) for fragment in shown],
            loc="outside right center",
            frameon=False,
            fontsize=9,
            labelcolor=_INK,
        )
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
        axes.set_axis_off()

    def _repr_svg_(self) -> str:
        buffer = io.StringIO()
        self.savefig(buffer, format="svg")
        return buffer.getvalue()


def _draw_hull(
    axes: Any, positions: np.ndarray, numbers: np.ndarray, weight: float, colour: str
) -> None:
    angles = np.linspace(0.0, 2.0 * np.pi, 48, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    discs = positions[:, None, :2] + hull_radii(numbers)[:, None, None] * circle
    outline = discs.reshape(-1, 2)
    corners = outline[ConvexHull(outline).vertices]
    axes.fill(*corners.T, facecolor=colour, alpha=0.30 * weight, lw=0, zorder=0)
    axes.fill(*corners.T, facecolor="none", edgecolor=colour, alpha=weight, lw=1.2, zorder=1)


def _draw_bond(
    axes: Any, ends: np.ndarray, colours: list[str], weight: float, depth: float
) -> None:
    """Draw each half of a bond in the colour of its atom, with a dark outline."""
    middle = ends.mean(axis=0)
    style: dict[str, Any] = {"solid_capstyle": "butt", "zorder": depth}
    if weight <= 0.5:
        axes.plot(*ends.T, color=_INK, lw=1.2, ls=(0, (2, 2)), alpha=0.3 + weight, **style)
        return
    axes.plot(*ends.T, color=_INK, lw=1.4 + 5.0 * weight, **style)
    for end, colour in zip(ends, colours, strict=True):
        axes.plot(*np.stack([end, middle]).T, color=colour, lw=5.0 * weight, **style)


def _draw_atom(axes: Any, position: np.ndarray, number: int, label: str) -> None:
    x, y, z = position
    depth = 2.0 + 2e-3 * z + 1e-3
    colour = atom_colour(number)
    radius = atom_radius(number)
    axes.add_patch(Circle((x, y), radius, fc=colour, ec=_INK, lw=1.0, zorder=depth))
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    bright = 0.30 * red + 0.59 * green + 0.11 * blue > 150
    axes.text(
        x,
        y,
        label,
        ha="center",
        va="center_baseline",
        fontsize=7 if number == 1 else 9,
        color=_INK if bright else "white",
        zorder=depth,
    )


def _swatch(numbers: np.ndarray, atoms: tuple[int, ...], weight: float, colour: str) -> Any:
    names = " ".join(f"{chemical_symbols[numbers[i]]}{i}" for i in atoms[:4])
    names += " ..." if len(atoms) > 4 else ""
    text = f"{formula(numbers, atoms)}: {names}" + (f", {weight:.2f}" if weight < 0.995 else "")
    return Patch(facecolor=colour, alpha=0.25 + 0.6 * weight, label=text)
