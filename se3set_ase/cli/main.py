"""The command ``se3set-ase``.

Results go to standard output and to files; progress and errors go to standard error. Invalid input
ends with one plain sentence and exit code 2, Ctrl-C with exit code 130.
"""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from se3set_ase import __version__
from se3set_ase.cli.console import (
    check_outputs,
    check_readable,
    count_frames,
    read_frames,
    refuse_other_state,
    refuse_periodic,
)
from se3set_ase.cli.dynamics import md
from se3set_ase.cli.learn import learn
from se3set_ase.cli.options import (
    INTERRUPTED,
    Charge,
    Compile,
    ConformerSeed,
    Device,
    Dtype,
    Isolated,
    Kinds,
    OtherLevels,
    Overwrite,
    Precision,
    Record,
    SpinMultiplicity,
    Structure,
)
from se3set_ase.cli.relaxation import relax
from se3set_ase.cli.source import find_source, read_molecule
from se3set_ase.cli.train import label, train
from se3set_ase.cli.vibrations import vibrations
from se3set_ase.cli.wording import for_shell
from se3set_ase.events.kinds import BONDS, checked_kinds
from se3set_ase.io.progress import progress_bar
from se3set_ase.io.text import counted

__all__ = ["app"]

BAD_INPUT = 2


class PlainErrors(TyperGroup):
    """Reports invalid input in one sentence; only unexpected errors have a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; exit with 2 for invalid input and with 130 after Ctrl-C."""
        from ase.calculators.calculator import CalculatorError

        try:
            with _command_line_conventions():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except (ValueError, OSError, CalculatorError) as error:
            if ctx.params.get("traceback"):
                raise
            typer.echo(f"error: {for_shell(error)}", err=True)
            raise typer.Exit(BAD_INPUT) from None


class _LogLines(logging.Handler):
    """Writes records to standard error, between progress bars."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        from tqdm import tqdm

        tqdm.write(for_shell(record.getMessage()), file=sys.stderr)


@contextlib.contextmanager
def _command_line_conventions() -> Iterator[None]:
    """One-line warnings and log records, and SIGTERM (of queueing systems) handled like Ctrl-C."""
    logger, lines = logging.getLogger("se3set_ase"), _LogLines(logging.WARNING)
    logger.addHandler(lines)
    formatted = warnings.formatwarning
    warnings.formatwarning = lambda text, *_, **__: f"warning: {for_shell(text)}\n"
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler) if in_main_thread else None
    try:
        yield
    finally:
        warnings.formatwarning = formatted
        logger.removeHandler(lines)
        if in_main_thread:
            signal.signal(signal.SIGTERM, before)


app = typer.Typer(
    cls=PlainErrors,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # it would remove our [default: ...]
    pretty_exceptions_enable=False,
    help="SE3Set, a hypergraph neural network potential that refragments smoothly.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"se3set-ase {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Print the traceback of an error.")
    ] = False,
) -> None:
    """Global options, which come before the command."""


@app.command()
def models() -> None:
    """List the models that come with the package."""
    from se3set_ase.checkpoint.registry import list_models
    from se3set_ase.cli.report import describe_models

    typer.echo(describe_models(list_models()))


@app.command()
def evaluate(
    model: Annotated[
        str, typer.Argument(help="Name of a bundled model, or path of a model folder.")
    ],
    file: Annotated[
        Path,
        typer.Argument(help="Frames with energies (eV) and forces (eV/A): extended XYZ or .traj."),
    ],
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the errors to this file, as JSON.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Molecules per call.")] = 16,
    other_level: Annotated[
        OtherLevels,
        typer.Option(
            help="Labels of another level of theory: refuse; align: fit energies of the elements "
            "first; compare: as they are."
        ),
    ] = OtherLevels.refuse,
    uncertainty: Annotated[
        bool, typer.Option(help="Evaluate the committee: takes three times as long.")
    ] = True,
    device: Device = "auto",
    dtype: Dtype = Precision.float64,
    compile: Compile = False,
    charge: Charge = None,
    spin_multiplicity: SpinMultiplicity = None,
    isolated: Isolated = False,
    overwrite: Overwrite = False,
) -> None:
    """Measure the errors of a model on labelled frames.  Ctrl-C prints those so far."""
    from se3set_ase import evaluate as evaluation
    from se3set_ase.cli.report import describe_errors
    from se3set_ase.evaluate.frames import ALIGN
    from se3set_ase.io.files import write_atomically
    from se3set_ase.potential import Potential

    check_readable(file)
    if json_file is not None:
        check_outputs(overwrite, json_file)
    with progress_bar("compiling", None, "", show=compile):
        potential = Potential(model, device=device, dtype=dtype.value, compile=compile)
    frames = (
        refuse_other_state(
            refuse_periodic(atoms, file), file, charge=charge, spin_multiplicity=spin_multiplicity
        )
        for atoms in read_frames(file, charge=charge, isolated=isolated)
    )
    try:
        with progress_bar("evaluate", count_frames(file), "frame") as progress:
            errors = evaluation.evaluate(
                potential,
                frames,
                charge=charge or 0,
                spin_multiplicity=spin_multiplicity or 1,
                batch_size=batch_size,
                other_level=other_level.value,
                uncertainty=uncertainty,
                progress=progress,
            )
    except evaluation.OtherLevel as error:
        raise ValueError(
            f"{file}, {error}; --other-level align fits energies of the elements first, "
            "--other-level compare takes the labels as they are"
        ) from error
    if errors["complete"] and not (errors["n_energies"] or errors["n_force_components"]):
        n_frames = counted(errors["n_frames"], "frame")
        raise ValueError(f"expected energies or forces in {file}, got {n_frames} without")
    notes = [note.replace(ALIGN, "--other-level align") for note in errors["notes"]]
    errors = {"model": model, "file": str(file), **errors, "notes": notes}
    typer.echo(describe_errors(errors))
    if json_file is not None:
        write_atomically(json_file, (json.dumps(errors, indent=2) + "\n").encode())
    if not errors["complete"]:
        raise typer.Exit(INTERRUPTED)


@app.command()
def events(
    file: Annotated[
        Path, typer.Argument(help="Refragmentation log of `md` or `relax` (JSON lines).")
    ],
    residence: Annotated[
        float,
        typer.Option(
            min=0, help="Leave out events that are undone within this many fs (or steps)."
        ),
    ] = 0.0,
    kinds: Kinds = BONDS,
    most: Annotated[int, typer.Option(min=0, help="Print at most this many events.")] = 20,
    plot: Annotated[
        Path | None, typer.Option(help="Plot the events over time to this file.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Print which bonds broke and formed, from a refragmentation log."""
    from se3set_ase.events import lasting, read_events
    from se3set_ase.simulate import plots, report

    checked_kinds(kinds)
    check_readable(file)
    if plot is not None:
        plots.check_format(plot)
        check_outputs(overwrite, plot)
    log = read_events(file)
    kept = lasting(log.events, log.times, residence)
    left = [log.events[k] for k in kept], [log.times[k] for k in kept]
    typer.echo(
        report.describe_log(
            left[0],
            [f"{t:.1f} fs" if log.unit == "fs" else f"step {t:.0f}" for t in left[1]],
            kinds=kinds,
            most=most,
        )
    )
    if plot is not None:
        plots.plot_timeline(*left, plot, unit=log.unit, kinds=kinds)
        typer.echo(f"written: {plot}")


app.command()(relax)
app.command()(md)
app.command()(vibrations)
app.command()(label)
app.command()(train)
app.command()(learn)


@app.command()
def fragments(
    file: Structure,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Use the cutoffs of this model.")
    ] = None,
    record: Record = None,
    conformer_seed: ConformerSeed = 0,
    isolated: Isolated = False,
) -> None:
    """Print the fragments and hyperedges of a molecule."""
    from se3set_ase.checkpoint.registry import resolve_model
    from se3set_ase.checkpoint.store import load_metadata
    from se3set_ase.cli.report import describe_fragments
    from se3set_ase.hypergraph.config import HypergraphConfig

    source = find_source(file, conformer_seed)
    atoms = read_molecule(source, record=record, isolated=isolated)
    config = HypergraphConfig()
    if model is not None:
        config = HypergraphConfig.from_dict(load_metadata(resolve_model(model)).hypergraph)
    typer.echo(describe_fragments(atoms.numbers, atoms.positions, config))
