"""Draw the smooth weights, from the package's own functions.

    python docs/figures/smooth_weights.py [OUTPUT.svg]

Needed again when a switch, or a default of the hypergraph's settings, has changed.
"""

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from ase.io import read
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from se3set_ase.hypergraph import HypergraphConfig, build_hypergraph
from se3set_ase.hypergraph.bonds import bond_limits, bond_weights
from se3set_ase.nn.smooth import any_of, envelope, switch
from se3set_ase.nn.weighting import weighted_hypergraph

HERE = Path(__file__).parent
BLUE, ORANGE, GREEN, PINK, GREY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#8A8A8A"
CONFIG = HypergraphConfig()
DONOR, ACCEPTOR, PROTON = 3, 5, 11  # atoms in acetylacetone.xyz


def draw_bonds(axes: Axes) -> None:
    """Weights of bonds over their lengths; dotted, the thresholds of hard membership."""
    distance = np.linspace(0.9, 2.3, 150)
    for pair, name, color in (
        ((8, 1), "O-H", BLUE),
        ((6, 1), "C-H", GREEN),
        ((6, 6), "C-C", ORANGE),
    ):
        limits = bond_limits(np.array(pair), np.array([[0, 1]]), CONFIG)
        axes.plot(distance, bond_weights(distance, limits), color=color, label=name)
        axes.axvline(limits.mean(), color=color, lw=0.8, ls=":")
    axes.set_title("bond")
    axes.set_ylabel("$b$")
    axes.set_xlabel("distance / Å")
    axes.legend(frameon=False)


def draw_transfer(axes: Axes) -> None:
    """Weights of the fragments that contain the proton, between the two oxygen atoms."""
    atoms = read(HERE.parents[1] / "examples" / "acetylacetone.xyz")
    start, end = atoms.positions[DONOR], atoms.positions[ACCEPTOR]
    length = float(np.linalg.norm(end - start))
    along = np.linspace(1.05, length - 1.05, 100)
    colors = {
        "with the donor": BLUE,
        "with the acceptor": ORANGE,
        "with both": GREEN,
        "alone": PINK,
    }
    found = {name: np.zeros(len(along)) for name in colors}
    for k, distance in enumerate(along):
        positions = atoms.positions.copy()
        positions[PROTON] = start + distance * (end - start) / length
        structure = build_hypergraph(atoms.numbers, positions, CONFIG)
        for members, weight in weighted_hypergraph(structure, positions, CONFIG).fragments:
            if PROTON in members:
                oxygens = DONOR in members, ACCEPTOR in members
                name = {
                    (True, False): "with the donor",
                    (False, True): "with the acceptor",
                    (True, True): "with both",
                    (False, False): "alone",
                }[oxygens]
                found[name][k] += weight
    for name, weights in found.items():
        axes.plot(along, weights, color=colors[name], label=name)
    axes.plot(along, sum(found.values()), color=GREY, lw=1, ls="--", label="sum")
    axes.set_title("fragments that have the proton")
    axes.set_ylabel("$W_f$")
    axes.set_xlabel("distance from the donor / Å")
    axes.legend(frameon=False, loc="center left", fontsize=8)


def draw_reach(axes: Axes) -> None:
    """Reach of a fragment over the number of its members near the atom."""
    distance = np.linspace(2.5, 4.5, 150)
    near = switch(torch.from_numpy(distance), CONFIG.reach - CONFIG.reach_width, CONFIG.reach)
    axes.plot(distance, near, color=GREY, ls="--", lw=1, label="$s(d)$")
    for count, color in ((1, BLUE), (3, ORANGE)):
        name = f"{count} member" + "s" * (count > 1)
        axes.plot(distance, any_of(count * near), color=color, label=name)
    axes.set_title("reach")
    axes.set_ylabel("$u_{if} / W_f$")
    axes.set_xlabel("distance / Å")
    axes.legend(frameon=False)


def draw_edges(axes: Axes) -> None:
    """The weight of a member of a fragment over its distance."""
    distance = np.linspace(0.0, 5.5, 150)
    axes.plot(distance, envelope(torch.from_numpy(distance), CONFIG.cutoff), color=BLUE)
    axes.set_title("edge")
    axes.set_ylabel(r"$\omega$")
    axes.set_xlabel("distance / Å")


def main() -> None:
    """Draw all four panels."""
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "smooth_weights.svg"
    # Reproducible: no date, fixed ids.
    with mpl.rc_context({"svg.hashsalt": "smooth weights", "path.simplify": False}):
        figure = Figure(figsize=(9.0, 5.6), layout="constrained")
        FigureCanvasAgg(figure)
        draws = (draw_bonds, draw_transfer, draw_reach, draw_edges)
        for axes, draw in zip(figure.subplots(2, 2).flat, draws, strict=True):
            draw(axes)
            axes.set_ylim(-0.03, 1.08)
            axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(output, metadata={"Date": None})


if __name__ == "__main__":
    main()
