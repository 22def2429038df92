"""Relaxation and dynamics, with ASE's own calculators standing in where chemistry is no matter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixBondLength, FixBondLengths, MirrorForce
from ase.io import read, ulm
from ase.optimize import BFGS

from se3set_ase.events.files import read_events
from se3set_ase.events.log import Event, EventLog
from se3set_ase.simulate.dynamics import md
from se3set_ase.simulate.relaxation import OPTIMIZERS, relax
from se3set_ase.simulate.results import DynamicsResult

ENERGY_TOLERANCE = 1e-10  # eV, between two runs that must be the same
CLOSE_TO_MINIMUM = 1e-6  # eV, where forces are below 1e-4 eV/A
DRIFT_TOLERANCE = 2.0  # meV/atom/ps, of EMT at 0.5 fs over a fifth of a picosecond
DRIFT_OF_THERMOSTAT = 10.0  # meV/atom/ps, the control


class LoggingEMT(EMT):
    """EMT that logs an event whenever its energy call has a number divisible by ten."""

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__()
        self.calls = 0
        self.stop_at = stop_at
        self.event_log = EventLog()
        self.hypergraph = type("View", (), {"n_hyperedges": 7})()

    def calculate(self, *args: Any, **kwargs: Any) -> None:
        self.calls += 1
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        super().calculate(*args, **kwargs)
        if self.calls % 10 == 0:
            event = Event(
                step=self.calls,
                kind="bond broken",
                atoms=(0, 1),
                symbols=("C", "H"),
                weight=0.5,
                energy=self.results["energy"],
            )
            self.event_log.add([event])


def ethane(calculator: Calculator | None = None) -> Atoms:
    atoms = molecule("C2H6")
    atoms.rattle(0.02, seed=1)
    atoms.calc = calculator or EMT()
    return atoms


@pytest.mark.parametrize("optimizer", [name for name in OPTIMIZERS if name != "MDMin"])
def test_relax_reaches_a_minimum_with_every_optimizer(optimizer: str) -> None:
    atoms = ethane()
    start = atoms.get_potential_energy()
    result = relax(atoms, fmax=0.05, steps=300, optimizer=optimizer)
    assert result.converged
    assert not result.interrupted
    longest = np.sqrt((atoms.get_forces() ** 2).sum(axis=1).max())
    assert longest <= 0.05
    assert result.fmax[-1] == pytest.approx(longest)
    assert result.energy[0] == pytest.approx(start)
    assert result.energy[-1] < start
    assert len(result.energy) == len(result.fmax)


def test_relax_stops_after_its_steps() -> None:
    result = relax(ethane(), fmax=1e-6, steps=3)
    assert not result.converged
    assert result.n_steps == 3
    assert len(result.energy) == 4


@pytest.mark.parametrize("name", ["relax.traj", "relax.xyz"])
def test_relax_writes_its_trajectory(tmp_path: Path, name: str) -> None:
    for _ in range(2):  # the second run replaces the file of the first
        result = relax(ethane(), fmax=0.05, trajectory=tmp_path / name)
    frames = read(tmp_path / name, ":")
    assert len(frames) == len(result.energy)
    energies = [frame.get_potential_energy() for frame in frames]
    assert energies == pytest.approx(result.energy, abs=1e-6)


def test_relax_interrupted_keeps_its_steps(tmp_path: Path) -> None:
    result = relax(ethane(LoggingEMT(stop_at=4)), fmax=1e-6, trajectory=tmp_path / "t.traj")
    assert result.interrupted
    assert not result.converged
    assert len(result.energy) == 3
    assert len(read(tmp_path / "t.traj", ":")) == 3


def test_md_records_and_reports_time(tmp_path: Path) -> None:
    done: list[int] = []
    atoms = ethane()
    result = md(
        atoms,
        steps=20,
        interval=5,
        timestep=0.5,
        trajectory=tmp_path / "md.traj",
        progress=done.append,
    )
    assert result.time == pytest.approx([0.0, 0.0025, 0.005, 0.0075, 0.01])
    assert result.total == pytest.approx(result.potential + result.kinetic)
    assert result.temperature[0] == pytest.approx(300.0)
    assert result.temperature[-1] == pytest.approx(atoms.get_temperature())
    assert np.isnan(result.n_hyperedges).all()
    assert sum(done) == 20
    frames = read(tmp_path / "md.traj", ":")
    assert len(frames) == 5
    assert frames[-1].get_momenta() == pytest.approx(atoms.get_momenta())


@pytest.mark.parametrize(("name", "freedom"), [("H2", 1), ("CO2", 4), ("H2O", 3), ("C2H6", 18)])
def test_without_a_thermostat_the_temperature_counts_moving_degrees_of_freedom(
    name: str, freedom: int
) -> None:
    """Counted by hand: 3 N - 6, of a line 3 N - 5."""
    atoms = molecule(name)
    atoms.calc = EMT()
    result = md(atoms, steps=1, ensemble="nve", temperature_K=300.0)
    assert result.temperature[0] == pytest.approx(300.0)
    assert result.kinetic[0] == pytest.approx(0.5 * freedom * units.kB * 300.0)
    atoms.set_momenta(np.random.default_rng(0).standard_normal((len(atoms), 3)))
    moving = md(atoms, steps=0, ensemble="nve", velocities="keep")
    assert moving.temperature[0] == pytest.approx(atoms.get_temperature())  # all of 3 N do


@pytest.mark.parametrize("run", [relax, md])
@pytest.mark.parametrize("suffix", [".traj", ".xyz"])
def test_refused_runs_write_no_file(run: Any, suffix: str, tmp_path: Path) -> None:
    atoms, file = ethane(), tmp_path / f"last-night{suffix}"
    run(atoms, steps=1, trajectory=file)
    before = file.read_bytes()
    assert len(before) > 100
    atoms.numbers[0] = 92  # that EMT does not know
    with pytest.raises(NotImplementedError):
        run(atoms, steps=1, trajectory=file)
    assert file.read_bytes() == before


def test_initial_velocities_neither_translate_nor_rotate_the_molecule() -> None:
    atoms = ethane()
    md(atoms, steps=0)
    assert np.abs(atoms.get_momenta().sum(axis=0)).max() < 1e-12
    assert np.abs(atoms.get_angular_momentum()).max() < 1e-10
    assert np.abs(atoms.get_momenta()).max() > 0.1  # the control: it does move inside


@pytest.mark.parametrize("ensemble", ["langevin", "nve"])
def test_kept_velocities_and_generator_continue_a_run(ensemble: str) -> None:
    def run(*parts: tuple[int, int | np.random.Generator]) -> np.ndarray:
        atoms = ethane()
        for number, (steps, seed) in enumerate(parts):
            kept: Any = {"ensemble": ensemble, "velocities": "keep" if number else "maxwell"}
            assert md(atoms, steps=steps, seed=seed, **kept).n_steps == steps
        return atoms.positions

    rng, other = np.random.default_rng(3), np.random.default_rng(3)
    whole = run((20, 3))
    assert run((10, rng), (10, rng)) == pytest.approx(whole, abs=1e-12)
    if ensemble == "langevin":  # the control: random numbers that are drawn twice
        assert np.abs(run((10, other), (10, 3)) - whole).max() > 1e-4


@pytest.mark.parametrize("ensemble", ["langevin", "nve"])
def test_md_is_reproducible_with_a_seed(ensemble: str) -> None:
    first, again, other = (
        md(ethane(), steps=10, ensemble=ensemble, seed=seed, interval=1).potential  # type: ignore[arg-type]
        for seed in (1, 1, 2)
    )
    assert np.abs(first - again).max() <= ENERGY_TOLERANCE
    assert np.abs(first - other).max() > 1e-3


def test_nve_conserves_energy_and_drift_shows_where_it_does_not() -> None:
    good = md(ethane(), steps=400, ensemble="nve", seed=0)
    assert abs(good.drift()) < DRIFT_TOLERANCE
    cold = ethane()
    cold.set_momenta(np.zeros((8, 3)))
    coupled = md(cold, steps=400, ensemble="langevin", temperature_K=900, velocities="keep")
    assert abs(coupled.drift()) > DRIFT_OF_THERMOSTAT


def test_drift_is_the_slope_in_mev_per_atom_and_ps() -> None:
    time = np.linspace(0.0, 2.0, 50)
    total = 5.0 + 0.012 * time  # eV, eV/ps
    result = result_of(time=time, total=total, n_atoms=4)
    assert result.drift() == pytest.approx(3.0)
    assert np.isnan(result_of(time=time[:1], total=total[:1], n_atoms=4).drift())


def test_langevin_reaches_its_temperature() -> None:
    atoms = ethane()
    atoms.set_momenta(np.zeros((8, 3)))
    result = md(atoms, steps=1500, temperature_K=500, friction=0.05, velocities="keep", seed=2)
    assert result.temperature[0] == 0.0
    assert result.temperature[50:].mean() == pytest.approx(500.0, rel=0.25)


def test_single_atom_and_zero_temperature() -> None:
    atoms = Atoms("Cu", calculator=EMT())
    assert md(atoms, steps=3).n_steps == 3
    result = md(ethane(), steps=2, temperature_K=0.0, ensemble="nve")
    assert result.kinetic[0] == 0.0


def test_md_records_the_step_of_an_event(tmp_path: Path) -> None:
    calculator = LoggingEMT()
    atoms = ethane(calculator)
    for _ in range(9):  # earlier calls, so that the calculator's step is not that of the run
        atoms.rattle(0.001)
        atoms.get_potential_energy()
    log = tmp_path / "events.jsonl"
    result = md(atoms, steps=25, timestep=0.5, interval=10, events=log)
    assert result.event_times == pytest.approx([0.0005, 0.0055, 0.0105])
    assert [event.step for event in result.events] == [1, 11, 21]
    assert (result.n_hyperedges == 7).all()
    second = md(atoms, steps=5, velocities="keep")
    assert len(second.events) == 0  # old events are not repeated

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["time_ps"] for line in lines] == pytest.approx([0.0005, 0.0055, 0.0105])
    assert lines[0]["kind"] == "bond broken"
    assert lines[0]["atoms"] == [0, 1]
    assert lines[0]["symbols"] == ["C", "H"]


def test_relax_records_events(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    result = relax(ethane(LoggingEMT()), fmax=1e-6, steps=15, events=log)
    (event,) = result.events
    assert json.loads(log.read_text())["step"] == event.step


def test_the_log_is_written_as_it_happens(tmp_path: Path) -> None:
    """A run that ends badly leaves the events until then."""
    log, seen = tmp_path / "events.jsonl", []

    def stop(_: int) -> None:
        seen.append(len(log.read_text().splitlines()))
        if len(seen) == 13:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        md(ethane(LoggingEMT()), steps=25, events=log, progress=stop)
    assert seen[0] < seen[-1]
    assert len(read_events(log).events) == seen[-1]


def test_interrupted_md_keeps_finished_steps(tmp_path: Path) -> None:
    result = md(
        ethane(LoggingEMT(stop_at=8)), steps=100, interval=1, trajectory=tmp_path / "md.traj"
    )
    assert result.interrupted
    assert len(result.time) == len(read(tmp_path / "md.traj", ":")) == 7


def test_an_interrupted_step_is_undone(tmp_path: Path) -> None:
    """The last complete step remains, and continuing from it gives the uninterrupted run."""
    rng = np.random.default_rng(3)
    options = {"temperature_K": 600.0, "interval": 7, "friction": 0.02}
    atoms = ethane(LoggingEMT(stop_at=21))
    result = md(atoms, steps=30, seed=rng, trajectory=tmp_path / "md.traj", **options)
    assert (result.interrupted, result.n_steps) == (True, 19)
    assert result.time == pytest.approx(0.0005 * np.array([0, 7, 14, 19]))
    last = read(tmp_path / "md.traj")
    assert last.positions == pytest.approx(atoms.positions, abs=0.0)
    assert last.get_potential_energy() == result.potential[-1]
    md(atoms, steps=11, seed=rng, velocities="keep", **options)
    whole = ethane()
    md(whole, steps=30, seed=np.random.default_rng(3), **options)
    assert atoms.positions == pytest.approx(whole.positions, abs=1e-12)

    atoms = ethane(LoggingEMT(stop_at=5))
    result = relax(atoms, fmax=1e-6, trajectory=tmp_path / "relax.traj")
    assert result.interrupted
    last = read(tmp_path / "relax.traj")
    assert last.positions == pytest.approx(atoms.positions, abs=0.0)
    assert atoms.get_potential_energy() == result.energy[-1] == last.get_potential_energy()


def test_parts_of_a_run_have_different_noise() -> None:
    """Of a free atom p' = c p + noise: with the same noise all changes of p would be parallel."""

    def momenta() -> list[np.ndarray]:
        atoms = Atoms("Cu", calculator=EMT(), momenta=[[1.0, 2.0, 3.0]])
        found = [atoms.get_momenta()[0]]
        for _ in range(3):
            md(atoms, steps=1, velocities="keep", seed=5)
            found.append(atoms.get_momenta()[0])
        return found

    one, two = np.diff(momenta(), axis=0)[1:]
    assert np.linalg.norm(np.cross(one, two)) > 0.1 * np.linalg.norm(one) * np.linalg.norm(two)
    assert np.array_equal(momenta(), momenta())
    with pytest.raises(ValueError, match="expected atoms with momenta, to keep their velocities"):
        md(ethane(), steps=1, velocities="keep")


@pytest.mark.parametrize("ensemble", ["langevin", "nve"])
def test_temperatures_exclude_constrained_degrees_of_freedom(ensemble: Any) -> None:
    atoms = ethane()
    atoms.set_constraint(FixAtoms([0, 1, 2, 3, 4]))
    result = md(atoms, steps=3, ensemble=ensemble, temperature_K=300.0)
    assert result.temperature[0] == pytest.approx(300.0)
    assert result.temperature[-1] == pytest.approx(atoms.get_temperature())
    assert result.kinetic[0] == pytest.approx(0.5 * 9 * units.kB * 300.0)
    atoms.set_constraint(FixAtoms(range(8)))
    assert md(atoms, steps=1, ensemble=ensemble).temperature == pytest.approx([0.0, 0.0])


@pytest.mark.parametrize("ensemble", ["langevin", "nve"])
def test_a_constraint_that_dynamics_cannot_keep_is_named(ensemble: Any) -> None:
    atoms = ethane()
    atoms.set_constraint(MirrorForce(0, 1))
    before = atoms.get_positions()
    with pytest.raises(ValueError, match="molecular dynamics can keep, got MirrorForce"):
        md(atoms, steps=3, ensemble=ensemble)
    assert not atoms.has("momenta")
    assert np.array_equal(atoms.positions, before)
    atoms.set_constraint(FixBondLength(0, 1))  # the control
    assert md(atoms, steps=3, ensemble=ensemble).n_steps == 3
    assert atoms.get_distance(0, 1) == pytest.approx(ethane().get_distance(0, 1), abs=1e-8)


def test_constraints_that_contradict_each_other_are_named() -> None:
    """Three distances that are no triangle."""
    pairs = [[0, 1], [1, 2], [0, 2]]
    atoms = ethane()
    atoms.set_constraint(FixBondLengths(pairs, bondlengths=[1.0, 1.0, 5.0], iterations=20))
    with pytest.raises(ValueError, match=r"after step 0 ASE does not converge .*FixBondLengths"):
        relax(atoms, steps=3)
    with pytest.raises(ValueError, match=r"after step 0 ASE does not converge .*FixBondLengths"):
        md(atoms, steps=3)


def test_md_interrupted_during_a_write_leaves_complete_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_array, frames = ulm.Writer.add_array, 0

    def add_then_stop(self: ulm.Writer, name: str, *args: Any, **kwargs: Any) -> None:
        nonlocal frames
        add_array(self, name, *args, **kwargs)
        frames += name.startswith("positions")
        if frames == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(ulm.Writer, "add_array", add_then_stop)
    result = md(ethane(), steps=100, interval=1, trajectory=tmp_path / "md.traj")
    assert result.interrupted
    assert frames == 3
    monkeypatch.undo()
    kept = read(tmp_path / "md.traj", ":")
    assert [frame.get_potential_energy() for frame in kept] == result.potential[:2].tolist()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"timestep": 0.0}, r"expected a positive timestep, got 0\.0"),
        ({"timestep": float("nan")}, r"expected a positive timestep, got nan"),
        ({"steps": -1}, r"expected a whole number of steps of at least 0, got -1"),
        ({"interval": 0}, r"expected an interval of at least 1 step, got 0"),
        ({"temperature_K": -5.0}, r"expected temperature_K of at least 0, got -5\.0"),
        ({"friction": -0.1}, r"expected a positive friction, got -0\.1"),
        ({"ensemble": "npt"}, r"expected ensemble 'langevin' or 'nve', got 'npt'"),
        ({"velocities": "zero"}, r"expected velocities 'maxwell' or 'keep', got 'zero'"),
    ],
)
def test_md_refuses_bad_arguments(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        md(ethane(), **arguments)


def test_relax_refuses_bad_arguments() -> None:
    with pytest.raises(ValueError, match=r"expected a positive fmax, got 0"):
        relax(ethane(), fmax=0.0)
    with pytest.raises(ValueError, match=r"expected an optimizer out of BFGS, .*, got 'Newton'"):
        relax(ethane(), optimizer="Newton")
    with pytest.raises(
        ValueError, match=r"a class with their interface, got <class 'ase\.atoms\.Atoms'>"
    ):
        relax(ethane(), optimizer=Atoms)


def test_relax_takes_a_class_too() -> None:
    class Short(BFGS):
        """Steps of at most 0.01 Angstrom."""

        def __init__(self, atoms: Atoms, **options: Any) -> None:
            super().__init__(atoms, maxstep=0.01, **options)

    by_name, by_class = (relax(ethane(), optimizer=name) for name in ("BFGS", Short))
    assert by_class.converged
    assert by_class.n_steps > by_name.n_steps
    assert by_class.fmax[-1] < 0.01 < by_class.fmax[0]


def test_a_hessian_at_the_minimum_saves_most_of_the_steps() -> None:
    minimum = ethane()
    relax(minimum, fmax=1e-4)
    hessian = np.zeros((24, 24))
    for k in range(24):  # central differences
        forces = []
        for way in (0.01, -0.01):
            moved = minimum.copy()
            moved.positions.flat[k] += way
            moved.calc = EMT()
            forces.append(moved.get_forces().ravel())
        hessian[k] = (forces[1] - forces[0]) / 0.02
    ends = []
    for known in (None, hessian):
        atoms = ethane()
        ends.append(relax(atoms, fmax=1e-4, optimizer="BFGS", hessian=known))
    assert all(end.converged for end in ends)
    assert ends[1].energy[-1] == pytest.approx(ends[0].energy[-1], abs=CLOSE_TO_MINIMUM)
    assert ends[1].n_steps <= ends[0].n_steps // 2


@pytest.mark.parametrize(("curvature", "taken"), [(70.0, 70.0), (-70.0, 70.0), (0.0, 0.5)])
def test_a_uniform_hessian_equals_the_default_of_bfgs(curvature: float, taken: float) -> None:
    def energies(**options: Any) -> np.ndarray:
        return relax(ethane(), steps=5, **options).energy

    class Plain(BFGS):
        """With this alpha."""

        def __init__(self, atoms: Atoms, **options: Any) -> None:
            super().__init__(atoms, alpha=taken, **options)

    found = energies(optimizer="BFGS", hessian=curvature * np.eye(24))
    assert found == pytest.approx(energies(optimizer=Plain), abs=ENERGY_TOLERANCE)
    assert found != pytest.approx(energies(optimizer="FIRE"), abs=ENERGY_TOLERANCE)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"hessian": np.eye(24), "optimizer": "LBFGS"}, "BFGS as the optimizer .* got LBFGS"),
        ({"hessian": np.eye(8)}, r"shape \(24, 24\), got \(8, 8\)"),
        ({"hessian": np.eye(24) * np.nan}, "a hessian of finite numbers"),
    ],
)
def test_an_invalid_hessian_is_refused(options: dict[str, Any], text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=text):
        relax(ethane(), trajectory=tmp_path / "no.traj", **{"optimizer": "BFGS", **options})
    assert not (tmp_path / "no.traj").exists()


def test_atoms_need_a_calculator_and_must_not_be_empty() -> None:
    with pytest.raises(ValueError, match=r"expected atoms with a calculator, got none"):
        relax(molecule("H2O"))
    with pytest.raises(ValueError, match=r"expected at least one atom, got an empty Atoms"):
        md(Atoms(calculator=EMT()))


def result_of(*, time: np.ndarray, total: np.ndarray, n_atoms: int) -> DynamicsResult:
    zeros = np.zeros_like(time)
    return DynamicsResult(
        ensemble="nve", time=time, temperature=zeros, potential=total, kinetic=zeros, total=total,
        n_hyperedges=zeros, n_atoms=n_atoms, n_steps=len(time), interrupted=False,
        events=(), event_times=(), n_events=0,
        energy_uncertainty=zeros, forces_uncertainty=zeros, level="", doubts=(),
    )  # fmt: skip
