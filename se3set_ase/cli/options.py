"""Options shared by several commands."""

from __future__ import annotations

import enum
import json
from typing import Annotated, Any

import typer

INTERRUPTED = 130
"""Exit code 128 + SIGINT, the convention of shells."""
UNFINISHED = 1
"""Exit code if files were written but part of the task was not achieved."""
MAX_FAILURES_PRINTED = 10
"""Failures of many molecules that are printed; files have all."""


class Precision(str, enum.Enum):
    """Floating-point precision of the network."""

    float32 = "float32"
    float64 = "float64"


class Ensemble(str, enum.Enum):
    """What stays constant in molecular dynamics."""

    langevin = "langevin"
    nve = "nve"


class Velocities(str, enum.Enum):
    """Initial velocities."""

    maxwell = "maxwell"
    keep = "keep"


class Membership(str, enum.Enum):
    """How an atom belongs to a fragment."""

    smooth = "smooth"
    frozen = "frozen"
    hard = "hard"


class By(str, enum.Enum):
    """Which geometries are labelled."""

    committee = "committee"
    different = "different"
    random = "random"


class First(str, enum.Enum):
    """What moves the atoms before a model is trained."""

    gfn2_xtb = "GFN2-xTB"
    model = "model"
    rattle = "rattle"


class OtherLevels(str, enum.Enum):
    """What to do with labels of another level of theory than the model's."""

    refuse = "refuse"
    align = "align"
    compare = "compare"


Model = Annotated[
    str, typer.Option("--model", "-m", help="Name of a bundled model, or path of a model folder.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Dtype = Annotated[Precision, typer.Option(help="Floating-point precision of the network.")]
Charge = Annotated[
    int | None, typer.Option(help="Total charge; by default what the file declares, else 0.")
]
SpinMultiplicity = Annotated[
    int | None,
    typer.Option(
        min=1, help="Unpaired electrons + 1; by default what the file declares, else 1 (a singlet)."
    ),
]
Structure = Annotated[
    str, typer.Argument(help="Any file that ASE reads, whose last frame is used, or SMILES.")
]
Structures = Annotated[
    str, typer.Argument(help="Any file that ASE reads, with one molecule or many, or SMILES.")
]
ConformerSeed = Annotated[
    int,
    typer.Option(min=0, help="Seed of the conformer, for SMILES; others give other conformers."),
]
Kinds = Annotated[
    str,
    typer.Option(
        help="Events that are printed and drawn: bonds, fragments, reach (with commas), or all. "
        "The log has all."
    ),
]
Record = Annotated[
    int | None,
    typer.Option(help="Number of the structure in the file, from 0; the last one by default."),
]
Isolated = Annotated[
    bool,
    typer.Option("--isolated", help="Remove the periodic cell; molecules split by it are joined."),
]
Periodic = Annotated[
    bool, typer.Option("--periodic", help="Compute the periodic cell of the file, which is fixed.")
]
Compile = Annotated[
    bool,
    typer.Option(
        "--compile", help="Compile the model: takes minutes once, then runs 1.5 to 6 times faster."
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")]


def name_and_value(text: str) -> tuple[str, Any]:
    """``grid_level=4`` -> ("grid_level", 4); a value that is not JSON is text."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ValueError(f"expected --option NAME=VALUE, got {text!r}")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
