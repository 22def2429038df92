"""Molecules that are checked in one pass: the decisions and logs of each on its own."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from watched import CONFIG, random_walk, seen, weighted

import se3set_ase.potential
from se3set_ase import Potential
from se3set_ase.events.log import EventLog, observe_all
from se3set_ase.hypergraph.lattice import Lattice
from se3set_ase.hypergraph.listing import JointListing
from se3set_ase.hypergraph.refragment import Refragmenter
from se3set_ase.pipeline import Batch, Replica
from se3set_ase.potential import UnsupportedSystem
from se3set_ase.uncertainty.novelty import NoveltyTracker, follow_all

SAME = 1e-9  # eV, eV/Angstrom
SIZES = (0.001, 0.004, 0.006, 0.012)
"""Angstrom per step: from trembling to breaking bonds."""


@pytest.fixture(scope="module")
def potential(saved: Path) -> Potential:
    return Potential(saved, device="cpu")


def walks(n_steps: int) -> Iterator[list[Atoms]]:
    """Acetic acid and water four times, each shaken in its own way."""
    for step in zip(*(random_walk(n_steps, size) for size in SIZES), strict=True):
        yield [Atoms(numbers, positions) for numbers, positions in step]


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> list[Replica]:
    """The replicas that were refragmented on their own, in order."""
    found: list[Replica] = []
    refragment = Replica.refragment

    def counted(self: Replica, atoms: Atoms) -> None:
        found.append(self)
        refragment(self, atoms)

    monkeypatch.setattr(Replica, "refragment", counted)
    return found


def test_a_batch_gives_what_each_gives_alone(potential: Potential, alone: list[Replica]) -> None:
    replicas, separate = ([Replica(potential) for _ in SIZES] for _ in range(2))
    together, singles = Batch(replicas), [Batch([replica]) for replica in separate]
    for molecules in walks(60):
        for single, atoms, found in zip(
            singles, molecules, together.follow(molecules), strict=True
        ):
            single.replicas[0].refragmenter.listing = None  # no reuse
            (expected,) = single.follow([atoms])
            assert found.energy == pytest.approx(expected.energy, abs=SAME)
            np.testing.assert_allclose(found.forces, expected.forces, rtol=0, atol=SAME)
            assert found.hypergraph.bonds == expected.hypergraph.bonds
            assert found.hypergraph.decided_reach == expected.hypergraph.decided_reach
    logs = [[(e.step, e.kind, e.atoms) for e in replica.log.events] for replica in replicas]
    assert logs == [[(e.step, e.kind, e.atoms) for e in r.log.events] for r in separate]
    counts = [sum(one is replica for one in alone) for replica in replicas]
    assert counts[0] == 1  # the others checked it
    assert 5 < counts[3] < 60  # the control: bonds change
    assert [bool(log) for log in (logs[0], logs[3])] == [False, True]


def test_the_joint_check_decides_as_each_refragmenter(potential: Potential) -> None:
    config = potential.model.hypergraph
    engines = [Refragmenter(config, skin=skin) for skin in (0.5, 0.3, 0.5, 0.5)]
    decisions = []
    for molecules in walks(40):
        positions = np.concatenate([atoms.positions for atoms in molecules])
        listings = [engine.listing for engine in engines]
        if all(listings):
            valid = JointListing(listings).still_valid(positions).tolist()  # type: ignore[arg-type]
            for engine, listing, atoms, decided in zip(
                engines, listings, molecules, valid, strict=True
            ):
                assert listing is not None
                same = engine.update(atoms.numbers, atoms.positions) is listing.hypergraph
                assert same == decided or (listing.hypergraph.fleeting and decided)
                decisions.append(decided)
        else:
            for engine, atoms in zip(engines, molecules, strict=True):
                engine.update(atoms.numbers, atoms.positions)
    assert 10 < sum(decisions) < len(decisions) - 10


def test_nothing_is_valid_for_positions_that_are_not_numbers(potential: Potential) -> None:
    (first, *_), *_ = walks(1)
    engine = Refragmenter(potential.model.hypergraph)
    engine.update(first.numbers, first.positions)
    assert engine.listing is not None
    joint = JointListing([engine.listing])
    assert joint.still_valid(first.positions).tolist() == [True]
    for bad in (np.nan, np.inf, 2e6):
        first.positions[1, 2] = bad
        assert joint.still_valid(first.positions).tolist() == [False]


def test_what_makes_another_molecule(potential: Potential) -> None:
    (_, still, *_), *_ = walks(1)
    batch = Batch([Replica(potential)])
    batch.follow([still])
    assert batch.changed([still]) == []
    cell, other, charged, odd = (still.copy() for _ in range(4))
    cell.pbc, cell.cell = True, [20.0] * 3
    other.numbers[[0, -1]] = other.numbers[[-1, 0]]
    charged.info["charge"] = 1
    odd.info["charge"] = "much"
    for atoms in (cell, other, other[:-3], charged, odd):
        assert batch.changed([atoms]) == [0]
    for atoms in (charged, odd):
        with pytest.raises(UnsupportedSystem, match="charge"):
            batch.follow([atoms])
    neutral = still.copy()
    neutral.info |= {"charge": 0, "name": "acid"}
    assert batch.changed([neutral]) == []  # the control


def test_cells_are_checked_one_by_one(potential: Potential, alone: list[Replica]) -> None:
    (_, still, *_), *_ = walks(1)
    cell = still.copy()
    cell.pbc, cell.cell = True, [12.0] * 3
    batch = Batch([Replica(potential), Replica(potential)])
    for _ in range(3):
        batch.follow([still, cell])
    assert [one is batch.replicas[1] for one in alone] == [False, True, True, True]
    assert batch.replicas[1].refragmenter.listing is not None
    assert isinstance(batch.replicas[1].refragmenter.listing.lattice, Lattice)


def test_logs_that_are_compared_together_are_those_of_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    together, alone = ([EventLog() for _ in SIZES] for _ in range(2))
    engines = [Refragmenter(CONFIG) for _ in SIZES]
    steps = [
        [
            weighted(engine.update(atoms.numbers, atoms.positions), atoms.positions)
            for engine, atoms in zip(engines, molecules, strict=True)
        ]
        for molecules in walks(40)
    ]
    for step, now in enumerate(steps):
        for log, one in zip(alone, now, strict=True):
            log.observe(one, 0.1 * step)
    compared: list[EventLog] = []
    observe = EventLog.observe

    def counted(self: EventLog, *arguments: Any) -> Any:
        compared.append(self)
        return observe(self, *arguments)

    monkeypatch.setattr(EventLog, "observe", counted)
    for step, now in enumerate(steps):
        observe_all(together, now, [0.1 * step] * len(now))
    assert [log.events for log in together] == [log.events for log in alone]
    assert len(together[3].events) > 10
    counts = [sum(one is log for one in compared) for log in together]
    assert counts[0] == 1  # with nothing to compare it with
    assert 10 < counts[3] <= 40  # the control


def test_trackers_that_are_asked_together_answer_as_each() -> None:
    together = [NoveltyTracker() for _ in SIZES]
    alone = copy.deepcopy(together)
    for step, molecules in enumerate(walks(12)):
        if step == 6:
            molecules[0].positions[0] += 3.0  # another geometry
        now = [seen(atoms.numbers, atoms.positions) for atoms in molecules]
        one = follow_all(together, now)
        for tracked, tracker, hypergraph in zip(one, alone, now, strict=True):
            other = tracker.follow(hypergraph)
            assert tracked.needs_check(hypergraph.positions, 0.0) == other.needs_check(
                hypergraph.positions, 0.0
            )
    numbers = [len(tracker._order) for tracker in together]
    assert numbers == [len(tracker._order) for tracker in alone]
    assert numbers[0] == 2
    assert numbers[1] == 1


def test_tensors_are_kept_for_each_pass(
    potential: Potential, monkeypatch: pytest.MonkeyPatch
) -> None:
    (_, still, *_), *_ = walks(1)
    collated: list[int] = []
    collate = se3set_ase.potential.collate

    def counted(hypergraphs, *others, **options):  # type: ignore[no-untyped-def]
        collated.append(len(hypergraphs))
        return collate(hypergraphs, *others, **options)

    monkeypatch.setattr(se3set_ase.potential, "collate", counted)
    batch = Batch([Replica(potential) for _ in range(6)])
    molecules = [still.copy() for _ in range(6)]
    n_edges = len(potential.predict([still])[0].hypergraph.structure.edge_atom)
    monkeypatch.setattr(se3set_ase.potential, "EDGES", 3 * n_edges)
    collated.clear()
    first = batch.follow(molecules)
    n_passes = len(collated)
    assert n_passes > 1
    assert sum(collated) == 6
    second = batch.follow(molecules)
    assert len(collated) == n_passes
    assert [p.energy for p in first] == [p.energy for p in second]
    molecules[5].rattle(0.3, seed=1)  # the control
    batch.follow(molecules)
    assert len(collated) == n_passes + 1
    monkeypatch.setattr(se3set_ase.potential, "EDGES_KEPT", 0)
    batch.follow(molecules)
    assert len(collated) == 2 * n_passes + 1
