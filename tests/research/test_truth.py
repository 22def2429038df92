"""Errors and scores of a method on benchmark reactions."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase.build import molecule

from research.paths import DOCS
from research.truth.__main__ import read_errors
from research.truth.plot import draw
from research.truth.reactions import (
    KCAL,
    TRUTH,
    Reaction,
    SetErrors,
    balanced,
    errors,
    load,
    score,
)
from se3set_ase.label import make_labeller


def test_errors_by_set() -> None:
    reactions = [
        Reaction(set="one", category="barriers", species={"a": -1, "b": 1}, energy=10.0),
        Reaction(set="one", category="barriers", species={"a": -2, "c": 1}, energy=-20.0),
        Reaction(set="two", category="barriers", species={"a": 1, "unknown": 1}, energy=1.0),
    ]
    energies = {"a": 0.0, "b": 12.0 * KCAL, "c": -16.0 * KCAL}
    (found,) = errors(reactions, energies)
    assert (found.set, found.n, found.mean_abs_energy) == ("one", 2, 15.0)
    assert found.mad == pytest.approx(3.0)


def test_monomers_of_equal_molecules_count_twice() -> None:
    water, dimer = molecule("H2O"), molecule("H2O") + molecule("H2O")
    species = {"w": water, "d": dimer, "m": molecule("CH4")}
    assert balanced({"d": 1.0, "w": -1.0}, species) == {"d": 1.0, "w": -2.0}
    assert balanced({"d": 1.0, "w": -2.0}, species) == {"d": 1.0, "w": -2.0}
    with pytest.raises(ValueError, match="conserves atoms"):
        balanced({"d": 1.0, "m": -1.0}, species)


def test_score_weighs_sets_by_their_energies() -> None:
    small = SetErrors(set="s", category="c", n=10, mean_abs_energy=56.84 / 4, mad=1.0)
    large = SetErrors(set="l", category="c", n=30, mean_abs_energy=56.84, mad=2.0)
    assert score([small]) == pytest.approx(4.0)
    assert score([small, large]) == pytest.approx((10 * 4.0 + 30 * 2.0) / 40)


def test_published_figures_of_gfn2_xtb() -> None:
    """The smallest dimers of S22; all of S22 has 0.76 kcal/mol."""
    if not TRUTH.exists():
        pytest.skip("the benchmark reactions are missing")
    reactions, species = load()
    assert len(reactions) == 1025
    small = [
        r for r in reactions if r.set == "S22" and max(len(species[n]) for n in r.species) <= 16
    ]
    labeller = make_labeller("GFN2-xTB")
    energies = {name: labeller(species[name]).energy for r in small for name in r.species}
    (found,) = errors(small, energies)
    assert found.n >= 6
    assert 0.3 < found.mad < 1.5


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="GSCDB138"):
        load(tmp_path / "none.json.gz")


def test_scores_are_drawn(tmp_path: Path) -> None:
    methods = read_errors(DOCS / "truth.csv")
    assert {"organic", "GFN2-xTB"} <= methods.keys()
    draw(methods, tmp_path / "truth.png")
    assert (tmp_path / "truth.png").read_bytes().startswith(b"\x89PNG")
