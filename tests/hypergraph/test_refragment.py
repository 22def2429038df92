"""Moving molecules: reused hypergraphs equal new ones, and the log has all changes."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from ase.build import molecule
from untrained import tiny_model
from watched import CONFIG, random_walk, seen, weighted

import se3set_ase.hypergraph.refragment as refragment
from se3set_ase.hypergraph.build import build_hypergraph
from se3set_ase.hypergraph.refragment import Refragmenter
from se3set_ase.hypergraph.structure import Hypergraph
from se3set_ase.nn.graph import collate
from se3set_ase.nn.model import energy_and_forces

SAME_ENERGY = 1e-10  # eV: reused and freshly listed, float64
SAME_FORCES = 1e-9  # eV/Angstrom
EXACT = 1e-13


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


def test_without_a_skin_neighbours_are_listed_at_each_geometry() -> None:
    numbers, positions = molecule("H2O").numbers, molecule("H2O").positions
    engine = Refragmenter(CONFIG, skin=0.0)
    assert engine.update(numbers, positions) is not engine.update(numbers, positions)


@pytest.mark.parametrize("skin", [-0.1, float("nan")])
def test_invalid_skins(skin: float) -> None:
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
    # The control: bonds break and form, and objects are reused if there is a skin.
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
def test_a_refragmenter_can_be_copied(duplicate: Callable[[Refragmenter], Refragmenter]) -> None:
    numbers, positions = molecule("H2O").numbers, molecule("H2O").positions
    engine = Refragmenter(CONFIG)
    first = engine.update(numbers, positions)
    other = duplicate(engine)
    copied = other.update(numbers, positions)
    assert copied is not first
    assert np.array_equal(copied.edge_atom, first.edge_atom)
    other.update(numbers, positions + 1.0)
    assert engine.update(numbers, positions) is first


def test_fragments_are_not_found_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    builds = []
    real = refragment.connect

    def counted(*args, **kwargs):  # type: ignore[no-untyped-def]
        builds.append(1)
        return real(*args, **kwargs)

    monkeypatch.setattr(refragment, "connect", counted)
    engine = Refragmenter(CONFIG, skin=0.5)
    for numbers, positions in random_walk(60, 0.001):
        engine.update(numbers, positions)
    assert len(builds) == 1
    for numbers, positions in random_walk(60, 0.012):
        engine.update(numbers, positions)
    assert 2 < len(builds) < 60  # the control


# --- Weighted hypergraph ---------------------------------------------------------------------


def test_a_partially_broken_bond() -> None:
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


def test_listed_items_of_weight_zero_are_left_out() -> None:
    numbers, positions = molecule("CH3CH2OH").numbers, molecule("CH3CH2OH").positions
    far = np.concatenate([positions, [[8.0, 0, 0]]])
    g = build_hypergraph(np.append(numbers, 6), far, CONFIG, skin=8.0)
    here = weighted(g, far)
    assert here.n_hyperedges == len(here.hyperedges) < len(g.hyper_atom)
    assert {f for _, f, _ in here.hyperedges if 9 in f} == {(9,)}
    assert [(i, f) for i, f, _ in here.hyperedges if i == 9] == [(9, (9,))]
