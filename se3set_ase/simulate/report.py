"""Results of relaxations and dynamics as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from se3set_ase.events.kinds import BONDS, not_shown, nothing_changed, of_kinds
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


def describe_events(
    result: DynamicsResult | RelaxResult, *, kinds: str | Iterable[str] = BONDS, most: int = 20
) -> str:
    """The refragmentation log: numbers of events, then the events in order of time.

    Parameters
    ----------
    kinds : ``"bonds"``, ``"fragments"`` or ``"reach"``, several of them, or ``"all"``; the number
        of others is in the last line.
    most : Number of events; if there are more, bonds have priority over fragments, and these over
        reach.
    """
    if hasattr(result, "event_times"):
        stamps = [f"{1000 * time:.1f} fs" for time in result.event_times]
    else:
        stamps = [f"step {step}" for step in result.event_steps]
    text = describe_log(result.events, stamps, kinds=kinds, most=most)
    kept, all_of_them = len(result.events), getattr(result, "n_events", 0)
    return text if kept >= all_of_them else f"{text}\nearlier events: {all_of_them - kept}"


def describe_log(
    events: Sequence[Any],
    stamps: Sequence[str],
    *,
    kinds: str | Iterable[str] = BONDS,
    most: int = 20,
) -> str:
    """:func:`describe_events` for events and their time stamps."""
    if not events:
        return "refragmentation: none"
    wanted = of_kinds(events, kinds)
    counts = Counter(events[k].kind for k in wanted)
    summary = ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items()))
    # Kinds are in alphabetical order of importance.
    shown = sorted(sorted(wanted, key=lambda k: (events[k].kind.split()[0], k))[:most])
    rows = [
        [stamps[k], events[k].kind, atom_names(events[k].kind, events[k].atoms, events[k].symbols)]
        for k in shown
    ]
    lines = [f"refragmentation: {summary or nothing_changed(kinds)}"]
    if rows:
        lines.append(table(["time", "event", "atoms"], rows))
    if left := len(wanted) - len(shown):
        lines.append(f"... and {left} more")
    return "\n".join(filter(None, [*lines, not_shown(events, kinds)]))
