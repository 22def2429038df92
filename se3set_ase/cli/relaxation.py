"""The command ``relax``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from se3set_ase.checkpoint.metadata import DEFAULT_MODEL
from se3set_ase.cli.console import (
    check_atoms_formats,
    check_cells,
    check_outputs,
    make_calculator,
    refuse_other_state,
    refuse_periodic,
)
from se3set_ase.cli.options import (
    INTERRUPTED,
    UNFINISHED,
    Charge,
    Compile,
    ConformerSeed,
    Device,
    Dtype,
    Isolated,
    Kinds,
    Model,
    Overwrite,
    Periodic,
    Precision,
    SpinMultiplicity,
    Structures,
)
from se3set_ase.cli.source import find_source
from se3set_ase.events.kinds import BONDS, checked_kinds
from se3set_ase.io.levels import LEVEL, level_of_model
from se3set_ase.io.progress import progress_bar
from se3set_ase.simulate import defaults

if TYPE_CHECKING:
    from ase import Atoms

    from se3set_ase.jobs.relaxation import Relaxation

__all__ = ["relax"]

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
    kinds: Kinds = BONDS,
    table: Annotated[
        Path | None,
        typer.Option(help="Also write a table (CSV) of the steps, or of the molecules."),
    ] = None,
    fmax: Annotated[
        float, typer.Option(help="Convergence criterion: largest force, eV/A.")
    ] = defaults.FMAX,
    steps: Annotated[
        int, typer.Option(min=0, help="Maximum number of steps.")
    ] = defaults.RELAX_STEPS,
    optimizer: Annotated[str, typer.Option(help="BFGS, LBFGS, FIRE2, ...")] = defaults.OPTIMIZER,
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
    charge: Charge = None,
    spin_multiplicity: SpinMultiplicity = None,
    conformer_seed: ConformerSeed = 0,
    isolated: Isolated = False,
    periodic: Periodic = False,
    overwrite: Overwrite = False,
) -> None:
    """Relax one molecule, or all molecules of a file.

    Ctrl-C keeps what is finished. Many molecules are relaxed in batches; the same command resumes
    an interrupted run, and with a larger --steps it restarts molecules that did not converge. The
    exit code is 1 if a molecule did not converge.
    """
    from se3set_ase.simulate import OPTIMIZERS
    from se3set_ase.uncertainty.doubt import remove_doubt

    if optimizer not in OPTIMIZERS:
        raise ValueError(f"expected --optimizer {' or '.join(OPTIMIZERS)}, got {optimizer!r}")
    checked_kinds(kinds)
    source = find_source(file, conformer_seed)
    check_cells(isolated, periodic)
    frames = list(source.frames(charge=charge, isolated=isolated))
    remove_doubt(frames)
    for atoms in frames[-1:] if last else frames:
        refuse_periodic(atoms, file, periodic=periodic)
        refuse_other_state(atoms, file, charge=charge, spin_multiplicity=spin_multiplicity)
    tables = [] if table is None else [table]
    output = output or Path(f"{source.stem}-relaxed.xyz")
    if len(frames) == 1 or last:
        trajectory = trajectory or Path(f"{source.stem}-relax.traj")
        events = events or Path(f"{source.stem}-relax.events.jsonl")
        check_atoms_formats(output, trajectory)
        check_outputs(overwrite, output, trajectory, events, *tables)
        atoms = frames[-1]
        atoms.calc = make_calculator(model, device, dtype, charge, spin_multiplicity, compile)
        atoms.info[LEVEL] = level_of_model(atoms.calc.potential.metadata.name)
        _relax_one(atoms, output, trajectory, events, tables, kinds, fmax, steps, optimizer)
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
        charge=charge or 0,
        spin_multiplicity=spin_multiplicity or 1,
        fmax=fmax,
        steps=steps,
        optimizer=optimizer,
    )
    ours = [output, Path(f"{output}.json")]  # those of other work are refused later
    ours += _tables_to_replace(frames, work, output, tables)
    check_outputs(overwrite, output, Path(f"{output}.json"), *tables, earlier=ours)
    _relax_each(frames, output, tables, work, processes, scheduler, overwrite)


def _relax_one(
    atoms: Atoms,
    output: Path,
    trajectory: Path,
    events: Path,
    tables: list[Path],
    kinds: str,
    fmax: float,
    steps: int,
    optimizer: str,
) -> None:
    from ase.io import write

    from se3set_ase import simulate
    from se3set_ase.simulate import report
    from se3set_ase.simulate.doubt import doubt_in_info

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
    with doubt_in_info(atoms, result.doubt):
        write(output, atoms)
    for table in tables:
        result.to_csv(table)
    typer.echo(f"model {atoms.calc.potential.metadata.name}")
    typer.echo(report.describe_relaxation(result))
    typer.echo(report.describe_events(result, kinds=kinds))
    typer.echo(f"written: {', '.join(map(str, (output, trajectory, events, *tables)))}")
    typer.echo(result.summary())
    if result.interrupted:
        raise typer.Exit(INTERRUPTED)
    if not result.converged:
        raise typer.Exit(UNFINISHED)


def _tables_to_replace(
    frames: list[Atoms], work: Relaxation, output: Path, tables: list[Path]
) -> list[Path]:
    """Tables of the earlier run that this one resumes."""
    from se3set_ase.jobs.relaxation import results_of

    if not output.exists():
        return []
    none = results_of(frames, work, [], {})
    return [table for table in tables if none.has_table(table)]


def _relax_each(
    frames: list[Atoms],
    output: Path,
    tables: list[Path],
    work: Relaxation,
    processes: int,
    scheduler: str | None,
    overwrite: bool,
) -> None:
    from se3set_ase.io.extended_xyz import frames_of_file
    from se3set_ase.jobs.executor import task_executor
    from se3set_ase.jobs.relaxation import results_of
    from se3set_ase.jobs.resumable import work_on
    from se3set_ase.potential import Potential
    from se3set_ase.simulate.relaxation import checked_optimizer

    checked_optimizer(work.optimizer, work.fmax, work.steps)
    # Load and compile once before the processes start: an error of the model is raised here, not
    # recorded for each molecule.
    with progress_bar("compiling", None, "", show=work.compile):
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
    found = list(frames_of_file(output)) if done.n_done else []
    results = results_of(frames, work, found, done.failures)
    for table in tables:
        results.to_csv(table)
    typer.echo(f"written: {', '.join(map(str, (output, f'{output}.json', *tables)))}")
    typer.echo(str(results))
    if not all(result.converged for result in results):
        raise typer.Exit(UNFINISHED)
