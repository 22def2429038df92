"""The card of a model: its metadata as a page for people, limits first."""

from __future__ import annotations

from se3set_ase.checkpoint.metadata import Measurement, ModelMetadata

__all__ = ["render_card"]


def render_card(metadata: ModelMetadata) -> str:
    """Markdown text of a model's ``README.md``; a pure function of the metadata."""
    sections = [
        f"# {metadata.name}",
        metadata.description,
        "## Limits",
        _limits(metadata),
        "## Measured errors",
        _errors(metadata.measured),
        "## Use",
        _use(metadata),
        "## Trained on",
        _training(metadata),
        "## Model",
        _model(metadata),
        "*Written by se3set-ase from model.json; edit neither.*",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _limits(metadata: ModelMetadata) -> str:
    limits = [
        f"Elements: **{', '.join(metadata.symbols)}** only; others raise an error.",
        f"Total charge: {_listed(metadata.charges)}; "
        f"spin multiplicity: {_listed(metadata.multiplicities)}.",
        *(
            [f"Molecules: {', '.join(metadata.formulas)} only; the calculator warns of others."]
            if metadata.formulas
            else []
        ),
        "Isolated molecules only: no periodic cell, no stress.",
        *metadata.limits,
    ]
    return "\n".join(f"* {limit}" for limit in limits)


def _errors(measured: tuple[Measurement, ...]) -> str:
    if not measured:
        return "None measured yet: do not rely on this model."
    header = (
        "| data | frames | energy MAE, meV | energy RMSE, meV | energy MAE, meV/atom "
        "| forces MAE, meV/A | forces RMSE, meV/A |\n|---|---|---|---|---|---|---|"
    )
    rows = [
        f"| {m.data.file} ({m.data.role}) | {m.data.n_frames} | "
        + " | ".join(
            _number(value)
            for value in (
                m.energy_mae_meV,
                m.energy_rmse_meV,
                m.energy_mae_meV_per_atom,
                m.forces_mae_meV_A,
                m.forces_rmse_meV_A,
            )
        )
        + " |"
        for m in measured
    ]
    note = "Force errors are per Cartesian component; `-` where the data carry no such label."
    return "\n".join([header, *rows]) + "\n\n" + note


def _use(metadata: ModelMetadata) -> str:
    return (
        "```python\n"
        "from ase.io import read\n"
        "from se3set_ase import SE3SetCalculator\n\n"
        'atoms = read("molecule.xyz")\n'
        f'atoms.calc = SE3SetCalculator("{metadata.name}")  # or the path of this folder\n'
        "atoms.get_potential_energy()  # eV\n"
        "```"
    )


def _training(metadata: ModelMetadata) -> str:
    lines = [f"Level of theory of the labels: {metadata.level_of_theory}."]
    if "initial" in metadata.training:
        lines.append(
            f"Fine-tuned: the training began with the weights of the model "
            f"`{metadata.training['initial']}`, which were learnt from other labels."
        )
    if metadata.training_data:
        rows = [
            f"| {d.file} | {d.role} | {d.n_frames} | `{d.sha256}` |" for d in metadata.training_data
        ]
        lines.append("\n".join(["| file | role | frames | sha256 |\n|---|---|---|---|", *rows]))
    return "\n\n".join(lines)


def _model(metadata: ModelMetadata) -> str:
    facts = [
        f"Saved {metadata.created} by se3set-ase {metadata.package_version}; "
        f"licence of the weights: {metadata.license}.",
        "Units: "
        + ", ".join(f"{quantity} {unit}" for quantity, unit in metadata.units.items())
        + ". Energies are total energies of the level of theory.",
    ]
    if metadata.weights is not None:
        weights = metadata.weights
        facts.insert(
            0,
            f"{weights.n_parameters:,} parameters, {weights.dtype}; "
            f"sha256 of {weights.file}: `{weights.sha256}`.",
        )
    table = ["| element | isolated atom, eV | shift, eV |", "|---|---|---|"]
    table += [
        f"| {symbol} | {energy:.6f} | {shift:.6f} |"
        for symbol, energy, shift in zip(
            metadata.symbols, metadata.atomic_energies, metadata.shifts, strict=True
        )
    ]
    return "\n".join(f"* {fact}" for fact in facts) + "\n\n" + "\n".join(table)


def _listed(values: tuple[int, ...]) -> str:
    return ", ".join(str(value) for value in values) or "none"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
