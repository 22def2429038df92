"""The command ``md``."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated

import typer

from se3set_ase.checkpoint.metadata import DEFAULT_MODEL
from se3set_ase.cli.console import (
    check_atoms_formats,
    check_cells,
    check_outputs,
    make_calculator,
)
from se3set_ase.cli.options import (
    INTERRUPTED,
    UNFINISHED,
    Charge,
    Compile,
    ConformerSeed,
    Device,
    Dtype,
    Ensemble,
    Isolated,
    Kinds,
    Membership,
    Model,
    Overwrite,
    Periodic,
    Precision,
    Record,
    SpinMultiplicity,
    Structure,
    Velocities,
)
from se3set_ase.cli.source import find_source, read_molecule
from se3set_ase.events.kinds import BONDS, checked_kinds
from se3set_ase.io.levels import LEVEL, level_of_model
from se3set_ase.io.progress import progress_bar
from se3set_ase.simulate import defaults

__all__ = ["md"]

ENSEMBLE, VELOCITIES = Ensemble(defaults.ENSEMBLE), Velocities(defaults.VELOCITIES)


def md(
    file: Structure,
    model: Model = DEFAULT_MODEL,
    temperature: Annotated[
        float, typer.Option(min=0, help="Temperature, K.")
    ] = defaults.TEMPERATURE_K,
    timestep: Annotated[float, typer.Option(help="Time step, fs.")] = defaults.TIMESTEP,
    steps: Annotated[int, typer.Option(min=0, help="Number of time steps.")] = defaults.MD_STEPS,
    ensemble: Annotated[
        Ensemble, typer.Option(help="Langevin thermostat, or constant energy.")
    ] = ENSEMBLE,
    friction: Annotated[
        float, typer.Option(help="Friction of the thermostat, 1/fs.")
    ] = defaults.FRICTION,
    velocities: Annotated[
        Velocities,
        typer.Option(help="maxwell: random. keep: those of the file, and its time."),
    ] = VELOCITIES,
    refragment: Annotated[
        Membership,
        typer.Option(help="frozen: keep the first fragments. hard: discontinuous, for comparison."),
    ] = Membership.smooth,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Seed of the random numbers.  [default: random, and printed]"),
    ] = None,
    interval: Annotated[
        int, typer.Option(min=1, help="Steps between records.")
    ] = defaults.INTERVAL,
    trajectory: Annotated[
        Path | None, typer.Option(help="Trajectory.  [default: mol-md.traj for mol.xyz]")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Plot.  [default: mol-md.png for mol.xyz]")
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            help="Table of energies (CSV); cells of the uncertainty are empty between its checks.  "
            "[default: mol-md.csv for mol.xyz]"
        ),
    ] = None,
    events: Annotated[
        Path | None,
        typer.Option(
            help="Refragmentation log (JSON lines).  [default: mol-md.events.jsonl for mol.xyz]"
        ),
    ] = None,
    kinds: Kinds = BONDS,
    device: Device = "auto",
    dtype: Dtype = Precision.float64,
    compile: Compile = False,
    charge: Charge = None,
    spin_multiplicity: SpinMultiplicity = None,
    record: Record = None,
    conformer_seed: ConformerSeed = 0,
    isolated: Isolated = False,
    periodic: Periodic = False,
    overwrite: Overwrite = False,
) -> None:
    """Run molecular dynamics.  Ctrl-C ends the run and keeps all results."""
    from se3set_ase import simulate
    from se3set_ase.simulate import plots, report
    from se3set_ase.simulate.dynamics import TIME

    checked_kinds(kinds)
    source = find_source(file, conformer_seed)
    check_cells(isolated, periodic)
    atoms = read_molecule(
        source,
        record=record,
        charge=charge,
        spin_multiplicity=spin_multiplicity,
        isolated=isolated,
        periodic=periodic,
    )
    if velocities is Velocities.keep:
        if not atoms.has("momenta"):
            raise ValueError(
                f"expected velocities in {file} for --velocities keep, got none; take a trajectory "
                "that md has written, or --velocities maxwell"
            )
        if TIME not in atoms.info:
            warnings.warn(
                f"{file} states no time, as trajectories of md do: the time starts at 0",
                stacklevel=2,
            )
    trajectory = trajectory or Path(f"{source.stem}-md.traj")
    plot = plot or Path(f"{source.stem}-md.png")
    table = table or Path(f"{source.stem}-md.csv")
    events = events or Path(f"{source.stem}-md.events.jsonl")
    check_atoms_formats(trajectory)
    plots.check_format(plot)
    check_outputs(overwrite, trajectory, plot, table, events)
    atoms.calc = make_calculator(
        model, device, dtype, charge, spin_multiplicity, compile, refragment
    )
    atoms.info[LEVEL] = level_of_model(atoms.calc.potential.metadata.name)
    with progress_bar(ensemble.value, steps, "step") as progress:
        result = simulate.md(
            atoms,
            temperature_K=temperature,
            timestep=timestep,
            steps=steps,
            ensemble=ensemble.value,
            friction=friction,
            velocities=velocities.value,
            seed=seed,
            trajectory=trajectory,
            events=events,
            interval=interval,
            progress=progress,
        )
    result.to_csv(table)
    title = f"{atoms.get_chemical_formula()}, {ensemble.value}, {temperature:g} K, model {model}"
    result.plot(plot, title=title, kinds=kinds)
    typer.echo(f"model {atoms.calc.potential.metadata.name}")
    typer.echo(report.describe_dynamics(result))
    typer.echo(report.describe_events(result, kinds=kinds))
    typer.echo(f"written: {trajectory}, {plot}, {table}, {events}")
    typer.echo(result.summary())
    if result.interrupted:
        raise typer.Exit(INTERRUPTED)
    if result.error is not None:
        raise typer.Exit(UNFINISHED)
