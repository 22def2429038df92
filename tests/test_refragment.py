"""A moving molecule: what is reused is what a fresh build gives, and the log says what changed."""

from __future__ import annotations

import copy
import pickle
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch
from ase.build import molecule
from untrained import tiny_model

import se3set_ase.refragment as refragment
from se3set_ase.hypergraph import Hypergraph, HypergraphConfig, build_hypergraph
from se3set_ase.nn.graph import collate, weigh
from se3set_ase.nn.model import energy_and_forces
from se3set_ase.refragment import Event, EventLog, Refragmenter, WeightedHypergraph, changes

SAME_ENERGY = 1e-10  # eV: reused and freshly listed, float64
SAME_FORCES = 1e-9  # eV/Angstrom
EXACT = 1e-13

CONFIG = HypergraphConfig(cutoff=4.5, reach=3.5)
SPECIES = {1: 0, 6: 1, 8: 2}


def weighted(g: Hypergraph, positions: np.ndarray, config: HypergraphConfig = CONFIG):
    graph = collate([g], SPECIES, config, dtype=torch.float64)
    weights = weigh(torch.tensor(positions), graph, config)
    return WeightedHypergraph(
        structure=g,
        bond_weights=weights.bond.numpy(),
        fragment_weights=weights.fragment.numpy(),
        hyperedge_weights=weights.hyperedge.numpy(),
    )


def seen(numbers: np.ndarray, positions: np.ndarray) -> WeightedHypergraph:
    return weighted(build_hypergraph(numbers, positions, CONFIG), positions)


def random_walk(
    n_steps: int, size: float, seed: int = 5
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Acetic acid and water in a soft cage, shaken so hard that bonds break."""
    rng = np.random.default_rng(seed)
    acid, water = molecule("CH3COOH"), molecule("H2O")
    numbers = np.concatenate([acid.numbers, water.numbers])
    home = np.concatenate([acid.positions, water.positions + np.array([0.0, 2.6, 1.0])])
    positions, velocity = home.copy(), np.zeros_like(home)
    for _ in range(n_steps):
        velocity = 0.9 * velocity - 0.05 * (positions - home) + size * rng.normal(size=home.shape)
        positions = positions + velocity
        yield numbers, positions.copy()


# --- Reuse -----------------------------------------------------------------------------------


def test_the_same_object_while_it_is_valid() -> None:
    numbers, positions = molecule("CH3CH2OH").numbers, molecule("CH3CH2OH").positions
    engine = Refragmenter(CONFIG, skin=0.5)
    first = engine.update(numbers, positions)
    assert engine.update(numbers, positions.copy()) is first
    near = positions + 0.2 / 3**0.5 * np.array([1.0, -1.0, 1.0])  # each atom by 0.2 < 0.5 / 2
    assert engine.update(numbers, near) is first
    far = positions + 0.26 / 3**0.5
    assert engine.update(numbers, far) is not first


def test_a_new_object_when_it_is_not() -> None:
    numbers, positions = molecule("CH3CH2OH").numbers, molecule("CH3CH2OH").positions
    engine = Refragmenter(CONFIG, skin=0.5)
    first = engine.update(numbers, positions)
    other_elements = numbers.copy()
    other_elements[2] = 6
    assert engine.update(other_elements, positions) is not first
    second = engine.update(numbers, positions)
    assert second is not first
    # A bond that becomes ambiguous, by a move well within the skin.
    hydrogen = 3
    stretched = positions.copy()
    bond = positions[hydrogen] - positions[2]
    stretched[hydrogen] = positions[2] + bond / np.linalg.norm(bond) * 0.97 * 1.255
    assert np.linalg.norm(stretched - positions, axis=1).max() < 0.25 * 1.05
    third = engine.update(numbers, stretched)
    assert third is not second
    assert third.bond_atoms.tolist() == [[2, 3]]


def test_without_a_skin_each_geometry_is_listed_anew() -> None:
    numbers, positions = molecule("H2O").numbers, molecule("H2O").positions
    engine = Refragmenter(CONFIG, skin=0.0)
    assert engine.update(numbers, positions) is not engine.update(numbers, positions)


@pytest.mark.parametrize("skin", [-0.1, float("nan")])
def test_a_skin_that_is_none(skin: float) -> None:
    with pytest.raises(ValueError, match=r"expected a skin of 0 Angstrom or more, got (-0\.1|nan)"):
        Refragmenter(CONFIG, skin=skin)


@pytest.mark.parametrize("skin", [0.0, 0.3, 1.0])
def test_results_along_a_walk_are_those_of_a_fresh_build(skin: float) -> None:
    model = tiny_model(dtype=torch.float64)
    engine = Refragmenter(model.hypergraph, skin=skin)

    def evaluate(g: Hypergraph, positions: np.ndarray) -> tuple[float, np.ndarray]:
        graph = collate([g], model.species_of, model.hypergraph, dtype=torch.float64)
        energy, forces, _ = energy_and_forces(model, torch.tensor(positions), graph)
        return float(energy), forces.numpy()

    objects, bond_states, energies = [], set(), []
    for numbers, positions in random_walk(80, 0.012):
        reused = engine.update(numbers, positions)
        fresh = build_hypergraph(numbers, positions, model.hypergraph)
        assert np.array_equal(reused.bond_atoms, fresh.bond_atoms)
        assert np.array_equal(reused.sure_bonds, fresh.sure_bonds)
        energy, forces = evaluate(reused, positions)
        expected, expected_forces = evaluate(fresh, positions)
        assert energy == pytest.approx(expected, abs=SAME_ENERGY)
        assert np.allclose(forces, expected_forces, rtol=0, atol=SAME_FORCES)
        one = weighted(reused, positions, model.hypergraph)
        two = weighted(fresh, positions, model.hypergraph)
        assert one.bonds == two.bonds
        assert [f for f, _ in one.fragments] == [f for f, _ in two.fragments]
        found = {(i, f): w for i, f, w in one.hyperedges}
        assert found == pytest.approx({(i, f): w for i, f, w in two.hyperedges}, abs=EXACT)
        objects.append(reused)
        bond_states.add((reused.bond_atoms.tobytes(), reused.sure_bonds.tobytes()))
        energies.append(energy)
    # The walk is worth it: bonds break and form, and objects are reused where there is a skin.
    assert len(bond_states) > 5
    assert np.ptp(energies) > 0.1
    reuses = sum(a is b for a, b in pairwise(objects))
    assert (reuses > 5) == (skin > 0)


def test_an_error_leaves_nothing_stale() -> None:
    numbers, positions = molecule("H2O").numbers, molecule("H2O").positions
    engine = Refragmenter(CONFIG)
    first = engine.update(numbers, positions)
    for bad, text in (
        (np.full((3, 3), np.nan), "expected finite positions"),
        (np.zeros((3, 3)), "expected atoms apart from each other"),
        (positions[:2], "expected one position per atom, got 2 for 3"),
        (positions[:1], "expected one position per atom, got 1 for 3"),
        (positions[:0], "expected at least one atom"),
    ):
        with pytest.raises(ValueError, match=text):
            engine.update(numbers, bad)
    again = engine.update(numbers, positions)
    assert np.array_equal(again.edge_atom, first.edge_atom)


def test_atoms_that_come_together_within_the_skin_are_noticed() -> None:
    """Two atoms 0.3 Angstrom apart meet without either having moved half the skin."""
    numbers = np.array([6, 8])
    engine = Refragmenter(CONFIG, skin=1.0)
    engine.update(numbers, np.array([[0.0, 0, 0], [0.3, 0, 0]]))
    with pytest.raises(ValueError, match="expected atoms apart from each other, got atoms 0 and 1"):
        engine.update(numbers, np.array([[0.15, 0, 0], [0.15, 0, 0]]))


def test_positions_may_be_changed_in_place_afterwards() -> None:
    numbers, positions = molecule("H2O").numbers, molecule("H2O").positions.copy()
    engine = Refragmenter(CONFIG, skin=0.2)
    first = engine.update(numbers, positions)
    positions += 0.5
    numbers[0] = 6
    assert engine.update(numbers, positions) is not first
    assert engine.update(np.array([6, 1, 1]), positions).numbers.tolist() == [6, 1, 1]
    assert first.numbers.tolist() == [8, 1, 1]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_an_engine_can_be_copied(duplicate: Callable[[Refragmenter], Refragmenter]) -> None:
    numbers, positions = molecule("H2O").numbers, molecule("H2O").positions
    engine = Refragmenter(CONFIG)
    first = engine.update(numbers, positions)
    other = duplicate(engine)
    copied = other.update(numbers, positions)
    assert copied is not first
    assert np.array_equal(copied.edge_atom, first.edge_atom)
    other.update(numbers, positions + 1.0)
    assert engine.update(numbers, positions) is first


def test_the_chemistry_is_not_done_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    builds = []
    real = refragment.build_hypergraph

    def counted(*args, **kwargs):  # type: ignore[no-untyped-def]
        builds.append(1)
        return real(*args, **kwargs)

    monkeypatch.setattr(refragment, "build_hypergraph", counted)
    engine = Refragmenter(CONFIG, skin=0.5)
    for numbers, positions in random_walk(60, 0.001):
        engine.update(numbers, positions)
    assert len(builds) == 1
    for numbers, positions in random_walk(60, 0.012):
        engine.update(numbers, positions)
    assert 2 < len(builds) < 60  # the control


# --- What the network saw --------------------------------------------------------------------


def test_a_half_broken_bond_seen() -> None:
    numbers = np.array([8, 1, 1])
    middle = 0.97 * (1.25 + 1.5) / 2
    positions = np.array([[0.0, 0, 0], [middle, 0, 0], [0, 0.97, 0]])
    here = seen(numbers, positions)
    assert [b for b, _ in here.bonds] == [(0, 1), (0, 2)]
    assert dict(here.bonds) == pytest.approx({(0, 1): 0.5, (0, 2): 1.0}, abs=EXACT)
    assert dict(here.fragments) == pytest.approx(
        {(0, 1, 2): 0.5, (0, 2): 0.5, (1,): 0.5}, abs=EXACT
    )
    reach = {(i, f): w for i, f, w in here.hyperedges}
    assert reach == pytest.approx({(i, f): 0.5 for i in range(3) for f, _ in here.fragments})
    assert here.n_hyperedges == 9
    assert here.n_edges == 3 * 2 + (1 + 1 + 2) + (1 + 1)
    assert repr(here) == "WeightedHypergraph(3 atoms, 2 bonds, 3 fragments, 9 hyperedges)"
    assert here.decided_bonds == {(0, 2)}  # one half is not yet decided


def test_what_is_listed_but_weighs_nothing_is_not_seen() -> None:
    numbers, positions = molecule("CH3CH2OH").numbers, molecule("CH3CH2OH").positions
    far = np.concatenate([positions, [[8.0, 0, 0]]])
    g = build_hypergraph(np.append(numbers, 6), far, CONFIG, skin=8.0)
    here = weighted(g, far)
    assert here.n_hyperedges == len(here.hyperedges) < len(g.hyper_atom)
    assert {f for _, f, _ in here.hyperedges if 9 in f} == {(9,)}
    assert [(i, f) for i, f, _ in here.hyperedges if i == 9] == [(9, (9,))]


# --- Events ----------------------------------------------------------------------------------

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


def test_the_way_back_is_the_mirror_image() -> None:
    there = events_along(transfer, 101)
    back = events_along(lambda t: transfer(1.0 - t), 101)
    opposite = {
        "bond formed": "bond broken", "bond broken": "bond formed",
        "fragments merged": "fragments split", "fragments split": "fragments merged",
    }  # fmt: skip
    found = Counter((opposite[e.kind], e.atoms) for e in back)
    assert found == Counter((e.kind, e.atoms) for e in there)
    assert len(there) == 4


def test_a_fragment_that_comes_and_goes() -> None:
    """A lone carbon passes an oxygen: reach gained and lost, for both, and nothing else."""

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


def test_no_change_no_event() -> None:
    log = EventLog()
    for _ in range(3):
        assert log.observe(seen(*transfer(0.0)), 0.0) == []
    assert len(log) == 0
    assert log.observe(seen(*transfer(1.0)), 0.0) != []  # the control


def test_another_molecule_starts_afresh() -> None:
    log = EventLog()
    log.observe(seen(*transfer(0.0)), 0.0)
    water = molecule("H2O")
    assert log.observe(seen(water.numbers, water.positions), 0.0) == []
    assert log.observe(seen(*transfer(1.0)), 0.0) == []
    assert log.observe(seen(*transfer(0.0)), 0.0) != []
    assert {e.step for e in log.events} == {3}


def test_the_log_is_bounded() -> None:
    log = EventLog(capacity=5)
    for k in range(20):
        log.observe(seen(*transfer(float(k % 2))), 0.0)
    assert len(log) == len(log.events) == 5
    assert log.events[-1].step == 19
    assert log.events[0].step == 18  # four at each step
    unbounded = EventLog()
    for k in range(20):
        unbounded.observe(seen(*transfer(float(k % 2))), 0.0)
    assert len(unbounded) > 5
    assert unbounded.events[-5:] == log.events


def test_the_list_of_events_is_a_copy() -> None:
    log = EventLog()
    log.observe(seen(*transfer(0.0)), 0.0)
    log.observe(seen(*transfer(1.0)), 0.0)
    n = len(log)
    log.events.clear()
    assert len(log) == n > 0


def test_events_do_not_depend_on_what_is_reused() -> None:
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
