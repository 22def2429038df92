"""Long runs show that they proceed: a bar in a terminal, elsewhere a line now and then."""

from __future__ import annotations

import io
import sys
import time

import pytest

from se3set_ase.io import progress
from se3set_ase.io.progress import duration, progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_without_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINES_EVERY", 0.02)
    with progress_bar("label", 12, "frame") as bar:
        bar(3)
        bar.note = "E 5 meV"
        time.sleep(0.2)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 2
    assert lines[-1] == "label: 3 of 12 frames, 25 %, 0 s, E 5 meV"


def test_a_short_run_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("label", 12, "frame") as bar:
        bar(12)
    assert capsys.readouterr() == ("", "")


def test_nothing_where_nobody_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINES_EVERY", 0.01)
    with progress_bar("label", 12, "frame", show=False) as bar:
        bar(1)
        time.sleep(0.1)
    assert capsys.readouterr() == ("", "")


def test_a_bar_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_bar("small", 30, "epoch", done=10) as bar:
        bar.note = "E 5 meV"
        bar(20)
    assert "10/30" in terminal.getvalue()
    assert "30/30" in terminal.getvalue()
    assert "E 5 meV" in terminal.getvalue()


def test_a_clock_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The only progress of a compilation is time."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "CLOCK_EVERY", 0.02)
    with progress_bar("compiling", None, ""):
        time.sleep(0.2)
    assert terminal.getvalue().count("compiling: 00:00") >= 3


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59, "59 s"), (61, "1 min"), (7_260, "2 h 1 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_an_unknown_total() -> None:
    bar = progress.Progress("relax", None, "step")
    bar(1)
    assert str(bar) == "relax: 1 step, 0 s"
