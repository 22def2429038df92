"""Refragmentation for users: observer, energies of fragments, frozen fragments."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.lj import LennardJones
from ase.io import read
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet
from ase.optimize import FIRE, LBFGS
from untrained import METADATA, tiny_model

from se3set_ase import SE3SetCalculator
from se3set_ase.checkpoint.store import save_checkpoint
from se3set_ase.events import observe
from se3set_ase.events.files import read_events
from se3set_ase.events.observe import EventObserver

EXAMPLES = Path(__file__).parents[2] / "examples"

SAME = 1e-10  # eV, eV/Angstrom
SUM = 1e-9  # eV, of thousands


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_checkpoint(folder, tiny_model(), METADATA)
    return folder


def hot_acetylacetone(**options) -> Atoms:
    atoms = read(EXAMPLES / "acetylacetone.xyz")
    assert isinstance(atoms, Atoms)
    atoms.calc = SE3SetCalculator("acac", **options)
    rng = np.random.default_rng(2)
    atoms.set_momenta(
        rng.normal(size=(15, 3)) * np.sqrt(atoms.get_masses() * units.kB * 900)[:, None]
    )
    return atoms


# --- The observer ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["verlet", "langevin"])
def test_observer_records_steps_and_times_and_writes_them(kind: str, tmp_path: Path) -> None:
    atoms = hot_acetylacetone()
    if kind == "verlet":
        dynamics = VelocityVerlet(atoms, 0.5 * units.fs)
    else:
        dynamics = Langevin(
            atoms, 0.5 * units.fs, temperature_K=900, friction=0.01 / units.fs,
            rng=np.random.default_rng(1), fixcm=False,
        )  # fmt: skip
    file = tmp_path / "events.jsonl"
    file.write_text("an older run\n")
    observer = EventObserver(dynamics, atoms, file)
    dynamics.attach(observer)
    dynamics.run(60)
    logged = atoms.calc.events
    assert len(logged) > 3
    assert [e.atoms for e in observer.events] == [e.atoms for e in logged]
    assert [e.kind for e in observer.events] == [e.kind for e in logged]
    # The first evaluation is that of step 0.
    assert [e.step for e in observer.events] == [e.step for e in logged]
    assert observer.times == pytest.approx([e.step * 0.5e-3 for e in observer.events])
    record = read_events(file)
    assert record.events == tuple(observer.events)
    assert record.times == pytest.approx([1000 * t for t in observer.times])
    lines = observer.table(kinds="all").splitlines()
    assert lines[0].split() == ["step", "time", "event", "atoms", "weight", "energy"]
    assert len(lines) == 2 + len(logged)
    assert f"{observer.events[0].energy:.4f}" in lines[2]
    bonds = [event for event in logged if event.kind.startswith("bond")]
    *rows, last = observer.table().splitlines()[2:]
    assert len(rows) == len(bonds) > 0
    assert all("bond" in row for row in rows)
    assert last.startswith("not shown: ")


@pytest.mark.parametrize("optimizer", [LBFGS, FIRE])
def test_observer_of_an_optimiser_has_steps_and_no_times(optimizer, tmp_path: Path) -> None:
    atoms = hot_acetylacetone()
    atoms.rattle(0.2, seed=4)
    atoms.get_potential_energy()  # before: not of this run
    dynamics = optimizer(atoms, logfile=None)
    observer = EventObserver(dynamics, atoms, tmp_path / "events.jsonl")
    dynamics.attach(observer)
    dynamics.run(fmax=0.02, steps=80)
    assert len(observer.events) > 0
    assert set(observer.times) == {None}
    assert all(0 <= e.step <= dynamics.nsteps for e in observer.events)
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [e.step for e in observer.events]
    assert "time_ps" not in lines[0]


def test_observer_with_an_interval_misses_nothing_and_starts_when_created() -> None:
    atoms = hot_acetylacetone()
    dynamics = VelocityVerlet(atoms, 0.5 * units.fs)
    dynamics.run(30)
    before = len(atoms.calc.events)
    assert before > 0
    observer = EventObserver(dynamics, atoms)
    dynamics.attach(observer, interval=7)
    dynamics.run(40)
    observer()
    assert [e.atoms for e in observer.events] == [e.atoms for e in atoms.calc.events[before:]]
    assert all(a.step <= b.step for a, b in zip(observer.events, observer.events[1:], strict=False))


def test_observer_never_changes_the_run() -> None:
    runs = []
    for observed in (False, True):
        atoms = hot_acetylacetone()
        dynamics = VelocityVerlet(atoms, 0.5 * units.fs)
        if observed:
            dynamics.attach(EventObserver(dynamics, atoms))
        dynamics.run(40)
        runs.append(atoms.positions)
    assert np.array_equal(*runs)


def test_a_long_log_is_kept_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last changes of bonds are kept, and as many other events."""
    monkeypatch.setattr(observe, "KEPT", 3)
    atoms = hot_acetylacetone()
    dynamics = VelocityVerlet(atoms, 0.5 * units.fs)
    observer = EventObserver(dynamics, atoms, tmp_path / "events.jsonl")
    dynamics.attach(observer)
    dynamics.run(200)
    every = read_events(tmp_path / "events.jsonl").events
    assert len(every) == observer.n_events > 13
    assert 6 <= len(observer.events) == len(observer.times) <= 12
    bonds = [event for event in every if event.kind.startswith("bond")]
    assert len(bonds) > 3
    assert [e for e in observer.events if e.kind.startswith("bond")][-3:] == bonds[-3:]
    assert observer.events[-3:] == list(every[-3:])
    assert [event.step for event in observer.events] == sorted(e.step for e in observer.events)


def test_a_calculator_without_a_hypergraph_has_no_events() -> None:
    atoms = Atoms("Ar2", [[0, 0, 0], [0, 0, 4.0]], calculator=LennardJones())
    dynamics = VelocityVerlet(atoms, units.fs)
    observer = EventObserver(dynamics, atoms)
    dynamics.attach(observer)
    dynamics.run(3)
    assert observer.events == []
    assert observer.table() == "no bond changed"


# --- Energies of fragments -------------------------------------------------------------------


def test_energies_of_fragments_add_up(saved: Path) -> None:
    atoms = molecule("CH3CH2OH")
    atoms.set_distance(2, 3, 0.97 * 1.35, fix=0)  # O-H between bonded and broken
    atoms.calc = SE3SetCalculator(saved, device="cpu")
    assert atoms.calc.fragment_energies is None
    total = atoms.get_potential_energy()
    parts = atoms.calc.fragment_energies
    assert len(parts) > 3
    assert sum(energy for _, energy in parts) == pytest.approx(total, abs=SAME)
    weights = dict(atoms.calc.hypergraph.fragments)
    energies = atoms.get_potential_energies()
    for fragment, energy in parts:
        assert energy == pytest.approx(weights[fragment] * energies[list(fragment)].sum())
    assert 0.01 < min(weights.values()) < 0.99


@pytest.mark.filterwarnings("ignore:model 'organic' ")
@pytest.mark.parametrize("length", [1.99425, 1.9])
def test_energies_of_fragments_add_up_in_float32(length: float) -> None:
    """The weight of a nearly broken bond is of the size of rounding, and so is one minus it."""
    atoms = Atoms("HCl", [[0, 0, 0], [0, 0, length]])
    atoms.calc = SE3SetCalculator("organic", device="cpu", dtype="float32")
    total = atoms.get_potential_energy()
    parts = atoms.calc.fragment_energies
    assert {atoms for atoms, _ in parts} >= {(0,), (1,)}
    assert sum(energy for _, energy in parts) == pytest.approx(total, abs=SUM)


# --- Frozen fragments ------------------------------------------------------------------------


def test_frozen_fragments_are_those_of_the_first_call_and_changes_are_reported() -> None:
    smooth, frozen = SE3SetCalculator("acac"), SE3SetCalculator("acac", refragment="frozen")
    atoms = read(EXAMPLES / "acetylacetone.xyz")
    assert isinstance(atoms, Atoms)
    energies = [calc.get_potential_energy(atoms) for calc in (smooth, frozen)]
    assert energies[0] == pytest.approx(energies[1], abs=SAME)
    fragments = frozen.hypergraph.fragments

    moved = atoms.copy()
    oxygen, hydrogen = bonded_hydrogen(moved)
    away = moved.positions[hydrogen] - moved.positions[oxygen]
    moved.positions[hydrogen] += 0.8 * away / np.linalg.norm(away)
    with pytest.warns(UserWarning, match=rf"first call, but since .* O{oxygen}-H{hydrogen} broken"):
        kept = frozen.get_potential_energy(moved)
    assert frozen.hypergraph.fragments == fragments
    assert smooth.get_potential_energy(moved) != pytest.approx(kept, abs=1e-3)
    assert dict(smooth.hypergraph.fragments).keys() != dict(fragments).keys()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        moved.positions[0] += 0.01
        frozen.get_potential_energy(moved)  # said once
        frozen.get_potential_energy(atoms)  # and back
    with pytest.warns(UserWarning, match="broken"):
        frozen.get_potential_energy(moved)


def test_seen_at_is_not_a_first_call_and_not_a_change() -> None:
    """Neither before the first call nor later, for any atoms."""
    frames = read(Path(__file__).parents[1] / "data" / "acac_proton_transfer.xyz", ":")
    first, last = frames[0], frames[-1]
    for frame in frames:
        frame.calc = None
    calc, control = (SE3SetCalculator("acac", refragment="frozen") for _ in range(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        calc.seen_at(last)
        energy = calc.get_potential_energy(first)
        assert energy == control.get_potential_energy(first)
        calc.seen_at(molecule("CH3OH"))
        calc.seen_at(last)
    with pytest.warns(UserWarning, match="since then"):
        assert calc.get_potential_energy(last) == control.get_potential_energy(last)
    begun_there = SE3SetCalculator("acac", refragment="frozen")
    begun_there.get_potential_energy(last)
    with pytest.warns(UserWarning, match="since then"):
        assert abs(begun_there.get_potential_energy(first) - energy) > 1e-3  # the control


def test_frozen_forces_are_the_gradient_and_other_molecules_start_again() -> None:
    calc = SE3SetCalculator("acac", refragment="frozen")
    atoms = hot_acetylacetone()
    atoms.calc = calc
    forces = atoms.get_forces()
    h = 1e-4
    for sign, _ in ((1, 0), (-1, 1)):
        atoms.positions[3, 1] += sign * h
    energies = []
    for step in (h, -2 * h):
        atoms.positions[3, 1] += step
        energies.append(atoms.get_potential_energy())
    assert forces[3, 1] == pytest.approx((energies[1] - energies[0]) / (2 * h), abs=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "model 'acac' was trained on C5H8O2 only")
        other = molecule("CH3CH2OH")
        assert calc.get_potential_energy(other) == pytest.approx(
            SE3SetCalculator("acac").get_potential_energy(other), abs=SAME
        )


def bonded_hydrogen(atoms: Atoms) -> tuple[int, int]:
    distance = atoms.get_all_distances()
    pairs = [(o.index, h.index) for o in atoms for h in atoms if (o.symbol, h.symbol) == ("O", "H")]
    return min(pairs, key=lambda pair: distance[pair])
