"""Results of relaxations and molecular dynamics."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

__all__ = ["DynamicsResult", "RelaxResult", "write_table"]


@dataclass(frozen=True, kw_only=True)
class RelaxResult:
    """Result of a relaxation; the atoms passed to it have the relaxed positions.

    Attributes
    ----------
    converged : All forces are smaller than ``fmax``.
    interrupted : Ended by Ctrl-C.
    n_steps : Steps of the optimiser.
    energy : Potential energy of each recorded step, eV, shape (S,).
    fmax : Longest force of each recorded step, eV/Angstrom, shape (S,).
    events : Refragmentation events of the calculator.
    event_steps : Optimiser step of each event.
    """

    converged: bool
    interrupted: bool
    n_steps: int
    energy: np.ndarray
    fmax: np.ndarray
    events: tuple[Any, ...]
    event_steps: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class DynamicsResult:
    """Result of molecular dynamics; the atoms passed to it have the last state.

    Arrays are of shape (S,), one entry per recorded step, starting with step 0.

    Attributes
    ----------
    ensemble : ``"langevin"`` or ``"nve"``.
    time : ps.
    temperature : K, from the kinetic energy and the 3 N degrees of freedom without those that
        constraints hold and, without a thermostat, without those at rest because their momenta are
        conserved (which ASE's ``get_temperature`` counts).
    potential, kinetic, total : Energies, eV.
    n_hyperedges : Number of hyperedges; NaN if the calculator has none.
    n_atoms : Number of atoms.
    n_steps : Number of complete steps.
    interrupted : Ended by Ctrl-C.
    events : Refragmentation events of the calculator, of all kinds; at least the last 100,000
        changes of bonds and as many others (a file of events has all).
    event_times : Time of each event, ps.
    n_events : Number of all events.
    """

    ensemble: Literal["langevin", "nve"]
    time: np.ndarray
    temperature: np.ndarray
    potential: np.ndarray
    kinetic: np.ndarray
    total: np.ndarray
    n_hyperedges: np.ndarray
    n_atoms: int
    n_steps: int
    interrupted: bool
    events: tuple[Any, ...]
    event_times: tuple[float, ...]
    n_events: int

    def drift(self) -> float:
        """Slope of a straight line through the total energy, meV / atom / ps.

        NaN for fewer than two records.  It measures energy conservation for ``"nve"`` only.
        """
        if len(self.time) < 2:
            return float("nan")
        centred = self.time - self.time.mean()
        slope = float(centred @ (self.total - self.total.mean()) / (centred @ centred))
        return 1000.0 * slope / self.n_atoms


def write_table(path: str | os.PathLike[str], result: DynamicsResult) -> None:
    """Write temperature, energies and hyperedges over time as CSV; units are in the header.

    A cell is empty if the calculator has no hypergraph.
    """
    columns = {
        "time_ps": result.time,
        "temperature_K": result.temperature,
        "potential_eV": result.potential,
        "kinetic_eV": result.kinetic,
        "total_eV": result.total,
        "hyperedges": result.n_hyperedges,
    }
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in zip(*columns.values(), strict=True):
            writer.writerow("" if value != value else f"{value:.12g}" for value in row)
