"""Plot a relaxation or molecular dynamics in a notebook while it runs."""

from __future__ import annotations

import base64
import io
import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms, units

from se3set_ase.events.kinds import BONDS, checked_kinds
from se3set_ase.events.observe import EventObserver
from se3set_ase.simulate.plots import draw_events
from se3set_ase.simulate.velocities import degrees_of_freedom

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["LivePlot"]

_BLUE, _ORANGE, _RED, _GREY = "#0072B2", "#E69F00", "#D55E00", "#8A8A8A"
#: Largest share of the run time that drawing may take.
SHARE = 0.1


class LivePlot:
    """Plots energy, longest force, temperature and events during a run.

    >>> with LivePlot(dynamics, atoms, steps=2000):                          # doctest: +SKIP
    ...     dynamics.run(2000)

    A notebook shows the plot with a progress bar; ``file`` gets the final plot.

    Parameters
    ----------
    dynamics : an ASE dynamics or optimiser.
    atoms : the atoms that it moves.
    steps : number of steps of the run, for the progress bar; without it steps are only counted.
    fmax : convergence criterion of a relaxation, eV/Angstrom; a line in the plot.
    file : ``.png``, ``.svg`` or ``.pdf``, written when the run ends.
    every : shortest time between drawings, seconds.
    kinds : kinds of events that are drawn, see :func:`se3set_ase.events.of_kinds`.

    Attributes
    ----------
    observer : the :class:`se3set_ase.EventObserver` with the events of the run.
    """

    def __init__(
        self,
        dynamics: Any,
        atoms: Atoms,
        *,
        steps: int | None = None,
        fmax: float | None = None,
        file: str | os.PathLike[str] | None = None,
        every: float = 0.5,
        kinds: str | Iterable[str] = BONDS,
    ) -> None:
        self._kinds = checked_kinds(kinds)
        self.observer = EventObserver(dynamics, atoms)
        self._dynamics, self._atoms = dynamics, atoms
        self._steps, self._fmax, self._file, self._every = steps, fmax, file, every
        self._rows: list[tuple[float, ...]] = []
        self._first_step = int(dynamics.nsteps)
        self._handle: Any = None
        self._started = self._next = time.perf_counter()

    def __enter__(self) -> LivePlot:
        self._dynamics.attach(self)
        self._handle = notebook_display()
        self._started = self._next = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        self._dynamics.observers = [o for o in self._dynamics.observers if o[0] is not self]
        if self._rows:
            self._show()
            if self._file is not None:
                self.figure().savefig(self._file, dpi=150)

    def __call__(self) -> None:
        """Record the present step, and draw if enough time has passed."""
        self.observer()
        atoms, moving = self._atoms, hasattr(self._dynamics, "get_time")
        longest = float(np.sqrt((atoms.get_forces() ** 2).sum(axis=1).max()))
        potential, kinetic = atoms.get_potential_energy(), atoms.get_kinetic_energy()
        step = int(self._dynamics.nsteps)
        at = self._dynamics.get_time() / (1000.0 * units.fs) if moving else float(step)
        self._rows.append((step, at, potential, kinetic, longest))
        if time.perf_counter() >= self._next:
            self._show()

    def figure(self) -> Figure:
        """The plot of the records so far."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        _, at, potential, kinetic, longest = np.array(self._rows).T
        moving = hasattr(self._dynamics, "get_time")
        scale, unit = (1000.0, "fs") if at[-1] < 1.0 else (1.0, "ps")
        at, label = (at * scale, f"time / {unit}") if moving else (at, "step")
        events = self.observer.events
        times = [t * scale for t in self.observer.times if t is not None]
        rows = 0.2 + 0.35 * len(self._kinds)
        heights = [1.0, 1.2, 0.8, rows] if moving else [1.0, 1.0, rows]
        figure = Figure(figsize=(8.0, 1.5 * sum(heights) + 0.3), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
        energies, forces, log = axes[-3], axes[-2], axes[-1]
        for panel in axes[: len(axes) - 3]:
            kelvin = 2.0 * kinetic / (degrees_of_freedom(self._atoms, False) * units.kB)
            panel.plot(at, kelvin, color=_RED, lw=1.0)
            panel.axhline(kelvin.mean(), color=_GREY, lw=0.8, ls=":")
            panel.set_ylabel("temperature\nK")
        energies.plot(at, potential - potential[0], color=_BLUE, lw=1.2, label="potential")
        if moving:
            total = potential + kinetic
            energies.plot(at, total - total[0], color="black", lw=1.2, label="total")
            where = {"loc": "lower right", "bbox_to_anchor": (1.0, 0.96), "borderaxespad": 0.0}
            energies.legend(ncols=2, frameon=False, fontsize=8, **where)
        energies.set_ylabel("energy - first\neV")
        forces.plot(at, longest, color=_ORANGE, lw=1.2)
        forces.set_yscale("linear" if moving else "log")
        if self._fmax is not None:
            forces.axhline(self._fmax, color=_GREY, lw=0.8, ls=":")
        forces.set_ylabel("longest force\neV/Å")
        steps = [event.step for event in events]
        draw_events(log, events, times if moving else steps, self._kinds)
        log.set_xlabel(label)
        for axis in axes:
            axis.spines[["top", "right"]].set_visible(False)
            axis.grid(axis="x", color="#E6E6E6", lw=0.6)
            axis.set_axisbelow(True)
        figure.align_ylabels(axes[:-1])
        return figure

    def _show(self) -> None:
        """Update the notebook, and keep drawing a small part of the time."""
        begun = time.perf_counter()
        if self._handle is not None:
            picture = io.BytesIO()
            self.figure().savefig(picture, format="png", dpi=96)
            data = base64.b64encode(picture.getvalue()).decode()
            page = f'{self._bar()}<img alt="plot of the run" src="data:image/png;base64,{data}">'
            self._handle.update({"text/html": page, "text/plain": self._progress_text()}, raw=True)
        now = time.perf_counter()
        self._next = now + max(self._every, (now - begun) / SHARE)

    def _progress_text(self) -> str:
        done = int(self._rows[-1][0]) - self._first_step
        seconds = time.perf_counter() - self._started
        text = f"step {done}" + (f" of {self._steps}" if self._steps else "")
        text += f", {1000.0 * seconds / max(done, 1):.0f} ms each"
        if self._steps and done < self._steps:
            left = seconds / max(done, 1) * (self._steps - done)
            text += f", {left / 60:.0f} min left" if left > 90 else f", {left:.0f} s left"
        return text

    def _bar(self) -> str:
        done = int(self._rows[-1][0]) - self._first_step
        bar = ""
        if self._steps:
            bar = (
                f'<progress value="{done}" max="{self._steps}" '
                'style="width:24em;vertical-align:middle;accent-color:#0072B2"></progress> '
            )
        return f"<div>{bar}{self._progress_text()}</div>"


def notebook_display() -> Any:
    """A display handle of the notebook; None without a notebook."""
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        return None
    if get_ipython() is None:
        return None
    return display({"text/plain": "starting"}, raw=True, display_id=True)
