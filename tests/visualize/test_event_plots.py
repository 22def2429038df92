"""Plots of events show bonds first, and say so where none changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from se3set_ase.events.log import Event
from se3set_ase.simulate.plots import draw_events, plot_timeline

FRAGMENTS, REACH = ("fragments merged", (0, 1, 2)), ("reach lost", (0, 1, 2))
BOND = ("bond broken", (0, 1))


def made(*kinds: tuple[str, tuple[int, ...]]) -> tuple[list[Event], list[float]]:
    values = {"weight": 0.4, "energy": 0.0}
    events = [
        Event(step=k, kind=kind, atoms=atoms, symbols=("O", "H", "H")[: len(atoms)], **values)
        for k, (kind, atoms) in enumerate(kinds)
    ]
    return events, [10.0 * (k + 1) for k in range(len(kinds))]


def texts(axis: Any) -> list[str]:
    written = [*axis.texts, *axis.get_yticklabels(), axis.title, axis._left_title]
    return [text.get_text() for text in written if text.get_text()]


def panel(events: Sequence[Event], times: Sequence[float], **options: Any) -> Any:
    axis = Figure().subplots()
    draw_events(axis, events, times, **options)
    return axis


def timeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *arguments: Any, **options: Any
) -> Any:
    """The axis of the plot that is written."""
    figures: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k))
    )
    plot_timeline(*arguments, tmp_path / "plot.png", **options)
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    return figures[-1].axes[0]


def test_panel_of_bonds() -> None:
    axis = panel(*made(BOND, FRAGMENTS, REACH, REACH))
    assert {"bond formed (0)", "bond broken (1)"} <= set(texts(axis))
    assert "not shown: 1 change of fragments, 2 of reach (kinds: all)" in texts(axis)
    assert [len(line.get_xdata()) for line in axis.lines] == [0, 1]
    every = panel(*made(BOND, FRAGMENTS, REACH, REACH), kinds="all")
    assert [len(line.get_xdata()) for line in every.lines] == [0, 1, 1, 0, 0, 2]
    assert not any("not shown" in text for text in texts(every))


def test_panel_without_bond_changes() -> None:
    assert "no bond changed" in texts(panel(*made(REACH)))
    assert "no bond changed" in texts(panel([], []))
    assert "no bond changed" not in texts(panel(*made(BOND)))


def test_timeline_of_bonds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = made(BOND, FRAGMENTS, REACH, REACH)
    axis = timeline(tmp_path, monkeypatch, *events)
    assert [text for text in texts(axis) if text.startswith("O0")] == ["O0-H1"]
    assert any("not shown: 1 change of fragments, 2 of reach" in text for text in texts(axis))
    axis = timeline(tmp_path, monkeypatch, *events, kinds="bonds,fragments")
    assert [text for text in texts(axis) if text.startswith("O0")] == ["O0-H1", "O0 H1 H2"]
    axis = timeline(tmp_path, monkeypatch, *events, kinds="all")
    assert {"reach gained (0)", "reach lost (2)"} <= set(texts(axis))
    assert list(axis.lines[1].get_xdata()) == [30.0, 40.0]


def test_timeline_without_bond_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for events in (made(REACH, FRAGMENTS), made()):
        axis = timeline(tmp_path, monkeypatch, *events)
        assert "no bond changed" in texts(axis)
    axis = timeline(tmp_path, monkeypatch, *made(REACH, FRAGMENTS), kinds="all")
    assert any("no bond changed" in text for text in texts(axis))
    axis = timeline(tmp_path, monkeypatch, *made(BOND))
    assert not any("no bond changed" in text for text in texts(axis))  # the control
