"""Results of relaxations and dynamics as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from se3set_ase.events.kinds import BONDS, not_shown, nothing_changed, of_kinds
from se3set_ase.io.text import atom_names, formula, table

if TYPE_CHECKING:
    from se3set_ase.simulate.results import DynamicsResult, Relaxations, RelaxResult

__all__ = [
    "describe_dynamics",
    "describe_events",
    "describe_log",
    "describe_relaxation",
    "describe_relaxations",
    "summarise_dynamics",
    "summarise_relaxation",
    "summarise_relaxations",
]

NOTHING = "ended before the first step"


def describe_relaxation(result: RelaxResult) -> str:
    """Energies, forces and uncertainty of a relaxation."""
    if len(result.energy) == 0:
        return NOTHING
    lines = [
        f"{_outcome(result)} after {result.n_steps} steps",
        f"energy         {result.energy[0]:.6f} -> {result.energy[-1]:.6f} eV "
        f"({1000 * (result.energy[-1] - result.energy[0]):+.2f} meV)",
        f"longest force  {result.fmax[0]:.4f} -> {result.fmax[-1]:.4f} eV/A",
    ]
    if result.doubt is not None:
        lines.append(f"uncertainty    {result.doubt}")
    return "\n".join(lines)


def summarise_relaxation(result: RelaxResult) -> str:
    """Outcome of a relaxation, and reasons not to trust it."""
    reasons = () if result.doubt is None else result.doubt.reasons
    outcome = _outcome(result) if result.error is None else f"failed: {result.error}"
    return "; doubtful: ".join([outcome, *([", and ".join(reasons)] if reasons else [])])


def describe_relaxations(results: Relaxations, *, most: int = 20) -> str:
    """Table of many relaxations.

    If there are more than ``most``, those that failed, did not converge or are doubtful have
    priority.
    """
    smooth = [r.error is None and r.converged and not _doubtful(r) for r in results]
    shown = sorted(sorted(range(len(results)), key=lambda k: (smooth[k], k))[:most])
    lines = []
    if shown:
        header = ["molecule", "formula", "", "steps", "energy / eV", "force / eV/A"]
        header += ["uncertainty / eV", "of a force / eV/A"]
        lines.append(table(header, [_row(k, results[k]) for k in shown]))
    if left := len(results) - len(shown):
        lines.append(f"... and {left} more")
    for k in shown:
        if results[k].error is not None:
            lines.append(f"molecule {k} failed: {results[k].error}")
        doubt = results[k].doubt
        lines += [f"molecule {k} doubtful: {reason}" for reason in (doubt.reasons if doubt else ())]
    return "\n".join([*lines, summarise_relaxations(results)])


def summarise_relaxations(results: Relaxations) -> str:
    """How many molecules converged, and how many are doubtful."""
    text = f"converged: {sum(r.converged for r in results)} of {len(results)}"
    if failed := sum(r.error is not None for r in results):
        text += f"; {failed} failed"
    doubtful = sum(map(_doubtful, results))
    text += f"; {doubtful} doubtful" + (" (see above)" if doubtful else "")
    unknown = sum(r.doubt is None or r.doubt.energy is None for r in results if r.error is None)
    return text + (f"; uncertainty of {unknown} unknown (no committee)" if unknown else "")


def _row(index: int, result: RelaxResult) -> list[str]:
    doubt, done = result.doubt, len(result.energy) > 0
    known = doubt is not None and doubt.energy is not None
    return [
        str(index),
        formula(result.atoms.numbers),
        _outcome(result),
        str(result.n_steps),
        f"{result.energy[-1]:.4f}" if done else "-",
        f"{result.fmax[-1]:.4f}" if done else "-",
        f"{doubt.energy:.3f}" if doubt is not None and known else "-",
        f"{doubt.forces:.3f}" if doubt is not None and known else "-",
    ]


def _outcome(result: RelaxResult) -> str:
    if result.interrupted:
        return "interrupted"
    if result.error is not None:
        return "failed"
    return "converged" if result.converged else "NOT converged"


def _doubtful(result: RelaxResult) -> bool:
    return result.doubt is not None and result.doubt.doubtful


def describe_dynamics(result: DynamicsResult) -> str:
    """Averages of a run, its energy drift and uncertainty."""
    if len(result.time) == 0:
        return NOTHING
    mev_per_atom = 1000.0 / result.n_atoms
    start = f" from {result.time[0]:.4g}" if result.time[0] else ""
    lines = [
        f"{result.n_steps} steps,{start and start + ' to'} {result.time[-1]:.4g} ps"
        + (f", seed {result.seed}" if result.seed is not None else "")
        + _ended(result),
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
    if not np.isnan(result.n_hyperedges).any():
        lines.append(
            f"hyperedges      {result.n_hyperedges.mean():8.1f} mean, "
            f"{result.n_hyperedges.min():.0f} to {result.n_hyperedges.max():.0f}"
        )
    if result.level:
        lines.append(
            f"uncertainty     at most {np.nanmax(result.energy_uncertainty):.3f} eV, "
            f"{np.nanmax(result.forces_uncertainty):.3f} eV/A of a force where it was evaluated "
            f"(against {result.level})"
        )
    return "\n".join(lines)


def summarise_dynamics(result: DynamicsResult, *, most: int = 3) -> str:
    """Number of steps, and reasons not to trust the run."""
    text = f"{result.n_steps} steps" + _ended(result)
    if result.error is not None:
        text += f": {result.error}"
    if result.doubts:
        reasons = [f"from {time:.4g} ps on {reason}" for time, reason in result.doubts[:most]]
        left = len(result.doubts) - most
        text += "; doubtful: " + ", and ".join(reasons) + (f", and {left} more" * (left > 0))
    return text


def _ended(result: DynamicsResult) -> str:
    if result.error is not None:
        return " (failed)"
    return " (interrupted)" if result.interrupted else ""


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
        stamps = [f"step {event.step}" for event in result.events]
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
