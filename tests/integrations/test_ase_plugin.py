"""ASE finds the calculator by its name: by the entry point, and in its own table."""

from __future__ import annotations

import subprocess
import sys

import pytest
from ase.calculators.calculator import get_calculator_class

import se3set_ase
import se3set_ase.integrations.ase_plugin
from se3set_ase import SE3SetCalculator

NAME = SE3SetCalculator.name


def test_ase_lists_the_plugin() -> None:
    """By the entry point of the installed package."""
    plugins = pytest.importorskip("ase._4.plugins", reason="ASE has plugins since 3.29").plugins
    (plugin,) = [p for p in plugins.calculators if p.name == NAME]
    assert plugin.implementation is SE3SetCalculator
    assert plugin.package == "se3set_ase"
    assert plugin.version == se3set_ase.__version__
    assert plugin in type(plugins).from_entry_points()  # the same one, when ASE looks again


@pytest.mark.parametrize("first", ["se3set_ase.integrations.ase_plugin", "ase._4.plugins"])
def test_the_plugin_is_listed_whatever_is_imported_first_and_costs_nothing(first: str) -> None:
    pytest.importorskip("ase._4.plugins", reason="ASE has plugins since 3.29")
    code = (
        f"import sys, {first}\n"
        "from ase._4.plugins import plugins\n"
        "import se3set_ase.integrations.ase_plugin\n"
        "assert se3set_ase.integrations.ase_plugin.__ase_plugins__ <= plugins.plugins, plugins\n"
        "assert not {'torch', 'rdkit'} & set(sys.modules), 'loaded before it is used'\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=120)


def test_an_ase_without_plugins_misses_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    uncached = se3set_ase.integrations.ase_plugin._plugins.__wrapped__
    monkeypatch.setattr(se3set_ase.integrations.ase_plugin, "_plugins", uncached)
    monkeypatch.setitem(sys.modules, "ase._4.plugins.plugin", None)
    # As ASE asks for it.
    assert getattr(se3set_ase.integrations.ase_plugin, "__ase_plugins__", set()) == set()
    with pytest.raises(
        AttributeError, match=r"'se3set_ase\.integrations\.ase_plugin' has no attribute 'nonsense'"
    ):
        _ = se3set_ase.integrations.ase_plugin.nonsense


def test_ase_has_the_class_by_its_name() -> None:
    assert get_calculator_class(NAME) is SE3SetCalculator
    with pytest.raises(ImportError):
        get_calculator_class("no such calculator")
