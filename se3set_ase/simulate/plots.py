"""Plots of a run, with matplotlib's object interface only: no window, no global state."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from se3set_ase.events.kinds import (
    BONDS,
    checked_kinds,
    not_shown,
    nothing_changed,
    of_kinds,
)
from se3set_ase.events.log import Event, spans
from se3set_ase.io.text import atom_names

if TYPE_CHECKING:
    from se3set_ase.simulate.harmonic import VibrationsResult
    from se3set_ase.simulate.results import DynamicsResult, Relaxations, RelaxResult

__all__ = [
    "draw_events",
    "dynamics_figure",
    "plot_timeline",
    "relaxation_figure",
    "relaxations_figure",
    "spectrum_figure",
]

# Colours for colour-blind readers (Okabe and Ito, 2008).
_BLUE, _ORANGE, _GREEN, _RED, _PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
_GREY = "#8A8A8A"
# Bonds matter most; reach changes all the time and stays in the background.
_EVENT_STYLES: dict[str, dict[str, tuple[str, Any]]] = {
    "bonds": {"bond formed": (_GREEN, "^"), "bond broken": (_RED, "v")},
    "fragments": {"fragments merged": (_BLUE, "P"), "fragments split": (_PURPLE, "X")},
    "reach": {"reach gained": (_GREY, 2), "reach lost": (_GREY, 3)},  # ticks upwards, downwards
}


def check_format(path: str | os.PathLike[str]) -> None:
    """Raise ValueError for a file name whose format matplotlib cannot write."""
    known = Figure().canvas.get_supported_filetypes()
    if Path(path).suffix.removeprefix(".").lower() not in known:
        raise ValueError(
            f"expected the file name of a picture, such as run.png or run.svg, got {path}"
        )


class RunPlot(Figure):
    """A figure that a notebook displays, without a window."""

    def __init__(self, **options: Any) -> None:
        super().__init__(layout="constrained", **options)
        FigureCanvasAgg(self)

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self.savefig(buffer, format="png", dpi=80)
        return buffer.getvalue()


def relaxation_figure(result: RelaxResult, title: str = "") -> Figure:
    """Energy relative to the last step, and longest force, over the steps of a relaxation."""
    figure = RunPlot(figsize=(7.0, 5.0))
    energy, force = figure.subplots(2, 1, sharex=True)
    steps = np.arange(len(result.energy))
    energy.plot(steps, 1000.0 * (result.energy - result.energy[-1]), ".-", color=_BLUE, lw=1.2)
    energy.set_ylabel("energy - last / meV")
    force.semilogy(steps, result.fmax, ".-", color=_RED, lw=1.2)
    force.set_ylabel("longest force / eV/A")
    force.set_xlabel("step")
    if result.doubt is not None:
        _note(energy, f"uncertainty {result.doubt}" + ", doubtful" * result.doubt.doubtful)
    _finish(figure, (energy, force), title)
    return figure


def relaxations_figure(results: Relaxations, title: str = "") -> Figure:
    """Longest force over the steps of each molecule; doubtful ones stand out."""
    figure = RunPlot(figsize=(7.0, 4.0))
    axis = figure.subplots()
    doubtful = [r.doubt is not None and r.doubt.doubtful for r in results]
    for result, doubted in zip(results, doubtful, strict=True):
        axis.semilogy(result.fmax, color=_RED if doubted else _BLUE, lw=1.0, alpha=0.7)
    axis.set_xlabel("step")
    axis.set_ylabel("longest force / eV/A")
    converged = sum(result.converged for result in results)
    _note(
        axis,
        f"{converged} of {len(results)} converged, {sum(doubtful)} doubtful (red)",
    )
    _finish(figure, (axis,), title)
    return figure


def dynamics_figure(
    result: DynamicsResult, title: str = "", kinds: str | Iterable[str] = BONDS
) -> Figure:
    """Temperature, energies, hyperedges and refragmentation events over time.

    Without a thermostat another panel shows the total energy with its drift. ``kinds`` are those of
    the events, see :func:`se3set_ase.events.of_kinds`.
    """
    scale, unit = (1000.0, "fs") if result.time[-1] < 1.0 else (1.0, "ps")
    time = result.time * scale
    per_atom = 1000.0 / result.n_atoms  # eV per molecule -> meV per atom

    nve = result.ensemble == "nve"
    rows = 0.2 + 0.3 * len(checked_kinds(kinds))
    heights = [1.0, 1.3, 0.8, 1.0, rows] if nve else [1.0, 1.3, 1.0, rows]
    figure = RunPlot(figsize=(9.0, 2.0 * sum(heights)))
    axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    hot, energies, *conserved, hyperedges, events = axes

    hot.plot(time, result.temperature, color=_RED, lw=0.7, alpha=0.45)
    mean = _running_mean(result.temperature)
    hot.plot(time, mean, color=_RED, lw=1.8)
    hot.axhline(result.temperature.mean(), color=_GREY, lw=0.8, ls=":")
    hot.set_ylabel("temperature / K")
    _note(hot, f"mean {result.temperature.mean():.0f} K")

    start = result.potential[0]
    energies.plot(time, (result.potential - start) * per_atom, color=_BLUE, lw=0.9)
    energies.plot(time, result.kinetic * per_atom, color=_ORANGE, lw=0.9)
    energies.plot(time, (result.total - start) * per_atom, color="black", lw=1.4)
    energies.set_ylabel("energy / meV per atom")
    energies.legend(
        ["potential, relative to start", "kinetic", "total"],
        loc="lower right",
        bbox_to_anchor=(1.0, 0.98),
        ncols=3,
        borderaxespad=0.0,
        frameon=False,
        fontsize=9,
    )
    for axis in conserved:
        deviation = (result.total - result.total.mean()) * per_atom
        axis.plot(time, deviation, color="black", lw=0.7)
        axis.set_ylabel("total - mean\nmeV / atom")
        _note(axis, f"drift {result.drift():+.4f} meV/atom/ps, rms {deviation.std():.4f} meV/atom")

    if np.isfinite(result.n_hyperedges).any():
        hyperedges.plot(time, result.n_hyperedges, color=_GREEN, lw=1.1, drawstyle="steps-post")
        hyperedges.margins(y=0.1)
    else:
        _say(hyperedges, "this calculator has no hypergraph")
        hyperedges.set_yticks([])
    hyperedges.set_ylabel("hyperedges")

    draw_events(events, result.events, [at * scale for at in result.event_times], kinds)
    events.set_xlabel(f"time / {unit}")
    for axis in axes:
        axis.yaxis.set_label_coords(-0.08, 0.5)
    if time[-1] > time[0]:
        events.set_xlim(time[0], time[-1])
    _finish(figure, axes, title)
    return figure


def _finish(figure: Figure, axes: Iterable[Any], title: str) -> None:
    """Title, and the same frame and grid for all panels."""
    if title:
        figure.suptitle(title, fontsize=13, fontweight="bold", x=0.01, ha="left")
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="x", color="#E6E6E6", lw=0.6)
        axis.set_axisbelow(True)


def draw_events(
    axis: Any,
    events: Sequence[Event],
    times: Sequence[float],
    kinds: str | Iterable[str] = BONDS,
) -> None:
    """Draw two rows for each kind of event; bonds are labelled if there is room.

    Parameters
    ----------
    axis : matplotlib axis with the final time range, which determines the room for labels.
    times : time of each event, in the unit of the axis.
    kinds : see :func:`se3set_ase.events.of_kinds`; a note has the number of others.
    """
    styles = {name: s for kind in checked_kinds(kinds) for name, s in _EVENT_STYLES[kind].items()}
    rows = list(styles)
    when: dict[str, list[float]] = {kind: [] for kind in rows}
    labelled: dict[str, float] = {}  # kind -> time of its last label
    begin, end = axis.get_xlim()
    room = 0.065 * (end - begin)  # approximate width of a label
    shown = of_kinds(events, kinds)
    for event, at in ((events[k], times[k]) for k in shown):
        when[event.kind].append(at)
        if event.kind.startswith("bond") and at - labelled.get(event.kind, -np.inf) > room:
            labelled[event.kind] = at
            axis.annotate(
                "-".join(f"{s}{i}" for s, i in zip(event.symbols, event.atoms, strict=True)),
                (at, rows.index(event.kind)),
                xytext=(0, 5),
                textcoords="offset points",
                ha="center",
                fontsize=7,
                color=styles[event.kind][0],
            )
    for row, (kind, (colour, marker)) in enumerate(styles.items()):
        style = {"marker": marker, "color": colour, "ms": 6, "ls": "", "alpha": 0.8}
        axis.plot(when[kind], [row] * len(when[kind]), clip_on=False, **style)
    axis.set_yticks(range(len(rows)), [f"{kind} ({len(when[kind])})" for kind in rows], fontsize=9)
    axis.set_ylim(len(rows) - 0.4, -0.9)
    if not shown:
        _say(axis, nothing_changed(kinds))
    if note := not_shown(events, kinds):
        _note(axis, note)


def _running_mean(values: np.ndarray) -> np.ndarray:
    """Running mean over about a fiftieth of the run; shorter at both ends."""
    half = max(1, len(values) // 100)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    means: np.ndarray = (sums[high] - sums[low]) / (high - low)
    return means


def _say(axis: Any, text: str) -> None:
    """Write into the middle of an empty panel."""
    axis.text(0.5, 0.5, text, ha="center", va="center", transform=axis.transAxes, color="#444")


def _note(axis: Any, text: str) -> None:
    """Put the legend above the panel."""
    axis.text(
        0.0, 1.01, text, transform=axis.transAxes, va="bottom", ha="left", fontsize=9, color="#444"
    )


def plot_timeline(
    events: Sequence[Event],
    times: Sequence[float],
    path: str | os.PathLike[str],
    *,
    unit: str = "fs",
    kinds: str | Iterable[str] = BONDS,
    most: int = 24,
) -> None:
    """Plot bonds that broke or formed as bars over time, and fragments and reach on request.

    Changes of reach are marks, because a fragment that vanishes ends its reach without an event.

    Parameters
    ----------
    events, times : in order; times in ``unit``, which labels the axis.
    path : ``.png``, ``.svg`` or ``.pdf``.
    kinds : see :func:`se3set_ase.events.of_kinds`; a note has the number of others.
    most : largest number of rows; those with the most events are drawn.
    """
    begin, end = (min(times), max(times)) if times else (0.0, 0.0)
    margin = 0.05 * (end - begin) or 1.0
    wanted = checked_kinds(kinds)
    bars = [k for k in of_kinds(events, kinds) if not events[k].kind.startswith("reach")]
    found = spans([events[k] for k in bars], [times[k] for k in bars])
    symbols = {i: s for e in events for i, s in zip(e.atoms, e.symbols, strict=True)}
    drawn = sorted(sorted(found, key=lambda key: -len(found[key]))[:most])
    names = [atom_names(what, atoms, [symbols[i] for i in atoms], 6) for what, atoms in drawn]
    marks = _EVENT_STYLES["reach"] if "reach" in wanted else {}
    n_rows = len(drawn) + len(marks)
    figure = RunPlot(figsize=(9.0, 1.4 + 0.32 * max(n_rows, 2)))
    axis = figure.subplots()
    for row, key in enumerate(drawn):
        colour = _BLUE if key[0] == "bond" else _ORANGE
        limits = [(max(a, begin - margin), min(b, end + margin)) for a, b in found[key]]
        axis.broken_barh([(a, b - a) for a, b in limits], (row - 0.35, 0.7), color=colour)
    for row, (kind, (colour, marker)) in enumerate(marks.items(), start=len(drawn)):
        when = [at for event, at in zip(events, times, strict=True) if event.kind == kind]
        axis.plot(when, [row] * len(when), marker=marker, color=colour, ms=6, ls="", alpha=0.8)
        names.append(f"{kind} ({len(when)})")
    missing = [kind for kind in wanted if not of_kinds(events, [kind])]
    if len(missing) == len(wanted):
        _say(axis, nothing_changed(wanted))
    axis.set_yticks(range(n_rows), names, fontsize=8)
    axis.set_ylim(max(n_rows, 1) - 0.4, -0.6)
    axis.set_xlim(begin - margin, end + margin)
    axis.set_xlabel(f"time / {unit}" if unit != "step" else "step")
    left = f", {len(found) - len(drawn)} more not drawn" if len(found) > len(drawn) else ""
    colours = {"bonds": "bonds (blue)", "fragments": "fragments (orange)", "reach": "reach (marks)"}
    title = f"{', '.join(colours[kind] for kind in wanted)} that changed{left}"
    remarks = [nothing_changed(missing) if missing else "", not_shown(events, kinds)]
    axis.set_title("\n".join(filter(None, [title, *remarks])), fontsize=10, loc="left")
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="x", color="#E6E6E6", lw=0.6)
    axis.set_axisbelow(True)
    figure.savefig(path, dpi=150)


def spectrum_figure(result: VibrationsResult, width: float, title: str) -> Figure:
    """Infrared spectrum with Lorentzian bands of this full width (cm^-1), and lines below it."""
    figure = RunPlot(figsize=(9.0, 3.6))
    axis = figure.subplots()
    real = result.frequencies > 0
    at = result.frequencies[real]
    grid = np.linspace(0.0, 1.05 * max(at.max(initial=0.0), 1000.0), 4000)
    strengths = np.ones_like(at) if result.intensities is None else result.intensities[real]
    if result.intensities is not None:
        half = 0.5 * width
        # An area of each band that is its intensity: sum_v I_v L(x - f_v).
        bands = (half / np.pi) / ((grid[:, None] - at) ** 2 + half**2)  # x, v
        axis.plot(grid, bands @ strengths, color=_BLUE, lw=1.2)
        axis.set_ylabel("absorption / km mol$^{-1}$ cm")
        lines = axis.twinx()
        lines.vlines(at, 0.0, strengths, color=_ORANGE, lw=1.0)
        lines.set_ylabel("intensity / km mol$^{-1}$")
        lines.set_ylim(bottom=0.0)
    else:
        axis.vlines(at, 0.0, strengths, color=_ORANGE, lw=1.0)
        axis.set_yticks([])
        _say(axis, "this model has no dipole, hence no intensities")
    axis.set_ylim(bottom=0.0)
    axis.set_xlim(grid[-1], 0.0)  # as spectra are printed
    axis.set_xlabel("wavenumber / cm$^{-1}$")
    if title:
        axis.set_title(title, fontsize=10, loc="left")
    return figure
