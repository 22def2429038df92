"""Shared by pictures of a hypergraph: colours, names, and hulls around atoms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Protocol

import numpy as np
from ase.data import chemical_symbols
from ase.data.colors import jmol_colors
from scipy.spatial import ConvexHull

__all__ = [
    "Drawable",
    "atom_colour",
    "atom_radius",
    "fragment_colours",
    "hull",
    "hull_radii",
    "oriented",
]

#: Colours for colour-blind readers (Okabe and Ito, 2008), without black.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
#: Jaccard index above which two fragments count as the same one, grown or shrunk.
ALIKE = 0.4
#: Hulls with a smaller weight are invisible and left out.
FAINT = 0.01
_ELEMENTS = {"H": "#F4F4F4", "C": "#7D838A", "N": "#3B62D0", "O": "#DB3A34"}

Fragment = tuple[int, ...]


class Drawable(Protocol):
    """A hypergraph at one geometry, such as :class:`se3set_ase.hypergraph.WeightedHypergraph`."""

    @property
    def numbers(self) -> np.ndarray:
        """(N,) atomic numbers."""

    @property
    def positions(self) -> np.ndarray:
        """(N, 3), Angstrom."""

    @property
    def bonds(self) -> Sequence[tuple[tuple[int, int], float]]:
        """Atoms and weight of every bond."""

    @property
    def fragments(self) -> Sequence[tuple[Fragment, float]]:
        """Atoms and weight of every fragment."""


def atom_colour(number: int) -> str:
    """Colour of an element as ``#RRGGBB``."""
    symbol = chemical_symbols[number]
    last = len(jmol_colors) - 1  # meitnerium: heavier elements have the same colour
    red, green, blue = (round(255 * x) for x in jmol_colors[min(number, last)])
    return _ELEMENTS.get(symbol, f"#{red:02X}{green:02X}{blue:02X}")


def atom_radius(number: int) -> float:
    """Radius of the sphere of an atom, Angstrom."""
    return 0.22 if number == 1 else 0.33


def hull_radii(numbers: np.ndarray) -> np.ndarray:
    """Radii (n,) of the spheres inside a hull, Angstrom."""
    return np.where(np.asarray(numbers) == 1, 0.50, 0.75)


def fragment_colours(frames: Iterable[Drawable]) -> dict[Fragment, str]:
    """A colour for every fragment of some frames of one molecule.

    A fragment that has grown or shrunk keeps its colour; otherwise neighbours in the list of
    fragments have different colours.
    """
    colours: dict[Fragment, str] = {}
    used = dict.fromkeys(PALETTE, 0)
    for frame in frames:
        for atoms, _ in sorted(frame.fragments, key=lambda pair: (-pair[1], -len(pair[0]))):
            if atoms in colours:
                continue
            members = set(atoms)
            alike = {
                other: len(members.intersection(other)) / len(members.union(other))
                for other in colours
            }
            nearest = max(alike, key=alike.__getitem__, default=None)
            if nearest is not None and alike[nearest] >= ALIKE:
                colours[atoms] = colours[nearest]
            else:
                colours[atoms] = min(PALETTE, key=used.__getitem__)
                used[colours[atoms]] += 1
    return colours


def oriented(frames: Sequence[Drawable]) -> list[np.ndarray]:
    """Positions (N, 3) of each frame, Angstrom, rotated for a view along the third axis.

    The principal axes of the first frame are horizontal, vertical and towards the viewer. Each
    other frame is superimposed on the previous one (Kabsch, 1976).
    """
    placed: list[np.ndarray] = []
    for frame in frames:
        centred = frame.positions - frame.positions.mean(axis=0)
        if placed:
            left, _, right = np.linalg.svd(centred.T @ placed[-1])
        else:
            left, right = np.eye(3), np.linalg.svd(centred, full_matrices=True)[2].T
        turn = left @ right
        if np.linalg.det(turn) < 0:  # no mirror images
            turn = (left * [1.0, 1.0, -1.0]) @ right
        placed.append(centred @ turn)
    return placed


def hull(positions: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The convex hull of spheres around atoms, as a mesh.

    Parameters
    ----------
    positions : (n, 3) Angstrom.
    numbers : (n,) atomic numbers.

    Returns
    -------
    Vertices (V, 3) in Angstrom, outward normals (V, 3) for smooth shading, and triangles (T, 3),
    counterclockwise from outside.
    """
    directions = _sphere()
    points = positions[:, None] + hull_radii(numbers)[:, None, None] * directions
    points = points.reshape(-1, 3)
    found = ConvexHull(points)
    corners = points[found.simplices]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    inward = np.einsum("tx,tx->t", normals, found.equations[:, :3]) < 0
    faces = found.simplices.copy()
    faces[inward] = faces[inward][:, ::-1]
    kept, faces = np.unique(faces, return_inverse=True)
    return points[kept], directions[kept % len(directions)], faces.reshape(-1, 3)


@cache
def _sphere(n_points: int = 60) -> np.ndarray:
    """Uniformly distributed unit vectors (P, 3), on a Fibonacci spiral."""
    k = np.arange(n_points) + 0.5
    height, angle = 1 - 2 * k / n_points, np.pi * (1 + 5**0.5) * k
    across = np.sqrt(1 - height**2)
    return np.stack([across * np.cos(angle), across * np.sin(angle), height], axis=1)
