"""The command ``learn``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from se3set_ase.cli.options import (
    INTERRUPTED,
    By,
    Charge,
    ConformerSeed,
    First,
    Overwrite,
    name_and_value,
)
from se3set_ase.learning import defaults

if TYPE_CHECKING:
    from se3set_ase.learning.prepare import Prepared

__all__ = ["learn"]


def learn(
    start: Annotated[
        list[str],
        typer.Argument(
            help="A molecule (any file that ASE reads, or SMILES); reactant and product (two "
            "files, or one with two frames); or a trajectory."
        ),
    ],
    method: Annotated[
        str,
        typer.Option(
            "--method",
            "-m",
            help="wB97X-3c or FUNCTIONAL/BASIS (PySCF), GFN2-xTB (tblite) or MODULE:CLASS.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the model.")],
    option: Annotated[
        list[str] | None,
        typer.Option(help="Option of the method as NAME=VALUE, such as grid_level=4."),
    ] = None,
    charge: Charge = None,
    temperature: Annotated[
        list[float] | None,
        typer.Option(
            help="Temperature of the dynamics, K; repeat it for several.  [default: 300 and 500]"
        ),
    ] = None,
    forces: Annotated[
        float, typer.Option(help="Target: mean error of forces on fresh geometries, meV/A.")
    ] = defaults.FORCES,
    labels: Annotated[
        int, typer.Option(help="Largest number of labels, those of the final test included.")
    ] = defaults.LABELS,
    hours: Annotated[
        float | None, typer.Option(help="Longest wall time.  [default: no limit]")
    ] = None,
    committee: Annotated[
        int, typer.Option(min=1, help="Number of models, whose disagreement chooses geometries.")
    ] = defaults.COMMITTEE,
    choice: Annotated[
        By | None,
        typer.Option(
            help="Geometries to label: the most uncertain ones, the most different ones, or any.  "
            "[default: committee, different with one model]"
        ),
    ] = None,
    initial: Annotated[
        str | None,
        typer.Option(
            help="Model to start from, by name or path, or none.  [default: a bundled model of the "
            "same level of theory, else organic]"
        ),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Learn a correction to this method, such as GFN2-xTB.")
    ] = None,
    torsions: Annotated[
        bool, typer.Option(help="Begin half of the dynamics after rotations about single bonds.")
    ] = True,
    dimers: Annotated[
        bool, typer.Option("--dimers", help="Also learn contacts of two molecules.")
    ] = False,
    reaction: Annotated[
        bool | None,
        typer.Option(help="Two geometries are reactant and product, or not.  [default: they are]"),
    ] = None,
    per_round: Annotated[
        int | None, typer.Option(min=2, help="Labels in a round.  [default: an eighth of --labels]")
    ] = None,
    training_frames: Annotated[
        int,
        typer.Option(
            min=1, help="Geometries that the training of a round processes, all epochs together."
        ),
    ] = defaults.TRAINING_FRAMES,
    first: Annotated[
        First | None,
        typer.Option(
            help="What moves the atoms before a model is trained.  [default: the first of these "
            "that is possible]"
        ),
    ] = None,
    processes: Annotated[
        int, typer.Option("--processes", "-p", min=1, help="Number of processes that make labels.")
    ] = 1,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a dask scheduler; replaces --processes.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random numbers.")] = 0,
    conformer_seed: ConformerSeed = 0,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check everything, say what it would cost, and end."),
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Learn a potential for your own molecule or reaction.

    Samples geometries, labels those about which a committee of models is least sure, and trains,
    until the errors on fresh geometries are small enough. The same command resumes an interrupted
    run. Ctrl-C keeps the model of the last finished round.
    """
    from se3set_ase.jobs.executor import task_executor

    try:
        from se3set_ase.learning.prepare import prepare
        from se3set_ase.learning.run import run
    except ModuleNotFoundError as error:
        raise ValueError(
            f"learning needs the package {error.name!r}: pip install 'se3set-ase[label,train]'"
        ) from error
    prepared = prepare(
        start,
        method=method,
        output=output,
        charge=charge,
        options=dict(map(name_and_value, option or [])),
        temperatures_K=temperature or defaults.TEMPERATURES_K,
        forces=forces,
        labels=labels,
        hours=hours,
        committee=committee,
        choice=None if choice is None else choice.value,
        initial=initial,
        baseline=baseline,
        torsions=torsions,
        dimers=dimers,
        reaction=reaction,
        per_round=per_round,
        training_frames=training_frames,
        first=None if first is None else first.value,
        seed=seed,
        conformer_seed=conformer_seed,
        overwrite=overwrite,
    )
    typer.echo(prepared.describe())
    if dry_run:
        _print_cost(prepared, processes, scheduler)
        return
    with task_executor(processes, scheduler) as executor:
        try:
            learned = run(prepared, executor, overwrite=overwrite)
        except KeyboardInterrupt:
            typer.echo("no round was finished; run the same command to resume", err=True)
            raise
    typer.echo(learned)
    typer.echo(f"written: {output}")
    typer.echo(f"\n{learned.code}")
    if learned.interrupted:
        typer.echo("run the same command to resume", err=True)
        raise typer.Exit(INTERRUPTED)


def _print_cost(prepared: Prepared, processes: int, scheduler: str | None) -> None:
    from se3set_ase.io.progress import duration
    from se3set_ase.jobs.executor import task_executor
    from se3set_ase.learning.cost import measured

    with task_executor(processes, scheduler):
        cost = measured(prepared.job)
    n, seconds = prepared.budget.labels, cost.label
    typer.echo(f"one label: {seconds:.2f} s")
    where = f"on {scheduler}" if scheduler else f"with {processes} process" + "es" * (processes > 1)
    each = "each as fast as here, " if scheduler or processes > 1 else ""
    parallel = 1 if scheduler else processes
    typer.echo(
        f"{n} labels, {where}: {each}{duration(n * seconds / parallel)} at most\n"
        f"training: {duration(cost.training(prepared.job, prepared.budget))} at most; sampling is "
        "not included"
    )
