"""Results of relaxations and molecular dynamics: printed, plotted, written as a table."""

from __future__ import annotations

import csv
import html
import os
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from ase import Atoms

from se3set_ase.events.kinds import BONDS
from se3set_ase.events.log import Event
from se3set_ase.simulate import report
from se3set_ase.uncertainty.doubt import SEPARATOR, Doubt

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["DynamicsResult", "RelaxResult", "Relaxations"]


class _Shown:
    """A result that shows itself: as text, as a plot, in a notebook, and as a CSV file."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {str(self).splitlines()[0]}>"

    def _repr_html_(self) -> str:
        """Text and plot, for a notebook."""
        shown = f"<pre>{html.escape(str(self))}</pre>"
        if self._can_be_drawn:
            picture = BytesIO()
            self.plot().savefig(picture, format="png", dpi=80)
            shown += f'<img src="data:image/png;base64,{b64encode(picture.getvalue()).decode()}">'
        return shown

    def plot(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        title: str = "",
        kinds: str | Iterable[str] = BONDS,
    ) -> Figure:
        """Draw the result.

        Parameters
        ----------
        path : ``.png``, ``.svg`` or ``.pdf`` to write.
        title : title of the plot.
        kinds : kinds of events, see :func:`se3set_ase.events.of_kinds`; a relaxation has no panel
            of events.

        Returns
        -------
        The matplotlib figure, which a notebook displays.

        Raises
        ------
        ValueError : nothing was recorded, or an unknown format.
        """
        from se3set_ase.simulate.plots import check_format

        if path is not None:
            check_format(path)
        if not self._can_be_drawn:
            raise ValueError("expected a run with at least one record, got none")
        figure = self._figure(title, kinds)
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a table, with the units in its header; a cell is empty where there is no value."""
        with open(path, "w", newline="", encoding="utf-8") as file:
            rows = [dict(row) for row in self._rows()]
            writer = csv.DictWriter(file, rows[0] if rows else [])
            writer.writeheader()
            writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)

    @property
    def _can_be_drawn(self) -> bool:
        raise NotImplementedError

    def _figure(self, title: str, kinds: str | Iterable[str]) -> Figure:
        raise NotImplementedError

    def _rows(self) -> Iterable[Mapping[str, Any]]:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)  # arrays have no single truth
class RelaxResult(_Shown):
    """Result of the relaxation of one molecule.

    ``print(result)`` reports it, ``result.plot("run.png")`` draws energy and longest force over the
    steps, and ``result.to_csv("run.csv")`` writes them.

    Attributes
    ----------
    atoms : The molecule at its last geometry, with its calculator or results.
    converged : All forces are smaller than ``fmax``.
    n_steps : Steps of the optimiser.
    energy : Potential energy of each recorded step, eV, shape (S,).
    fmax : Longest force of each recorded step, eV/Angstrom, shape (S,).
    interrupted : Ended by Ctrl-C.
    error : The error that stopped it, or None.
    events : Refragmentation events; ``step`` is that of the optimiser (of
        :func:`.relax_many`, the number of the evaluation, from 0).
    doubt : How far to trust the last geometry; None if the calculator cannot say.
    """

    atoms: Atoms
    converged: bool
    n_steps: int
    energy: np.ndarray
    fmax: np.ndarray
    interrupted: bool = False
    error: ValueError | RuntimeError | None = None
    events: tuple[Event, ...] = ()
    doubt: Doubt | None = None

    def __str__(self) -> str:
        parts = [report.describe_relaxation(self), report.describe_events(self)]
        return "\n".join([*parts, self.summary()])

    def summary(self) -> str:
        """The outcome in one line, with reasons not to trust it."""
        return report.summarise_relaxation(self)

    @property
    def _can_be_drawn(self) -> bool:
        return len(self.energy) > 0

    def _figure(self, title: str, kinds: str | Iterable[str]) -> Figure:
        from se3set_ase.simulate.plots import relaxation_figure

        return relaxation_figure(self, title)

    def _rows(self) -> Iterable[Mapping[str, Any]]:
        last = len(self.energy) - 1
        for step, (energy, fmax) in enumerate(zip(self.energy, self.fmax, strict=True)):
            row = {"step": step, "energy_eV": energy, "fmax_eV_A": fmax}
            yield row | _doubt_cells(self.doubt if step == last else None)


class Relaxations(_Shown, tuple[RelaxResult, ...]):
    """Results of the relaxation of many molecules, in their order.

    ``print(results)`` lists them, ``results.plot("all.png")`` draws how each converged, and
    ``results.to_csv("all.csv")`` writes one row for each molecule.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.summary()}>"

    def __str__(self) -> str:
        return report.describe_relaxations(self)

    def summary(self) -> str:
        """How many converged, and how many are doubtful, in one line."""
        return report.summarise_relaxations(self)

    def has_table(self, path: str | os.PathLike[str]) -> bool:
        """Whether a file is a table of these molecules by :meth:`to_csv`, with any results."""
        rows = list(self._rows())
        try:
            with open(path, newline="", encoding="utf-8") as file:
                found = list(csv.DictReader(file))
        except (OSError, ValueError, csv.Error):
            return False
        return len(rows) == len(found) and all(
            row.keys() == other.keys()
            and all(str(row[name]) == other[name] for name in ("molecule", "formula"))
            for row, other in zip(rows, found, strict=True)
        )

    @property
    def _can_be_drawn(self) -> bool:
        return any(len(result.energy) for result in self)

    def _figure(self, title: str, kinds: str | Iterable[str]) -> Figure:
        from se3set_ase.simulate.plots import relaxations_figure

        return relaxations_figure(self, title)

    def _rows(self) -> Iterable[Mapping[str, Any]]:
        for index, result in enumerate(self):
            done = len(result.energy) > 0
            yield {
                "molecule": index,
                "formula": result.atoms.get_chemical_formula(),
                "converged": int(result.converged),
                "steps": result.n_steps,
                "energy_eV": result.energy[-1] if done else None,
                "fmax_eV_A": result.fmax[-1] if done else None,
                **_doubt_cells(result.doubt),
                "error": None if result.error is None else str(result.error),
            }


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)  # arrays have no single truth
class DynamicsResult(_Shown):
    """Result of molecular dynamics; the atoms passed to it have the last state.

    ``print(result)`` reports averages, events and doubt, ``result.plot("run.png")`` draws the run,
    and ``result.to_csv("run.csv")`` writes the records. Arrays are of shape (S,), one entry per
    recorded step, starting with the first geometry.

    Attributes
    ----------
    ensemble : ``"langevin"`` or ``"nve"``.
    seed : Seed of the random numbers, which repeats the run; None if there were none, or they came
        from a generator.
    time : ps; a run that keeps velocities starts with the time that the atoms state.
    temperature : K, from the kinetic energy and the 3 N degrees of freedom without those that
        constraints hold and, without a thermostat, without those at rest because their momenta are
        conserved (which ASE's ``get_temperature`` counts).
    potential, kinetic, total : Energies, eV.
    n_hyperedges : Number of hyperedges; NaN if the calculator has none.
    n_atoms : Number of atoms.
    n_steps : Number of complete steps.
    interrupted : Ended by Ctrl-C.
    error : The error that ended the run, or None.
    events : Refragmentation events of the calculator, of all kinds; at least the last 100,000
        changes of bonds and as many others (a file of events has all).
    event_times : Time of each event, ps.
    n_events : Number of all events.
    energy_uncertainty : Largest expected error of the energy (eV, against the model's own level of
        theory) of the geometries since the last record at which the committee was evaluated; NaN
        (empty in the table) if there is none. It is evaluated at the first and last geometry, and
        now and then.
    forces_uncertainty : The same for the force on an atom, eV/Angstrom.
    level : That level of theory; empty without a committee.
    doubts : Reasons not to trust a geometry, and the time (ps) when each was found first.
    """

    ensemble: Literal["langevin", "nve"]
    seed: int | None = None
    time: np.ndarray
    temperature: np.ndarray
    potential: np.ndarray
    kinetic: np.ndarray
    total: np.ndarray
    n_hyperedges: np.ndarray
    n_atoms: int
    n_steps: int
    interrupted: bool
    error: Exception | None = None
    events: tuple[Event, ...]
    event_times: tuple[float, ...]
    n_events: int
    energy_uncertainty: np.ndarray
    forces_uncertainty: np.ndarray
    level: str
    doubts: tuple[tuple[float, str], ...]

    def __str__(self) -> str:
        parts = [report.describe_dynamics(self), report.describe_events(self)]
        return "\n".join([*parts, self.summary()])

    def summary(self) -> str:
        """Steps and reasons not to trust the run, in one line."""
        return report.summarise_dynamics(self)

    def drift(self) -> float:
        """Slope of a straight line through the total energy, meV / atom / ps.

        NaN for fewer than two records.  It measures energy conservation for ``"nve"`` only.
        """
        if len(self.time) < 2:
            return float("nan")
        centred = self.time - self.time.mean()
        slope = float(centred @ (self.total - self.total.mean()) / (centred @ centred))
        return 1000.0 * slope / self.n_atoms

    @property
    def _can_be_drawn(self) -> bool:
        return len(self.time) > 0

    def _figure(self, title: str, kinds: str | Iterable[str]) -> Figure:
        from se3set_ase.simulate.plots import dynamics_figure

        return dynamics_figure(self, title, kinds)

    def _rows(self) -> Iterable[Mapping[str, Any]]:
        previous = -np.inf
        for k, time in enumerate(self.time):
            reasons = [reason for at, reason in self.doubts if previous < at <= time]
            previous = time
            yield {
                "time_ps": time,
                "temperature_K": self.temperature[k],
                "potential_eV": self.potential[k],
                "kinetic_eV": self.kinetic[k],
                "total_eV": self.total[k],
                "hyperedges": self.n_hyperedges[k],
                "energy_uncertainty_eV": self.energy_uncertainty[k],
                "forces_uncertainty_eV_A": self.forces_uncertainty[k],
                "doubts": SEPARATOR.join(reasons),
            }


def _doubt_cells(doubt: Doubt | None) -> dict[str, Any]:
    return {
        "energy_uncertainty_eV": doubt.energy if doubt is not None else None,
        "forces_uncertainty_eV_A": doubt.forces if doubt is not None else None,
        "doubts": SEPARATOR.join(doubt.reasons) if doubt is not None else None,
    }


def _cell(value: Any) -> Any:
    """Numbers with all digits that mean something; nothing for None and NaN."""
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:.12g}"
    return value
