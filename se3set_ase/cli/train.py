"""The commands that make models: ``label`` and ``train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from se3set_ase.cli.console import (
    check_readable,
    refuse_other_state,
    refuse_periodic,
)
from se3set_ase.cli.options import (
    MAX_FAILURES_PRINTED,
    UNFINISHED,
    Charge,
    ConformerSeed,
    Isolated,
    SpinMultiplicity,
    Structures,
    name_and_value,
)
from se3set_ase.cli.source import find_source
from se3set_ase.io.progress import progress_bar

__all__ = ["label", "train"]


def label(
    file: Structures,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            "-m",
            help="wB97X-3c or FUNCTIONAL/BASIS (PySCF), GFN2-xTB (tblite) or MODULE:CLASS.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Output.  [default: mol-labelled.xyz for mol.xyz]"),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="Option of the method as NAME=VALUE, such as grid_level=4."),
    ] = None,
    processes: Annotated[
        int,
        typer.Option(
            "--processes", "-p", min=1, help="Number of processes, each with one thread if several."
        ),
    ] = 1,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a dask scheduler; replaces --processes.")
    ] = None,
    frames_per_task: Annotated[
        int, typer.Option(min=1, help="Frames per task; increase it for fast methods.")
    ] = 1,
    charge: Charge = None,
    spin_multiplicity: SpinMultiplicity = None,
    conformer_seed: ConformerSeed = 0,
    isolated: Isolated = False,
) -> None:
    """Label geometries with energies and forces from quantum chemistry.

    The same command resumes an interrupted run. The exit code is 1 if a geometry has no label.
    """
    from se3set_ase.jobs.executor import task_executor
    from se3set_ase.label.labellers import make_labeller
    from se3set_ase.label.run import label as run_labelling

    labeller = make_labeller(
        method,
        charge=charge,
        spin_multiplicity=spin_multiplicity,
        options=dict(map(name_and_value, option or [])),
    )
    source = find_source(file, conformer_seed)
    frames = [
        refuse_other_state(
            refuse_periodic(atoms, file), file, charge=charge, spin_multiplicity=spin_multiplicity
        )
        for atoms in source.frames(charge=charge, isolated=isolated)
    ]
    output = output or Path(f"{source.stem}-labelled.xyz")
    try:
        with (
            task_executor(processes, scheduler) as executor,
            progress_bar("label", len(frames), "frame") as progress,
        ):
            done = run_labelling(
                frames,
                labeller,
                output,
                executor=executor,
                frames_per_task=frames_per_task,
                progress=progress,
            )
    except KeyboardInterrupt:
        typer.echo("run the same command to resume", err=True)
        raise
    typer.echo(
        f"{done.n_done} of {len(frames)} geometries labelled, {done.n_kept} by an earlier run"
    )
    for index, why in list(done.failures.items())[:MAX_FAILURES_PRINTED]:
        typer.echo(f"frame {index} failed: {why}")
    if len(done.failures) > MAX_FAILURES_PRINTED:
        typer.echo(f"... and {len(done.failures) - MAX_FAILURES_PRINTED} more")
    typer.echo(f"written: {output}, {output}.json")
    if done.failures:
        raise typer.Exit(UNFINISHED)


def train(
    config: Annotated[Path, typer.Argument(help="Training configuration, YAML.")],
) -> None:
    """Train a model, or resume an interrupted training with the same configuration."""
    check_readable(config)
    try:
        from se3set_ase.train.config import load_config
        from se3set_ase.train.run import train as run_training
    except ModuleNotFoundError as error:
        raise ValueError(
            f"training needs the package {error.name!r}: pip install 'se3set-ase[train]'"
        ) from error
    try:
        folder = run_training(load_config(config))
    except FloatingPointError as error:
        raise ValueError(str(error)) from error
    except KeyboardInterrupt:
        typer.echo("run the same command to resume from the last validation", err=True)
        raise
    typer.echo(f"written: {folder}")
