"""Options that several commands share."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

INTERRUPTED = 130
"""Exit code, 128 + SIGINT, as shells have it."""
UNFINISHED = 1
"""Exit code where files were written, but not all of what was asked for was reached."""
TOLD = 10
"""Failures of many that are told; files have all."""


class Precision(str, enum.Enum):
    """Arithmetic of the network."""

    float32 = "float32"
    float64 = "float64"


class Ensemble(str, enum.Enum):
    """What stays constant in molecular dynamics."""

    langevin = "langevin"
    nve = "nve"


class Velocities(str, enum.Enum):
    """What a run begins with."""

    maxwell = "maxwell"
    keep = "keep"


class Membership(str, enum.Enum):
    """How an atom belongs to a fragment."""

    smooth = "smooth"
    frozen = "frozen"
    hard = "hard"


Model = Annotated[
    str, typer.Option("--model", "-m", help="Bundled name, model folder, or a file in it.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Dtype = Annotated[Precision, typer.Option(help="Arithmetic.")]
Charge = Annotated[int, typer.Option(help="Total charge of the molecule.")]
SpinMultiplicity = Annotated[
    int, typer.Option(min=1, help="One more than the unpaired electrons of the molecule.")
]
Structure = Annotated[
    Path, typer.Argument(help="Any file that ASE reads; its last frame is taken.")
]
Record = Annotated[
    int | None,
    typer.Option(help="Number of the structure in the file, from 0; the last one by default."),
]
Isolated = Annotated[
    bool,
    typer.Option("--isolated", help="Ignore the cell of the file; molecules cut by it are mended."),
]
Compile = Annotated[
    bool,
    typer.Option("--compile", help="Compile the model: minutes once, then 1.5 to 6 times faster."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")]
Events = Annotated[
    Path | None,
    typer.Option(help="Refragmentation log, JSON lines.  [default: STEM-COMMAND.events.jsonl]"),
]
