"""Python and the command line have the same defaults."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import typer

from se3set_ase import SE3SetCalculator
from se3set_ase.cli import app
from se3set_ase.jobs.relaxation import Relaxation
from se3set_ase.simulate import md, relax, relax_many

#: Names that differ: units are in the help texts of options.
OPTIONS = {"temperature_K": "temperature"}
#: The commands write files by default, and show their own progress.
OF_THE_COMMANDS = {"atoms", "hessian", "molecules", "potential", "progress", "trajectory", "events"}
#: Arguments of the calculator that are not options.
NOT_OPTIONS = {"baseline", "molecule", "scatter", "skin", "kwargs"}


def options_of(command: str) -> dict[str, Any]:
    """Defaults of a command as its parser has them."""
    group: Any = typer.main.get_command(app)
    found = {option.name: option.default for option in group.commands[command].params}
    return {k: v.value if isinstance(v, enum.Enum) else v for k, v in found.items()}


def arguments_of(function: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters
    return {OPTIONS.get(name, name): p.default for name, p in parameters.items()}


@pytest.mark.parametrize(
    ("command", "function", "left_out"),
    [
        ("relax", relax, OF_THE_COMMANDS),
        ("relax", relax_many, OF_THE_COMMANDS),
        ("relax", Relaxation, {"model"}),
        ("relax", SE3SetCalculator, NOT_OPTIONS | {"refragment"}),
        ("md", md, OF_THE_COMMANDS),
        ("md", SE3SetCalculator, NOT_OPTIONS),
    ],
)
def test_defaults_are_the_same(
    command: str, function: Callable[..., Any], left_out: set[str]
) -> None:
    options = options_of(command)
    arguments = {k: v for k, v in arguments_of(function).items() if k not in left_out}
    assert len(arguments) >= 3
    # Without these options, the file counts, and without a declaration the default of Python.
    undeclared = {"charge": 0, "spin_multiplicity": 1}
    assert all(options[name] is None for name in undeclared if name in arguments)
    options |= undeclared
    assert arguments == {name: options[name] for name in arguments}


def test_a_different_default_is_found() -> None:
    """The control."""
    with pytest.raises(AssertionError):
        test_defaults_are_the_same("md", relax, OF_THE_COMMANDS | {"optimizer", "fmax"})
