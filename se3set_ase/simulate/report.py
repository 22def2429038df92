"""Results as text for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from se3set_ase.checkpoint.registry import ModelInfo
from se3set_ase.hypergraph.build import HypergraphConfig
from se3set_ase.io.text import atom_names, formula, table

if TYPE_CHECKING:
    from se3set_ase.simulate.results import DynamicsResult, RelaxResult

__all__ = [
    "describe_dynamics",
    "describe_errors",
    "describe_events",
    "describe_fragments",
    "describe_log",
    "describe_models",
    "describe_relaxation",
]


def describe_models(models: Sequence[ModelInfo]) -> str:
    """The bundled models, one per line."""
    if not models:
        return "no bundled models"
    rows = []
    for model in models:
        metadata = model.metadata
        tests = [m for m in metadata.measured if m.data.role == "test"]
        rows.append(
            [
                model.name,
                " ".join(metadata.symbols),
                ",".join(str(charge) for charge in metadata.charges),
                metadata.level_of_theory,
                f"{metadata.weights.n_parameters:,}" if metadata.weights else "",
                _errors_of(tests[0]) if tests else "not measured",
            ]
        )
    header = ["model", "elements", "charge", "level of theory", "parameters", "test RMSE"]
    return table(header, rows)


def _errors_of(measured: Any) -> str:
    energy, forces = measured.energy_rmse_meV, measured.forces_rmse_meV_A
    parts = []
    if energy is not None:
        parts.append(f"{energy:.1f} meV")
    if forces is not None:
        parts.append(f"{forces:.1f} meV/A")
    return " | ".join(parts) + f" ({measured.data.file})"


def describe_errors(errors: dict[str, Any]) -> str:
    """What :func:`se3set_ase.evaluate.evaluate` returned."""
    quantities = [
        ("energy", "energy_mae_meV", "energy_rmse_meV", "meV"),
        ("energy per atom", "energy_mae_meV_per_atom", None, "meV"),
        ("forces", "forces_mae_meV_A", "forces_rmse_meV_A", "meV/A"),
    ]
    rows = [
        [name, _number(errors[mae]), _number(errors[rmse]) if rmse else "-", unit]
        for name, mae, rmse, unit in quantities
    ]
    frames = f"{errors['n_frames']} frames"
    if not errors["complete"]:
        frames += " (interrupted: not all of the file)"
    return frames + "\n" + table(["", "MAE", "RMSE", "unit"], rows)


def describe_relaxation(result: RelaxResult) -> str:
    """How a relaxation went."""
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
    """Averages of a run, and how well it kept its energy."""
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
    if result.ensemble == "nve":  # a thermostat takes and gives energy as it should
        lines.append(
            f"total energy    {result.drift():+8.4f} meV/atom/ps drift, "
            f"{result.total.std() * mev_per_atom:.4f} meV/atom standard deviation"
        )
    if (result.n_hyperedges == result.n_hyperedges).all():  # NaN where there is no hypergraph
        lines.append(
            f"hyperedges      {result.n_hyperedges.mean():8.1f} mean, "
            f"{result.n_hyperedges.min():.0f} to {result.n_hyperedges.max():.0f}"
        )
    return "\n".join(lines)


def describe_events(result: DynamicsResult | RelaxResult, *, most: int = 20) -> str:
    """The refragmentation log: counts of each kind, then the events themselves.

    Where there are more than ``most``, bonds and fragments come before reach, which changes with
    every larger vibration; what is told stays in order of time.
    """
    if hasattr(result, "event_times"):
        stamps = [f"{1000 * time:.1f} fs" for time in result.event_times]
    else:
        stamps = [f"step {step}" for step in result.event_steps]
    told = describe_log(result.events, stamps, most=most)
    kept, all_of_them = len(result.events), getattr(result, "n_events", 0)
    return told if kept >= all_of_them else f"{told}\nthese are the last {kept} of {all_of_them}"


def describe_log(events: Sequence[Any], stamps: Sequence[str], *, most: int = 20) -> str:
    """:func:`describe_events` for events and when each of them was."""
    if not events:
        return "refragmentation: none"
    counts: dict[str, int] = {}
    for event in events:
        counts[event.kind] = counts.get(event.kind, 0) + 1
    summary = ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items()))
    order = sorted(range(len(stamps)), key=lambda k: (events[k].kind.startswith("reach"), k))
    told = sorted(order[:most])
    rows = [
        [stamps[k], events[k].kind, atom_names(events[k].kind, events[k].atoms, events[k].symbols)]
        for k in told
    ]
    left = len(stamps) - len(told)
    lines = [f"refragmentation: {summary}", table(["when", "what", "atoms"], rows)]
    if left:
        lines.append(f"... and {left} more")
    return "\n".join(lines)


def describe_fragments(numbers: np.ndarray, positions: np.ndarray, config: HypergraphConfig) -> str:
    """Fragments, bonds that are between bonded and not, and hyperedges of a geometry.

    Parameters
    ----------
    numbers : (N,) atomic numbers. positions : (N, 3), Angstrom.

    Raises
    ------
    ValueError : a geometry that has no hypergraph.
    """
    from ase.data import chemical_symbols

    from se3set_ase.hypergraph.weighted import weighted_hypergraph  # late: it imports torch

    seen = weighted_hypergraph(numbers, positions, config)
    symbols = [chemical_symbols[z] for z in numbers]
    names = [f"{symbol}{i}" for i, symbol in enumerate(symbols)]
    label = {atoms: str(k) for k, (atoms, _) in enumerate(seen.fragments)}

    fragments = [
        [label[atoms], f"{weight:.4f}", formula(numbers, atoms), " ".join(names[i] for i in atoms)]
        for atoms, weight in seen.fragments
    ]
    bonds = [
        [f"{names[i]}-{names[j]}", f"{np.linalg.norm(positions[j] - positions[i]):.4f}", f"{b:.4f}"]
        for (i, j), b in seen.bonds
        if b < 1
    ]
    attended: list[list[str]] = [[] for _ in names]
    for owner, atoms, weight in seen.hyperedges:
        own = "*" if owner in atoms else ""
        part = f":{weight:.3f}" if weight < 0.9995 else ""
        attended[owner].append(label[atoms] + own + part)
    parts = [
        f"{formula(numbers)}: {len(names)} atoms, {len(fragments)} fragments, "
        f"{seen.n_hyperedges} hyperedges, {seen.n_edges} edges",
        table(["fragment", "weight", "formula", "atoms"], fragments),
    ]
    if bonds:
        parts.append(
            "between bonded (1) and not (0):\n" + table(["bond", "length / A", "weight"], bonds)
        )
    parts.append(
        "hyperedges: the fragments that each atom attends to (* its own; weight where below 1)\n"
        + table(
            ["atom", "fragments"],
            [[name, "  ".join(row)] for name, row in zip(names, attended, strict=True)],
        )
    )
    return "\n\n".join(parts)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
