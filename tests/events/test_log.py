"""The refragmentation log reports each change once, for any step size and any reuse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
from ase.build import molecule
from watched import CONFIG, random_walk, seen, weighted

from se3set_ase.events.kinds import KINDS, of_kinds
from se3set_ase.events.log import OPPOSITE, Event, EventLog, changes, lasting, spans
from se3set_ase.hypergraph.build import build_hypergraph
from se3set_ase.hypergraph.refragment import Refragmenter

# O-H...O on a line, each oxygen with a hydrogen of its own that stays; both chains far apart.
DONOR, PROTON, ACCEPTOR = 0, 1, 2


def transfer(t: float) -> tuple[np.ndarray, np.ndarray]:
    """A proton between two hydroxyls 2.45 Angstrom apart; t from 0 to 1."""
    numbers = np.array([8, 1, 8, 1, 1])
    x = 0.97 + t * (2.45 - 2 * 0.97)
    return numbers, np.array(
        [[0.0, 0, 0], [x, 0, 0], [2.45, 0, 0], [-0.3, 0.92, 0], [2.75, 0.92, 0]]
    )


def events_along(path: Callable[[float], tuple[np.ndarray, np.ndarray]], n: int) -> list[Event]:
    log = EventLog()
    for k, t in enumerate(np.linspace(0.0, 1.0, n)):
        log.observe(seen(*path(t)), energy=float(k))
    return log.events


def test_a_proton_transfer_breaks_one_bond_and_forms_one() -> None:
    events = events_along(transfer, 101)
    bonds = [e for e in events if e.kind.startswith("bond")]
    assert Counter(e.kind for e in bonds) == {"bond formed": 1, "bond broken": 1}
    formed = next(e for e in bonds if e.kind == "bond formed")
    broken = next(e for e in bonds if e.kind == "bond broken")
    assert formed.atoms == (PROTON, ACCEPTOR)
    assert formed.symbols == ("H", "O")
    assert broken.atoms == (DONOR, PROTON)
    assert broken.symbols == ("O", "H")
    # The new one forms before the old one breaks, each where its weight crosses one half.
    assert formed.step < broken.step
    assert formed.weight == pytest.approx(0.5, abs=0.05)
    assert formed.weight > 0.5
    assert broken.weight == pytest.approx(0.5, abs=0.05)
    assert broken.weight <= 0.5
    assert formed.step + broken.step == pytest.approx(100, abs=1)  # the path is symmetric
    assert all(e.energy == e.step for e in events)


def test_a_proton_transfer_merges_and_splits_fragments() -> None:
    events = [e for e in events_along(transfer, 101) if e.kind.startswith("fragments")]
    kinds = Counter(e.kind for e in events)
    assert kinds == {"fragments merged": 1, "fragments split": 1}
    merged = next(e for e in events if e.kind == "fragments merged")
    split = next(e for e in events if e.kind == "fragments split")
    assert merged.atoms == split.atoms == (0, 1, 2, 3, 4)
    assert merged.step < split.step


@pytest.mark.parametrize("n", [3, 30, 301])
def test_events_do_not_depend_on_the_size_of_the_steps(n: int) -> None:
    """Two bonds that break together: no fragment weighs more than 1/2 on the way."""

    def stretched(t: float) -> tuple[np.ndarray, np.ndarray]:
        d = 0.95 + 1.5 * t
        return np.array([8, 1, 1]), d * np.array([[0, 0, 0], [1.0, 0, 0], [0, 1.0, 0]])

    kinds = Counter(e.kind for e in events_along(stretched, n) if "reach" not in e.kind)
    assert kinds == {"bond broken": 2, "fragments split": 1}


def test_the_reverse_path_has_the_opposite_events() -> None:
    there = events_along(transfer, 101)
    back = events_along(lambda t: transfer(1.0 - t), 101)
    opposite = {
        "bond formed": "bond broken", "bond broken": "bond formed",
        "fragments merged": "fragments split", "fragments split": "fragments merged",
    }  # fmt: skip
    found = Counter((opposite[e.kind], e.atoms) for e in back)
    assert found == Counter((e.kind, e.atoms) for e in there)
    assert len(there) == 4


def test_a_fragment_that_enters_and_leaves() -> None:
    """An isolated carbon passes an oxygen: reach gained and lost for both, and nothing else."""

    def passing(t: float) -> tuple[np.ndarray, np.ndarray]:
        return np.array([8, 6]), np.array([[0.0, 0, 0], [12.0 * t - 6.0, 2.5, 0]])

    events = events_along(passing, 121)
    assert Counter((e.kind, e.atoms) for e in events) == {
        ("reach gained", (0, 1)): 1, ("reach gained", (1, 0)): 1,
        ("reach lost", (0, 1)): 1, ("reach lost", (1, 0)): 1,
    }  # fmt: skip
    assert all(e.weight > 0.5 for e in events if e.kind == "reach gained")
    assert all(e.weight <= 0.5 for e in events if e.kind == "reach lost")
    assert [e.symbols for e in events[:2]] == [("O", "C"), ("C", "O")]


def test_no_change_gives_no_event() -> None:
    log = EventLog()
    for _ in range(3):
        assert log.observe(seen(*transfer(0.0)), 0.0) == []
    assert log.n_events == 0
    assert log.observe(seen(*transfer(1.0)), 0.0) != []  # the control


def test_another_molecule_starts_a_new_comparison() -> None:
    log = EventLog()
    log.observe(seen(*transfer(0.0)), 0.0)
    water = molecule("H2O")
    assert log.observe(seen(water.numbers, water.positions), 0.0) == []
    assert log.observe(seen(*transfer(1.0)), 0.0) == []
    assert log.observe(seen(*transfer(0.0)), 0.0) != []
    assert {e.step for e in log.events} == {3}


def test_the_log_is_bounded() -> None:
    """Two bonds change at each step, and two fragments: five of each are kept, in their order."""
    log, unbounded = EventLog(capacity=5), EventLog()
    for k in range(20):
        log.observe(seen(*transfer(float(k % 2))), 0.0)
        unbounded.observe(seen(*transfer(float(k % 2))), 0.0)
    assert log.n_events == unbounded.n_events == len(unbounded.events) == 76
    bonds, others = (
        [e for e in unbounded.events if e.kind.startswith("bond") == wanted][-5:]
        for wanted in (True, False)
    )
    assert log.events == [e for e in unbounded.events if e in bonds + others]
    assert len(log.events) == 10
    assert log.after(74) == unbounded.events[74:]
    assert log.after(76) == []


def test_reach_does_not_displace_bonds() -> None:
    """As in a long run with thousands of changes of reach."""
    log = EventLog(capacity=3)
    bond, reach = (
        Event(step=0, kind=kind, atoms=(0, 1), symbols=("O", "H"), weight=0.5, energy=0.0)
        for kind in ("bond broken", "reach lost")
    )
    log.add([bond])
    log.add([reach] * 50)
    assert [e.kind for e in log.events] == ["bond broken", *["reach lost"] * 3]
    assert log.n_events == 51


def test_the_list_of_events_is_a_copy() -> None:
    log = EventLog()
    log.observe(seen(*transfer(0.0)), 0.0)
    log.observe(seen(*transfer(1.0)), 0.0)
    n = len(log.events)
    log.events.clear()
    assert len(log.events) == n > 0


def test_events_do_not_depend_on_reuse() -> None:
    reused, fresh = EventLog(), EventLog()
    engine = Refragmenter(CONFIG, skin=0.8)
    for numbers, positions in random_walk(120, 0.012):
        reused.observe(weighted(engine.update(numbers, positions), positions), 0.0)
        fresh.observe(seen(numbers, positions), 0.0)
    assert [(e.step, e.kind, e.atoms) for e in reused.events] == [
        (e.step, e.kind, e.atoms) for e in fresh.events
    ]
    kinds = Counter(e.kind for e in fresh.events)
    assert {"bond formed", "bond broken", "reach gained", "reach lost"} <= set(kinds)


def test_changes_of_a_geometry_with_itself() -> None:
    here = seen(*transfer(0.3))
    assert list(changes(here, here)) == []
    assert list(changes(here, seen(*transfer(1.0)))) != []


# --- Recrossings -----------------------------------------------------------------------------


def flicker(*kinds_and_times: tuple[str, float]) -> tuple[list[Event], list[float]]:
    events = [
        Event(step=k, kind=kind, atoms=(0, 1), symbols=("O", "H"), weight=0.5, energy=0.0)
        for k, (kind, _) in enumerate(kinds_and_times)
    ]
    return events, [time for _, time in kinds_and_times]


FORMED, BROKEN = "bond formed", "bond broken"


@pytest.mark.parametrize(
    ("story", "left"),
    [
        ([(FORMED, 0.0), (BROKEN, 50.0)], [0, 1]),
        ([(FORMED, 0.0), (BROKEN, 5.0)], []),
        # It flickers and stays: the crossing after which it stays is the one that counts.
        ([(FORMED, 0.0), (BROKEN, 5.0), (FORMED, 8.0)], [2]),
        ([(FORMED, 0.0), (BROKEN, 5.0), (FORMED, 8.0), (BROKEN, 90.0)], [2, 3]),
        ([(BROKEN, 0.0), (FORMED, 30.0), (BROKEN, 35.0), (FORMED, 36.0)], [0, 3]),
    ],
)
def test_recrossings_are_left_out(story: list[tuple[str, float]], left: list[int]) -> None:
    events, times = flicker(*story)
    assert lasting(events, times, 10.0) == left
    assert lasting(events, times, 0.0) == list(range(len(story)))


def test_other_atoms_are_not_a_recrossing() -> None:
    events, times = flicker((FORMED, 0.0), (BROKEN, 1.0))
    other = Event(step=1, kind=BROKEN, atoms=(0, 2), symbols=("O", "H"), weight=0.5, energy=0.0)
    assert lasting([events[0], other], times, 10.0) == [0, 1]


def test_every_kind_has_its_opposite() -> None:
    assert all(OPPOSITE[OPPOSITE[kind]] == kind != OPPOSITE[kind] for kind in OPPOSITE)
    assert {e.kind for e in events_along(transfer, 101)} <= set(OPPOSITE)


# --- Kinds -----------------------------------------------------------------------------------


def test_events_of_some_kinds() -> None:
    kinds = ["reach lost", "bond formed", "fragments merged", "bond broken", "reach gained"]
    events = [
        Event(step=0, kind=kind, atoms=(0, 1), symbols=("O", "H"), weight=0.5, energy=0.0)
        for kind in kinds
    ]
    assert of_kinds(events) == [1, 3]
    assert of_kinds(events, "fragments") == [2]
    assert of_kinds(events, "bonds, fragments") == of_kinds(events, ["fragments", "bonds"])
    assert of_kinds(events, "all") == [0, 1, 2, 3, 4]
    for wrong in ("bond", "", (), "bonds;reach"):
        with pytest.raises(ValueError, match="expected kinds out of bonds, fragments, reach or al"):
            of_kinds(events, wrong)


def test_every_kind_has_a_name() -> None:
    assert {kind.split()[0] for kind in OPPOSITE} == {kind.removesuffix("s") for kind in KINDS} ^ {
        "fragment",
        "fragments",
    }


# --- When what was there ---------------------------------------------------------------------


def assembled(t: float) -> tuple[np.ndarray, np.ndarray]:
    """O-H forms, then H-O-H, then all bonds break."""
    first = 0.96 + 2.0 * max(0.0, 0.2 - t, t - 0.8)  # O-H1
    second = 0.96 + 2.0 * max(0.0, 0.5 - t, t - 0.6)  # O-H2
    return np.array([8, 1, 1]), np.array([[0.0, 0, 0], [-first, 0, 0], [0.0, second, 0]])


def test_intervals_of_bonds_and_fragments() -> None:
    log = events_along(assembled, 201)
    found = spans(log, [e.energy for e in log])  # energies there are the numbers of the steps
    assert set(found) == {
        ("bond", (0, 1)), ("bond", (0, 2)), ("fragments", (0, 1)), ("fragments", (0, 1, 2)),
    }  # fmt: skip
    (early, late), (outer_early, outer_late) = found["bond", (0, 2)][0], found["bond", (0, 1)][0]
    assert outer_early < early < late < outer_late
    assert found["fragments", (0, 1, 2)] == [(early, late)]
    # O-H alone: until it takes up the other, and again after that has left.
    assert found["fragments", (0, 1)] == [(outer_early, early), (late, outer_late)]


def test_intervals_without_events_are_infinite() -> None:
    events, times = flicker((BROKEN, 3.0), (FORMED, 7.0))
    assert spans(events, times) == {("bond", (0, 1)): [(-np.inf, 3.0), (7.0, np.inf)]}
    assert spans([], []) == {}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_decided_fragment_with_zero_weight(dtype: torch.dtype) -> None:
    """Twelve bonds near one half: no outcome is probable, in float32 the weight is zero.

    The decided bonds are logged, and a neighbouring atom is not affected.
    """
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=float)
    corners += 1e-3 * np.random.default_rng(0).normal(size=corners.shape)
    log = EventLog()
    weights = []
    for edge in (2.0, 1.897, 1.85, 1.897, 1.7):
        neighbour = [[edge * corners[:, 0].max() + 2.4, 0.5 * edge, 0.5 * edge]]
        positions = np.concatenate([edge * corners, neighbour])
        listed = build_hypergraph(np.full(9, 6), positions, CONFIG)
        now = weighted(listed, positions, dtype=dtype)
        log.observe(now, energy=0.0)
        weights.append(dict(now.fragments).get(tuple(range(8)), 0.0))
        assert all(weight > 1e-12 for _, weight in now.fragments)
    assert tuple(range(8)) in now.decided_fragments
    assert weights[1] < 1e-6 < weights[-1]
    kinds = Counter(e.kind for e in log.events)
    assert kinds["fragments merged"] == 1
    assert kinds["bond formed"] - kinds["bond broken"] == 12
    assert kinds["reach lost"] == kinds["reach gained"] == 0
