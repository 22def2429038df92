"""Tables that the command line prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from se3set_ase.checkpoint.registry import ModelInfo
from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.io.text import counted, formula, table

#: Doubtful frames that are printed; the JSON file has all.
MAX_DOUBTS_PRINTED = 10


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


def describe_errors(errors: dict[str, Any]) -> str:
    """Table of the errors that :func:`se3set_ase.evaluate.evaluate` returns."""
    quantities = [
        ("energy", "energy_mae_meV", "energy_rmse_meV", "energy_uncertainty_rms_meV", "meV"),
        ("energy per atom", "energy_mae_meV_per_atom", None, None, "meV"),
        (
            "forces",
            "forces_mae_meV_A",
            "forces_rmse_meV_A",
            "forces_uncertainty_rms_meV_A",
            "meV/A",
        ),
    ]
    if errors["n_dipole_components"]:
        quantities.append(("dipole", "dipole_mae_e_A", "dipole_rmse_e_A", None, "e A"))
    rows = [
        [name, *(_number(errors[key]) if key else "-" for key in keys), unit]
        for name, *keys, unit in quantities
    ]
    frames = counted(errors["n_frames"], "frame")
    if not errors["complete"]:
        frames += " (interrupted before the end of the file)"
    if errors["levels"]:
        frames += f", labels of {', '.join(errors['levels'])}"
    lines = [frames, table(["", "MAE", "RMSE", "expected RMSE", "unit"], rows)]
    lines += [f"note: {note}" for note in errors["notes"]]
    doubts = errors["doubts"]
    for frame in list(doubts)[:MAX_DOUBTS_PRINTED]:
        lines += [f"frame {frame} doubtful: {reason}" for reason in doubts[frame]]
    left = len(doubts) - MAX_DOUBTS_PRINTED
    lines += [f"... and {left} more"] if left > 0 else []
    lines.append(f"{errors['n_doubtful']} of {errors['n_frames']} frames doubtful")
    if errors["energy_uncertainty_rms_meV"] is None:
        lines[-1] += "; uncertainty unknown (the committee was not evaluated, or there is none)"
    return "\n".join(lines)


def describe_fragments(numbers: np.ndarray, positions: np.ndarray, config: HypergraphConfig) -> str:
    """Fragments, ambiguous bonds and hyperedges of a geometry.

    Parameters
    ----------
    numbers : (N,) atomic numbers.
    positions : (N, 3) Angstrom.

    Raises
    ------
    ValueError : the geometry is invalid.
    """
    from ase.data import chemical_symbols

    # Imported late, because they load torch and RDKit.
    from se3set_ase.hypergraph.build import build_hypergraph
    from se3set_ase.nn.weighting import weighted_hypergraph

    hypergraph = weighted_hypergraph(
        build_hypergraph(numbers, positions, config), positions, config
    )
    symbols = [chemical_symbols[z] for z in numbers]
    names = [f"{symbol}{i}" for i, symbol in enumerate(symbols)]
    label = {atoms: str(k) for k, (atoms, _) in enumerate(hypergraph.fragments)}

    fragments = [
        [label[atoms], f"{weight:.4f}", formula(numbers, atoms), " ".join(names[i] for i in atoms)]
        for atoms, weight in hypergraph.fragments
    ]
    bonds = [
        [f"{names[i]}-{names[j]}", f"{np.linalg.norm(positions[j] - positions[i]):.4f}", f"{b:.4f}"]
        for (i, j), b in hypergraph.bonds
        if b < 1
    ]
    attended: list[list[str]] = [[] for _ in names]
    for owner, atoms, weight in hypergraph.hyperedges:
        own = "*" if owner in atoms else ""
        part = f":{weight:.3f}" if weight < 0.9995 else ""
        attended[owner].append(label[atoms] + own + part)
    parts = [
        f"{formula(numbers)}: {len(names)} atoms, {len(fragments)} fragments, "
        f"{hypergraph.n_hyperedges} hyperedges, {hypergraph.n_edges} edges",
        table(["fragment", "weight", "formula", "atoms"], fragments),
    ]
    if bonds:
        parts.append(
            "ambiguous bonds, between bonded (1) and not bonded (0):\n"
            + table(["bond", "length / A", "weight"], bonds)
        )
    parts.append(
        "hyperedges: fragments that each atom attends to (* contains the atom; weight if below 1)\n"
        + table(
            ["atom", "fragments"],
            [[name, "  ".join(row)] for name, row in zip(names, attended, strict=True)],
        )
    )
    return "\n\n".join(parts)


def _errors_of(measured: Any) -> str:
    energy, forces = measured.energy_rmse_meV, measured.forces_rmse_meV_A
    parts = []
    if energy is not None:
        parts.append(f"{energy:.1f} meV")
    if forces is not None:
        parts.append(f"{forces:.1f} meV/A")
    return " | ".join(parts) + f" ({measured.data.file})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
