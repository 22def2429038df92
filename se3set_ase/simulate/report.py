"""Results of relaxations and dynamics as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from se3set_ase.io.text import atom_names, table

if TYPE_CHECKING:
    from se3set_ase.simulate.results import DynamicsResult, RelaxResult

__all__ = [
    "describe_dynamics",
    "describe_events",
    "describe_log",
    "describe_relaxation",
]


def describe_relaxation(result: RelaxResult) -> str:
    """Summary of a relaxation."""
    if len(result.energy) == 0:
        return "interrupted before the first step"
    outcome = (
        "interrupted" if result.interrupted
        else "converged" if result.converged
        else "NOT converged"
    )  # fmt: skip
    return "\n".join(
        [
            f"{outcome} after {result.n_steps} steps",
            f"energy         {result.energy[0]:.6f} -> {result.energy[-1]:.6f} eV "
            f"({1000 * (result.energy[-1] - result.energy[0]):+.2f} meV)",
            f"longest force  {result.fmax[0]:.4f} -> {result.fmax[-1]:.4f} eV/A",
        ]
    )


def describe_dynamics(result: DynamicsResult) -> str:
    """Averages of a run, and its energy drift."""
    if len(result.time) == 0:
        return "interrupted before the first step"
    mev_per_atom = 1000.0 / result.n_atoms
    lines = [
        f"{result.n_steps} steps, {result.time[-1]:.4g} ps"
        + (" (interrupted)" if result.interrupted else ""),
        f"temperature     {result.temperature.mean():8.1f} K mean, "
        f"{result.temperature.std():.1f} K standard deviation",
        f"potential       {result.potential.mean():8.4f} eV mean, "
        f"{result.potential.std() * mev_per_atom:.2f} meV/atom standard deviation",
    ]
    if result.ensemble == "nve":  # a thermostat exchanges energy
        lines.append(
            f"total energy    {result.drift():+8.4f} meV/atom/ps drift, "
            f"{result.total.std() * mev_per_atom:.4f} meV/atom standard deviation"
        )
    if (result.n_hyperedges == result.n_hyperedges).all():  # NaN without a hypergraph
        lines.append(
            f"hyperedges      {result.n_hyperedges.mean():8.1f} mean, "
            f"{result.n_hyperedges.min():.0f} to {result.n_hyperedges.max():.0f}"
        )
    return "\n".join(lines)


def describe_events(result: DynamicsResult | RelaxResult, *, most: int = 20) -> str:
    """The refragmentation log: the number of events of each kind, then the events.

    If there are more than ``most``, bonds and fragments have priority over reach, which changes
    with every larger vibration. Events are in order of time.
    """
    if hasattr(result, "event_times"):
        stamps = [f"{1000 * time:.1f} fs" for time in result.event_times]
    else:
        stamps = [f"step {step}" for step in result.event_steps]
    text = describe_log(result.events, stamps, most=most)
    kept, all_of_them = len(result.events), getattr(result, "n_events", 0)
    return text if kept >= all_of_them else f"{text}\nthese are the last {kept} of {all_of_them}"


def describe_log(events: Sequence[Any], stamps: Sequence[str], *, most: int = 20) -> str:
    """:func:`describe_events` for events and their time stamps."""
    if not events:
        return "refragmentation: none"
    counts: dict[str, int] = {}
    for event in events:
        counts[event.kind] = counts.get(event.kind, 0) + 1
    summary = ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items()))
    order = sorted(range(len(stamps)), key=lambda k: (events[k].kind.startswith("reach"), k))
    shown = sorted(order[:most])
    rows = [
        [stamps[k], events[k].kind, atom_names(events[k].kind, events[k].atoms, events[k].symbols)]
        for k in shown
    ]
    left = len(stamps) - len(shown)
    lines = [f"refragmentation: {summary}", table(["time", "event", "atoms"], rows)]
    if left:
        lines.append(f"... and {left} more")
    return "\n".join(lines)
