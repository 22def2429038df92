"""The time of a run that continues another one, and the seed of its random numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.io import read, write
from typer.testing import CliRunner

from se3set_ase.cli import app
from se3set_ase.events.files import read_events
from se3set_ase.events.log import Event, EventLog
from se3set_ase.simulate import md

SAME = 1e-12  # ps


class LoggingEMT(EMT):
    """EMT that logs an event in every fifth calculation."""

    def __init__(self) -> None:
        super().__init__()
        self.event_log = EventLog()
        self.calls = 0

    def calculate(self, *args: Any, **kwargs: Any) -> None:
        super().calculate(*args, **kwargs)
        self.calls += 1
        if self.calls % 5 == 0:
            event = {"kind": "bond broken", "atoms": (0, 1), "symbols": ("C", "H")}
            self.event_log.add([Event(step=0, weight=0.4, energy=0.0, **event)])


def ethane() -> Atoms:
    atoms = molecule("C2H6")
    atoms.rattle(0.02, seed=1)
    atoms.calc = LoggingEMT()
    return atoms


@pytest.mark.parametrize("suffix", [".traj", ".xyz"])
def test_time_continues_from_the_file(tmp_path: Path, suffix: str) -> None:
    first, second = tmp_path / f"first{suffix}", tmp_path / f"second{suffix}"
    md(ethane(), steps=8, timestep=0.5, interval=4, trajectory=first)
    assert [a.info["time_ps"] for a in read(first, ":")] == pytest.approx([0, 0.002, 0.004])
    atoms = read(first)
    atoms.calc = LoggingEMT()
    log = tmp_path / "second.jsonl"
    # Another time step: the time of a frame is not its step times the present one.
    result = md(
        atoms,
        steps=8,
        timestep=0.25,
        interval=4,
        velocities="keep",
        trajectory=second,
        events=log,
    )
    expected = [0.004, 0.005, 0.006]
    assert result.time == pytest.approx(expected, abs=SAME)
    assert [a.info["time_ps"] for a in read(second, ":")] == pytest.approx(expected, abs=SAME)
    assert atoms.info["time_ps"] == pytest.approx(0.006, abs=SAME)
    assert result.events
    times = [0.004 + 0.00025 * event.step for event in result.events]
    assert result.event_times == pytest.approx(times, abs=SAME)
    assert read_events(log).times == pytest.approx([1000 * t for t in times], abs=1000 * SAME)
    assert "8 steps, from 0.004 to 0.006 ps" in str(result)


def test_new_velocities_start_a_new_clock() -> None:
    atoms = ethane()
    for _ in range(2):
        result = md(atoms, steps=4, interval=2)
        assert result.time == pytest.approx([0.0, 0.001, 0.002], abs=SAME)
    assert md(atoms, steps=2, velocities="keep").time[0] == pytest.approx(0.002, abs=SAME)


def test_time_after_ctrl_c_is_that_of_the_last_step() -> None:
    atoms = ethane()

    def stop(_: int) -> None:
        if atoms.calc.calls == 8:
            raise KeyboardInterrupt

    result = md(atoms, steps=100, interval=50, progress=stop)
    assert result.interrupted
    assert atoms.info["time_ps"] == result.time[-1] == pytest.approx(0.0005 * result.n_steps)
    assert result.n_steps > 3


@pytest.mark.parametrize("time", ["noon", float("nan"), True, None])
def test_an_invalid_time_is_refused(time: Any) -> None:
    atoms = ethane()
    md(atoms, steps=1)
    atoms.info["time_ps"] = time
    with pytest.raises(ValueError, match=r"expected a finite time \(ps\) in info\['time_ps'\]"):
        md(atoms, steps=1, velocities="keep")


@pytest.mark.parametrize("ensemble", ["langevin", "nve"])
def test_a_seed_that_is_not_given_is_drawn_and_reported(ensemble: Any) -> None:
    one, other = (md(ethane(), steps=5, ensemble=ensemble) for _ in range(2))
    assert one.seed != other.seed
    assert np.abs(one.potential - other.potential).max() > 1e-6
    again = md(ethane(), steps=5, ensemble=ensemble, seed=one.seed)
    assert again.potential == pytest.approx(one.potential, abs=1e-12)
    assert f"seed {one.seed}" in str(one)


def test_no_seed_is_reported_where_none_repeats_the_run() -> None:
    atoms = ethane()
    assert md(atoms, steps=1, seed=np.random.default_rng(1)).seed is None
    result = md(atoms, steps=1, ensemble="nve", velocities="keep")
    assert result.seed is None
    assert "seed" not in str(result)


def test_the_command_continues_the_clock_or_says_why_not(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write("ethanol.xyz", molecule("CH3CH2OH"))

    def command(*arguments: object) -> Any:
        given = ["md", *arguments, "-m", saved, "--interval", 2]
        return CliRunner().invoke(app, [str(argument) for argument in given])

    first = command("ethanol.xyz", "--steps", 4)
    assert first.exit_code == 0, first.output
    seed = first.stdout.split("seed ")[1].split()[0]
    kept = command("ethanol-md.traj", "--steps", 2, "--velocities", "keep")
    assert kept.exit_code == 0, kept.output
    assert "from 0.002 to 0.003 ps" in kept.stdout
    rows = Path("ethanol-md-md.csv").read_text().splitlines()
    assert [float(row.split(",")[0]) for row in rows[1:]] == pytest.approx([0.002, 0.003])
    before = Path("ethanol-md.csv").read_text()
    assert command("ethanol.xyz", "--steps", 4, "--overwrite").exit_code == 0
    assert Path("ethanol-md.csv").read_text() != before
    assert command("ethanol.xyz", "--steps", 4, "--seed", seed, "--overwrite").exit_code == 0
    assert Path("ethanol-md.csv").read_text() == before

    untimed = read("ethanol-md.traj")
    del untimed.info["time_ps"]
    write("untimed.traj", untimed)
    with pytest.warns(UserWarning, match=r"untimed\.traj states no time, .*: the time starts at 0"):
        silent = command("untimed.traj", "--steps", 2, "--velocities", "keep")
    assert silent.exit_code == 0, silent.output
    assert "2 steps, 0.001 ps" in silent.stdout
