"""The commands that move atoms: ``relax`` and ``md``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from se3set_ase.checkpoint.metadata import DEFAULT_MODEL
from se3set_ase.cli.console import (
    check_atoms_formats,
    check_outputs,
    read_frames,
    refuse_periodic,
    task_executor,
)
from se3set_ase.cli.options import (
    INTERRUPTED,
    MAX_FAILURES_PRINTED,
    UNFINISHED,
    Charge,
    Compile,
    ConformerSeed,
    Device,
    Dtype,
    Ensemble,
    Isolated,
    Membership,
    Model,
    Overwrite,
    Precision,
    Record,
    SpinMultiplicity,
    Structure,
    Structures,
    Velocities,
)
from se3set_ase.cli.source import find_source, read_molecule
from se3set_ase.io.progress import progress_bar

if TYPE_CHECKING:
    from ase import Atoms

    from se3set_ase.jobs.relaxation import Relaxation

__all__ = ["md", "relax"]

#: Largest number of molecules in one batch.
MAX_BATCH = 64


def relax(
    file: Structures,
    model: Model = DEFAULT_MODEL,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Output.  [default: mol-relaxed.xyz for mol.xyz]"),
    ] = None,
    trajectory: Annotated[
        Path | None,
        typer.Option(help="Every step, for one molecule.  [default: mol-relax.traj for mol.xyz]"),
    ] = None,
    events: Annotated[
        Path | None,
        typer.Option(
            help="Refragmentation log (JSON lines), for one molecule.  "
            "[default: mol-relax.events.jsonl for mol.xyz]"
        ),
    ] = None,
    fmax: Annotated[float, typer.Option(help="Convergence criterion: largest force, eV/A.")] = 0.01,
    steps: Annotated[int, typer.Option(min=0, help="Maximum number of steps.")] = 500,
    optimizer: Annotated[str, typer.Option(help="BFGS, LBFGS, FIRE2, ...")] = "LBFGS",
    last: Annotated[bool, typer.Option("--last", help="Relax only the last frame.")] = False,
    processes: Annotated[
        int,
        typer.Option("--processes", "-p", min=1, help="Number of processes, for many molecules."),
    ] = 1,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a dask scheduler, for many molecules.")
    ] = None,
    device: Device = "auto",
    dtype: Dtype = Precision.float64,
    compile: Compile = False,
    charge: Charge = 0,
    spin_multiplicity: SpinMultiplicity = 1,
    conformer_seed: ConformerSeed = 0,
    isolated: Isolated = False,
    overwrite: Overwrite = False,
) -> None:
    """Relax one molecule, or all molecules of a file.

    Ctrl-C keeps what is finished. Many molecules are relaxed in batches; the same command resumes
    an interrupted run, and with a larger --steps it restarts molecules that did not converge. The
    exit code is 1 if a molecule did not converge.
    """
    source = find_source(file, conformer_seed)
    frames = list(source.frames(charge=charge, isolated=isolated))
    output = output or Path(f"{source.stem}-relaxed.xyz")
    if len(frames) == 1 or last:
        trajectory = trajectory or Path(f"{source.stem}-relax.traj")
        events = events or Path(f"{source.stem}-relax.events.jsonl")
        check_atoms_formats(output, trajectory)
        check_outputs(overwrite, output, trajectory, events)
        atoms = refuse_periodic(frames[-1], file)
        atoms.calc = _calculator(model, device, dtype, charge, spin_multiplicity, compile)
        _relax_one(atoms, output, trajectory, events, fmax, steps, optimizer)
        return
    if trajectory or events:
        raise ValueError(
            f"--trajectory and --events are for one molecule, but {file} has {len(frames)}; "
            "use --last to relax only the last one"
        )
    if output.resolve() == Path(file).resolve():
        raise ValueError(f"expected different names for output and input, got {file} for both")
    from se3set_ase.jobs.relaxation import Relaxation

    work = Relaxation(
        model=model,
        device=device,
        dtype=dtype.value,
        compile=compile,
        charge=charge,
        spin_multiplicity=spin_multiplicity,
        fmax=fmax,
        steps=steps,
        optimizer=optimizer,
    )
    _relax_each(frames, output, work, processes, scheduler, overwrite)


def _relax_one(
    atoms: Atoms,
    output: Path,
    trajectory: Path,
    events: Path,
    fmax: float,
    steps: int,
    optimizer: str,
) -> None:
    from ase.io import write

    from se3set_ase import simulate
    from se3set_ase.simulate import report

    with progress_bar("relax", None, "step") as progress:
        result = simulate.relax(
            atoms,
            fmax=fmax,
            steps=steps,
            optimizer=optimizer,
            trajectory=trajectory,
            events=events,
            progress=progress,
        )
    write(output, atoms)
    typer.echo(f"model {atoms.calc.potential.metadata.name}")
    typer.echo(report.describe_relaxation(result))
    typer.echo(report.describe_events(result))
    typer.echo(f"written: {output}, {trajectory}, {events}")
    if result.interrupted:
        raise typer.Exit(INTERRUPTED)
    if not result.converged:
        raise typer.Exit(UNFINISHED)


def _relax_each(
    frames: list[Atoms],
    output: Path,
    work: Relaxation,
    processes: int,
    scheduler: str | None,
    overwrite: bool,
) -> None:
    from se3set_ase.jobs.resumable import work_on
    from se3set_ase.potential import Potential
    from se3set_ase.simulate.relaxation import checked_optimizer

    checked_optimizer(work.optimizer, work.fmax, work.steps)
    # Load and compile once before the processes start: an error of the model is raised here, not
    # recorded for each molecule.
    Potential(work.model, device=work.device, dtype=work.dtype, compile=work.compile)
    # Several tasks for each process: none waits long, and Ctrl-C loses little.
    per_task = min(MAX_BATCH, math.ceil(len(frames) / (4 * processes)))
    try:
        with (
            task_executor(processes, scheduler) as executor,
            progress_bar("relax", len(frames), "molecule") as progress,
        ):
            done = work_on(
                frames,
                work,
                output,
                executor=executor,
                per_task=per_task,
                overwrite=overwrite,
                progress=progress,
            )
    except KeyboardInterrupt:
        typer.echo("run the same command to resume", err=True)
        raise
    typer.echo(
        f"{done.n_done} of {len(frames)} molecules relaxed with {work.model}, "
        f"{done.n_kept} of them by an earlier run"
    )
    converged = 0
    if done.n_done:
        converged = sum(bool(atoms.info["converged"]) for atoms in read_frames(output))
        typer.echo(f"converged: {converged} of {done.n_done}")
    for index, why in list(done.failures.items())[:MAX_FAILURES_PRINTED]:
        typer.echo(f"molecule {index} failed: {why}")
    if len(done.failures) > MAX_FAILURES_PRINTED:
        typer.echo(f"... and {len(done.failures) - MAX_FAILURES_PRINTED} more")
    typer.echo(f"written: {output}, {output}.json")
    if converged < len(frames):
        raise typer.Exit(UNFINISHED)


def md(
    file: Structure,
    model: Model = DEFAULT_MODEL,
    temperature: Annotated[float, typer.Option(min=0, help="Temperature, K.")] = 300.0,
    timestep: Annotated[float, typer.Option(help="Time step, fs.")] = 0.5,
    steps: Annotated[int, typer.Option(min=0, help="Number of time steps.")] = 4000,
    ensemble: Annotated[
        Ensemble, typer.Option(help="Langevin thermostat, or constant energy.")
    ] = Ensemble.langevin,
    friction: Annotated[float, typer.Option(help="Friction of the thermostat, 1/fs.")] = 0.01,
    velocities: Annotated[
        Velocities, typer.Option(help="maxwell: random. keep: those of the file.")
    ] = Velocities.maxwell,
    refragment: Annotated[
        Membership,
        typer.Option(help="frozen: keep the first fragments. hard: discontinuous, for comparison."),
    ] = Membership.smooth,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random numbers.")] = 0,
    interval: Annotated[int, typer.Option(min=1, help="Steps between records.")] = 10,
    trajectory: Annotated[
        Path | None, typer.Option(help="Trajectory.  [default: mol-md.traj for mol.xyz]")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Plot.  [default: mol-md.png for mol.xyz]")
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(help="Table of energies (CSV).  [default: mol-md.csv for mol.xyz]"),
    ] = None,
    events: Annotated[
        Path | None,
        typer.Option(
            help="Refragmentation log (JSON lines).  [default: mol-md.events.jsonl for mol.xyz]"
        ),
    ] = None,
    device: Device = "auto",
    dtype: Dtype = Precision.float64,
    compile: Compile = False,
    charge: Charge = 0,
    spin_multiplicity: SpinMultiplicity = 1,
    record: Record = None,
    conformer_seed: ConformerSeed = 0,
    isolated: Isolated = False,
    overwrite: Overwrite = False,
) -> None:
    """Run molecular dynamics.  Ctrl-C ends the run and keeps all results."""
    from se3set_ase import simulate
    from se3set_ase.simulate import report
    from se3set_ase.visualize import plots

    source = find_source(file, conformer_seed)
    atoms = read_molecule(source, record=record, charge=charge, isolated=isolated)
    trajectory = trajectory or Path(f"{source.stem}-md.traj")
    plot = plot or Path(f"{source.stem}-md.png")
    table = table or Path(f"{source.stem}-md.csv")
    events = events or Path(f"{source.stem}-md.events.jsonl")
    check_atoms_formats(trajectory)
    plots.check_format(plot)
    check_outputs(overwrite, trajectory, plot, table, events)
    atoms.calc = _calculator(model, device, dtype, charge, spin_multiplicity, compile, refragment)
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
    simulate.write_table(table, result)
    title = f"{atoms.get_chemical_formula()}, {ensemble.value}, {temperature:g} K, model {model}"
    plots.plot_dynamics(result, plot, title=title)
    typer.echo(f"model {atoms.calc.potential.metadata.name}")
    typer.echo(report.describe_dynamics(result))
    typer.echo(report.describe_events(result))
    typer.echo(f"written: {trajectory}, {plot}, {table}, {events}")
    if result.interrupted:
        raise typer.Exit(INTERRUPTED)


def _calculator(
    model: str,
    device: str,
    dtype: Precision,
    charge: int,
    spin_multiplicity: int,
    compile: bool,
    refragment: Membership = Membership.smooth,
) -> Any:
    from se3set_ase.calculator import SE3SetCalculator

    return SE3SetCalculator(
        model,
        device=device,
        dtype=dtype.value,
        charge=charge,
        spin_multiplicity=spin_multiplicity,
        compile=compile,
        refragment=refragment.value,
    )
