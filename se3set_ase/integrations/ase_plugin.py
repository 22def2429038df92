"""Plugin for ASE 3.29 and later (entry point ``ase.plugins``): the calculator by its name.

It is created on first use, because ASE loads this module while its plugin system is imported.
"""

from __future__ import annotations

from functools import cache
from typing import Any


@cache  # ASE compares plugins by identity
def _plugins() -> frozenset[Any]:
    from ase._4.plugins.plugin import CalculatorPlugin

    return frozenset(
        {
            CalculatorPlugin(
                "se3set",
                citation="arXiv:2405.16511",
                implementation="se3set_ase.calculator.SE3SetCalculator",
            )
        }
    )


def __getattr__(name: str) -> Any:
    if name == "__ase_plugins__":
        try:
            return _plugins()
        except ImportError as error:
            # ASE calls its plugins experimental. If they move, ASE should only miss this one, not
            # fail to list all the others.
            raise AttributeError("no plugins in this ASE") from error
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
