"""A run that is watched: what is noted, what a notebook is shown, and what is left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import units
from ase.build import molecule
from ase.md.verlet import VelocityVerlet
from ase.optimize import LBFGS
from matplotlib.image import imread
from untrained import Make

from se3set_ase import LivePlot
from se3set_ase.visualize import live


class Notebook:
    """Stands for the place of a notebook's output that is drawn into."""

    def __init__(self) -> None:
        self.shown: list[dict[str, str]] = []

    def update(self, data: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.shown.append(data)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    place = Notebook()
    monkeypatch.setattr(live, "notebook_display", lambda: place)
    return place


def moving(make: Make) -> tuple[Any, Any]:
    atoms = molecule("CH3CH2OH")
    atoms.calc = make()
    atoms.set_momenta(np.random.default_rng(1).normal(size=(9, 3)))
    return atoms, VelocityVerlet(atoms, 0.5 * units.fs)


def test_dynamics(make: Make, notebook: Notebook, tmp_path: Path) -> None:
    atoms, dynamics = moving(make)
    options = {"steps": 12, "every": 0.0, "kinds": "all"}
    with LivePlot(dynamics, atoms, **options, file=tmp_path / "run.png") as plot:
        dynamics.run(12)
    assert len(notebook.shown) >= 2
    assert "step 0 of 12" in notebook.shown[0]["text/html"]
    last = notebook.shown[-1]
    assert last["text/plain"].startswith("step 12 of 12, ")
    assert '<progress value="12" max="12"' in last["text/html"]
    assert 'src="data:image/png;base64,iVBOR' in last["text/html"]
    hot, energies, forces, events = plot.figure().axes
    times = 0.5 * np.arange(13)  # fs
    for panel in (hot, energies, forces):
        assert panel.lines[0].get_xdata() == pytest.approx(times)
    assert hot.lines[0].get_ydata()[-1] == pytest.approx(
        2 * atoms.get_kinetic_energy() / (27 * units.kB)
    )
    longest = np.linalg.norm(atoms.get_forces(), axis=1).max()
    assert forces.lines[0].get_ydata()[-1] == pytest.approx(longest)
    assert plot.observer.events == atoms.calc.events
    n_drawn = sum(len(line.get_xdata()) for line in events.lines)
    assert n_drawn == len(plot.observer.events) > 0
    assert len(events.lines) == 6
    assert imread(tmp_path / "run.png").shape[0] > 500


def test_relaxation(make: Make, notebook: Notebook) -> None:
    atoms = molecule("CH3CH2OH")
    atoms.calc = make()
    optimizer = LBFGS(atoms, logfile=None)
    with LivePlot(optimizer, atoms, fmax=0.3) as plot:
        optimizer.run(fmax=0.3, steps=8)
    energies, forces, _ = plot.figure().axes
    assert energies.lines[0].get_ydata()[-1] < energies.lines[0].get_ydata()[0] == 0
    assert forces.get_yscale() == "log"
    assert list(forces.lines[1].get_ydata()) == [0.3, 0.3]
    assert "<progress" not in notebook.shown[-1]["text/html"]  # nobody knows how many steps


def test_an_interrupted_run_is_drawn_and_not_changed(make: Make, notebook: Notebook) -> None:
    atoms, dynamics = moving(make)

    def stop() -> None:
        if dynamics.nsteps == 6:  # before the plot notes it
            raise KeyboardInterrupt

    dynamics.attach(stop)
    plot = LivePlot(dynamics, atoms, steps=50)
    with pytest.raises(KeyboardInterrupt), plot:
        dynamics.run(50)
    assert notebook.shown[-1]["text/plain"].startswith("step 5 of 50")
    assert "left" in notebook.shown[-1]["text/plain"]
    dynamics.observers = [o for o in dynamics.observers if o[0] is not stop]
    dynamics.run(3)
    assert len(plot.figure().axes[0].lines[0].get_xdata()) == 6


def test_drawing_is_a_small_part_of_the_time(make: Make, notebook: Notebook) -> None:
    atoms, dynamics = moving(make)
    with LivePlot(dynamics, atoms, every=1e9):
        dynamics.run(6)
    assert len(notebook.shown) == 2  # the first step and the end


def test_without_a_notebook_nothing_is_shown(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    atoms, dynamics = moving(make)
    with LivePlot(dynamics, atoms, steps=2) as plot:
        dynamics.run(2)
    assert capsys.readouterr() == ("", "")
    assert len(plot.figure().axes) == 4
