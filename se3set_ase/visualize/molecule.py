"""Interactive views and still pictures of molecules with their hyperedges."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ase import Atoms
from ase.io import read

from se3set_ase.calculator import SE3SetCalculator
from se3set_ase.events.log import EventLog
from se3set_ase.hypergraph.build import build_hypergraph
from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.hypergraph.lattice import Lattice
from se3set_ase.hypergraph.weighted import WeightedHypergraph
from se3set_ase.io.extended_xyz import frames_of_file
from se3set_ase.io.text import atom_names, formula
from se3set_ase.nn.weighting import weighted_hypergraph
from se3set_ase.pictures.picture import Picture
from se3set_ase.pictures.viewer import View

__all__ = ["draw", "show"]


def show(
    molecule: Atoms | Sequence[Atoms] | str | os.PathLike[str],
    *,
    width: int = 700,
    height: int = 480,
    rate: float = 12.0,
) -> View:
    """An interactive view of a molecule with its hyperedges, or of a trajectory.

    Fragments are hulls, with their weights as opacity. A notebook displays the result;
    ``show(atoms).save("page.html")`` writes a page for a browser, which needs no network.

    Parameters
    ----------
    molecule : atoms, frames of one molecule, or a file that ASE reads. With an SE3SetCalculator
        its hypergraph is shown, otherwise that of the default settings.
    width, height : size in a notebook, pixels.
    rate : frames per second.

    Raises
    ------
    ValueError : no atoms, or frames of different molecules.
    FileNotFoundError : no such file.
    """
    if isinstance(molecule, str | os.PathLike):
        path = Path(molecule)  # ASE also reads names such as "md.traj@-10:"
        frames = list(frames_of_file(path)) if path.is_file() else read(molecule, ":")
    else:
        frames = [molecule] if isinstance(molecule, Atoms) else list(molecule)
    seen = [_seen(atoms) for atoms in frames]
    return View(seen, _captions(seen), width=width, height=height, rate=rate)


def draw(
    atoms: Atoms, path: str | os.PathLike[str] | None = None, *, labels: bool = True
) -> Picture:
    """A still picture of a molecule with its hyperedges, a figure of matplotlib.

    Parameters
    ----------
    atoms : one molecule; with a calculator as for :func:`show`.
    path : ``.png``, ``.svg`` or ``.pdf``; no file by default.
    labels : show atom numbers.

    Raises
    ------
    ValueError : no atoms, or an unknown file format.
    TypeError : the argument is not Atoms.
    """
    if not isinstance(atoms, Atoms):
        raise TypeError(f"expected Atoms to draw, got {atoms!r}; show() takes frames and files")
    figure = Picture(_seen(atoms), labels=labels)
    if path is not None:
        figure.savefig(path, dpi=200)
    return figure


def _seen(atoms: Atoms) -> WeightedHypergraph:
    if not isinstance(atoms.calc, SE3SetCalculator):
        config = HypergraphConfig()
        lattice = Lattice.of(atoms.cell.array, atoms.pbc)
        structure = build_hypergraph(atoms.numbers, atoms.positions, config, lattice=lattice)
        cell = None if lattice is None else atoms.cell.array.copy()
        return weighted_hypergraph(structure, atoms.positions, config, cell)
    return atoms.calc.seen_at(atoms)


def _captions(frames: Sequence[WeightedHypergraph]) -> list[str]:
    """Caption of each frame, with bonds that broke or formed since the previous one."""
    if len(frames) == 1:
        (frame,) = frames
        name = formula(frame.numbers)
        return [f"{name}: {len(frame.fragments)} fragments, {frame.n_hyperedges} hyperedges"]
    log, last = EventLog(), len(frames) - 1
    return [
        ", ".join(
            [
                f"frame {k} of {last}",
                *(
                    f"{event.kind}: {atom_names(event.kind, event.atoms, event.symbols)}"
                    for event in log.observe(frame, 0.0)
                    if event.kind.startswith("bond")
                ),
            ]
        )
        for k, frame in enumerate(frames)
    ]
