"""Weights of fragments as polynomials in the weights of ambiguous bonds."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import se3set_ase.hypergraph.mixing as mixing
import se3set_ase.hypergraph.outcomes as outcomes
from se3set_ase.hypergraph.fragments import find_fragments
from se3set_ase.hypergraph.mixing import FragmentMixer, Mixture, mix
from se3set_ase.hypergraph.outcomes import Molecule
from se3set_ase.hypergraph.structure import EXACT_BONDS
from se3set_ase.nn.likelihood import likelihood

EXACT = 1e-12  # sums of up to 2^10 products of numbers up to 1

NO_BONDS = np.empty((0, 2), dtype=int)


def pairs(*bonds: tuple[int, int]) -> np.ndarray:
    return np.array(bonds, dtype=int).reshape(-1, 2)


def mixed(
    numbers: np.ndarray,
    sure: np.ndarray,
    ambiguous: np.ndarray,
    b: np.ndarray | None = None,
    mixer: FragmentMixer | None = None,
) -> Mixture:
    if b is None:
        b = np.full(len(ambiguous), 0.5)
    return (mixer or FragmentMixer())(numbers, sure, ambiguous, b)


def values(mixture: Mixture, b: np.ndarray) -> dict[tuple[int, ...], float]:
    """W_f at bond weights b, each fragment once; those of weight zero left out."""
    fragments = mixture.fragments
    assert len({f.atoms for f in fragments}) == len(fragments)
    result = {}
    for fragment in fragments:
        weight = 0.0
        for term in fragment.terms:
            factors = [b[a] if present else 1.0 - b[a] for a, present in term]
            counts = likelihood(torch.tensor([factors])) if len(term) > EXACT_BONDS else 1.0
            weight += float(np.prod(factors) * counts)
        result[fragment.atoms] = weight
    for fragment in fragments:
        if fragment.rest:
            (atom,) = fragment.atoms
            others = (w for atoms, w in result.items() if atom in atoms and len(atoms) > 1)
            result[fragment.atoms] -= sum(others)
    return {atoms: w for atoms, w in result.items() if abs(w) > 1e-15}


def by_enumeration(
    numbers: np.ndarray, sure: np.ndarray, ambiguous: np.ndarray, b: np.ndarray
) -> dict[tuple[int, ...], float]:
    """The definition: every subset of all ambiguous bonds, nothing factorised."""
    result: dict[tuple[int, ...], float] = {}
    for choice in product((False, True), repeat=len(ambiguous)):
        weight = float(np.prod(np.where(choice, b, 1.0 - b)))
        bonds = np.concatenate([sure, ambiguous[np.array(choice, dtype=bool)]])
        bonds = bonds[np.lexsort((bonds[:, 1], bonds[:, 0]))]
        for atoms in find_fragments(numbers, bonds):
            result[atoms] = result.get(atoms, 0.0) + weight
    return {atoms: w for atoms, w in result.items() if w != 0}


def assert_same(
    found: dict[tuple[int, ...], float], expected: dict[tuple[int, ...], float]
) -> None:
    assert found.keys() == expected.keys()
    for atoms, weight in expected.items():
        assert found[atoms] == pytest.approx(weight, abs=EXACT), atoms


@st.composite
def partially_broken(
    draw: st.DrawFn, most_ambiguous: int = 5
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Numbers, sure and ambiguous bonds and their weights of a random molecule."""
    n = draw(st.integers(2, 14))
    numbers = draw(
        st.lists(st.sampled_from([1, 1, 6, 6, 6, 7, 8, 9, 15, 16, 17]), min_size=n, max_size=n)
    )
    tree = [(draw(st.integers(max(0, j - 3), j - 1)), j) for j in range(1, n)]
    every = [(i, j) for i in range(n) for j in range(i + 1, n)]
    bonds = sorted({*tree, *draw(st.lists(st.sampled_from(every), max_size=3))})
    most = min(most_ambiguous, len(bonds))
    chosen = draw(st.sets(st.sampled_from(range(len(bonds))), max_size=most))
    weights = [draw(st.floats(0.01, 0.99)) for _ in chosen]
    return (
        np.array(numbers),
        pairs(*[b for k, b in enumerate(bonds) if k not in chosen]),
        pairs(*[b for k, b in enumerate(bonds) if k in chosen]),
        np.array(weights),
    )


# --- The definition --------------------------------------------------------------------------


@given(partially_broken())
def test_weights_are_those_of_an_enumeration_over_all_subsets(
    case: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    numbers, sure, ambiguous, b = case
    found = values(mixed(numbers, sure, ambiguous, b), b)
    assert_same(found, by_enumeration(numbers, sure, ambiguous, b))


@given(partially_broken(most_ambiguous=8))
def test_fragments_of_each_atom_have_total_weight_one(
    case: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    numbers, sure, ambiguous, b = case
    found = values(mixed(numbers, sure, ambiguous, b), b)
    for atom in range(len(numbers)):
        total = sum(w for atoms, w in found.items() if atom in atoms)
        assert total == pytest.approx(1.0, abs=EXACT)
    assert all(w > 0 for w in found.values())


@given(partially_broken(), st.data())
def test_limits_of_the_bond_weights_are_the_decided_graphs(
    case: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], data: st.DataObject
) -> None:
    numbers, sure, ambiguous, b = case
    n = len(ambiguous)
    present = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)), dtype=bool)
    found = values(mixed(numbers, sure, ambiguous, b), present.astype(float))
    bonds = np.concatenate([sure, ambiguous[present]])
    bonds = bonds[np.lexsort((bonds[:, 1], bonds[:, 0]))]
    assert_same(found, dict.fromkeys(find_fragments(numbers, bonds), 1.0))


def chain(n: int) -> tuple[np.ndarray, np.ndarray]:
    """CH2 units in a row, without ends: carbons first, then two hydrogens on each."""
    numbers = np.array([6] * n + [1] * (2 * n))
    backbone = [(i, i + 1) for i in range(n - 1)]
    hydrogens = [(i, n + 2 * i + k) for i in range(n) for k in range(2)]
    return numbers, pairs(*sorted(backbone + hydrogens))


@pytest.mark.parametrize("gap", range(1, 12))
def test_regions_far_and_near_agree_with_enumeration(gap: int) -> None:
    """Two broken C-H bonds, ``gap`` carbons apart on a chain: coupled, or factorised."""
    n = 12
    numbers, bonds = chain(n)
    broken = [(0, n), (gap, n + 2 * gap)]
    is_broken = np.array([tuple(b) in broken for b in bonds.tolist()])
    sure, ambiguous, b = bonds[~is_broken], bonds[is_broken], np.array([0.3, 0.6])
    mixture = mixed(numbers, sure, ambiguous)
    assert_same(values(mixture, b), by_enumeration(numbers, sure, ambiguous, b))
    coupled = max(len(term) for f in mixture.fragments for term in f.terms)
    # Losing a hydrogen makes a carbon unsaturated: two neighbours would then be doubly bonded.
    assert coupled == (2 if gap == 1 else 1)


@pytest.mark.parametrize("size", range(3, 12))
def test_a_breaking_ring(size: int) -> None:
    """The far side of a ring of eight depends on the bond that opens: the widest influence."""
    numbers = np.array([6] * size + [1] * (2 * size))
    ring = [tuple(sorted((i, (i + 1) % size))) for i in range(size)]
    hydrogens = [(i, size + 2 * i + k) for i in range(size) for k in range(2)]
    sure, ambiguous = pairs(*sorted(ring[1:] + hydrogens)), pairs(ring[0])
    b = np.array([0.4])
    found = values(mixed(numbers, sure, ambiguous, b), b)
    assert_same(found, by_enumeration(numbers, sure, ambiguous, b))
    everything = tuple(range(3 * size))
    if size <= 8:
        assert found[everything] == pytest.approx(0.4, abs=EXACT)
    else:
        assert everything not in found


def test_two_breaking_bonds_of_one_ring_are_coupled() -> None:
    numbers = np.full(8, 7)
    ring = sorted(tuple(sorted((i, (i + 1) % 8))) for i in range(8))
    is_broken = np.array([bond in [(0, 1), (4, 5)] for bond in ring])
    sure, ambiguous = pairs(*ring)[~is_broken], pairs(*ring)[is_broken]
    b = np.array([0.5, 0.25])
    found = values(mixed(numbers, sure, ambiguous, b), b)
    assert_same(found, by_enumeration(numbers, sure, ambiguous, b))


def test_a_proton_between_two_oxygens() -> None:
    """b of one and of the other bond: the polynomials by hand."""
    numbers = np.array([8, 1, 8])
    b = np.array([0.9, 0.2])
    found = values(mixed(numbers, NO_BONDS, pairs((0, 1), (1, 2)), b), b)
    expected = {
        (0, 1, 2): 0.18, (0, 1): 0.72, (2,): 0.8, (1, 2): 0.02, (0,): 0.1, (1,): 0.08,
    }  # fmt: skip
    assert_same(found, expected)


def test_bonds_without_effect_are_in_no_polynomial() -> None:
    """A cut single bond that breaks: the fragments are the same with and without it."""
    numbers, bonds = chain(3)
    ends = pairs((0, 1))
    saturated = dict.fromkeys(map(tuple, bonds.tolist()), 1.0)
    keep = ~(bonds == ends[0]).all(axis=1)
    mixture = mixed(numbers, bonds[keep], ends, mixer=FragmentMixer(saturated))
    assert all(f.terms == ((),) for f in mixture.fragments)
    # The control: with perceived orders the carbons become unsaturated, and it matters.
    mixture = mixed(numbers, bonds[keep], ends)
    assert any(len(term) for f in mixture.fragments for term in f.terms)


def test_given_bond_orders_are_those_of_the_whole_molecule() -> None:
    """Two dienes, not bonded to each other: orders are looked up by the indices of the system."""
    numbers = np.array([6] * 8)
    bonds = pairs((0, 1), (1, 2), (2, 3), (4, 5), (5, 6), (6, 7))
    second = {(4, 5): 2.0, (5, 6): 1.0, (6, 7): 2.0}
    found = [
        f.atoms for f in mixed(numbers, bonds, NO_BONDS, mixer=FragmentMixer(second)).fragments
    ]
    assert found == [(0, 1, 2, 3), (4, 5), (6, 7)]


def test_order_of_atoms_does_not_matter() -> None:
    numbers, bonds = chain(6)
    is_broken = np.array([tuple(b) in [(1, 2), (2, 10), (3, 4)] for b in bonds.tolist()])
    b = np.array([0.2, 0.5, 0.7])
    here = values(mixed(numbers, bonds[~is_broken], bonds[is_broken], b), b)
    order = np.random.default_rng(1).permutation(len(numbers))
    place = np.argsort(order)
    moved = np.sort(place[bonds], axis=1)
    rows = np.lexsort((moved[:, 1], moved[:, 0]))
    moved, broken_there = moved[rows], is_broken[rows]
    weight = np.full(len(bonds), np.nan)
    weight[is_broken] = b
    b_there = weight[rows][broken_there]
    there = values(
        mixed(numbers[order], moved[~broken_there], moved[broken_there], b_there), b_there
    )
    back = {tuple(sorted(int(order[a]) for a in atoms)): w for atoms, w in there.items()}
    assert_same(back, here)
    assert len(here) > 6


# --- Limits ----------------------------------------------------------------------------------


def star(n_hydrogens: int) -> tuple[np.ndarray, np.ndarray]:
    return np.array([6] + [1] * n_hydrogens), pairs(*[(0, i) for i in range(1, n_hydrogens + 1)])


@st.composite
def dissociating(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Numbers, sure and many ambiguous bonds, some of them hardly so."""
    numbers, sure, _, _ = draw(partially_broken(most_ambiguous=0))
    extra = draw(st.sets(st.sampled_from(range(len(sure))), min_size=min(6, len(sure))))
    weight = st.one_of(st.floats(0.05, 0.95), st.floats(1e-6, 1e-3), st.floats(0.999, 1 - 1e-6))
    weights = [draw(weight) for _ in extra]
    kept = [k for k in range(len(sure)) if k not in extra]
    return numbers, sure[kept], sure[sorted(extra)], np.array(weights)


@given(dissociating())
def test_fragments_of_each_atom_have_total_weight_one_without_some_outcomes(
    case: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    numbers, sure, ambiguous, b = case
    found = values(mixed(numbers, sure, ambiguous, b), b)
    exact = by_enumeration(numbers, sure, ambiguous, b) if len(b) < 9 else None
    for atoms, weight in found.items():
        assert weight > -EXACT
        if exact is not None and len(atoms) > 1:
            assert weight < exact[atoms] + EXACT  # left out, never made up
    for atom in range(len(numbers)):
        total = sum(w for atoms, w in found.items() if atom in atoms)
        assert total == pytest.approx(1.0, abs=EXACT)


@given(dissociating())
@settings(max_examples=20)
def test_left_out_outcomes_have_no_weight(
    case: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    numbers, sure, ambiguous, b = case
    if len(b) > 8:
        numbers, sure, ambiguous, b = numbers, sure, ambiguous[:8], b[:8]
    found = values(mixed(numbers, sure, ambiguous, b), b)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outcomes, "_MARGIN", np.inf)  # every outcome is followed
        everything = values(mixed(numbers, sure, ambiguous, b), b)
    assert_same(found, everything)


def test_many_partially_broken_bonds_give_a_bounded_number_of_outcomes() -> None:
    """All the hydrogens leave at once, halfway: 2^n subsets, and none of them likely."""
    counts = []
    for n in (5, 6, 10, 16, 64):
        numbers, ambiguous = star(n)
        b = np.full(n, 0.5)
        mixture = mixed(numbers, NO_BONDS, ambiguous, b)
        assert mixture.fleeting == (n > EXACT_BONDS)
        counts.append(sum(len(f.terms) for f in mixture.fragments))
        found = values(mixture, b)
        assert found.get(tuple(range(n + 1)), 0.0) == pytest.approx(
            0.5**n if n <= 6 else 0.0, abs=EXACT
        )
        assert found[0,] == pytest.approx(0.5**n if n <= 6 else 1.0, abs=EXACT)
    assert counts[1] > 2**6
    assert counts[2:] == [11, 17, 65]


def test_hardly_ambiguous_bonds_leave_the_fragments_they_are_in() -> None:
    """A hundred bonds that are all but sure: the whole molecule keeps its weight."""
    numbers, ambiguous = star(100)
    b = np.full(100, 1 - 1e-5)
    found = values(mixed(numbers, NO_BONDS, ambiguous, b), b)
    assert found[tuple(range(101))] == pytest.approx(b[0] ** 100, abs=1e-6)
    assert found[7,] == pytest.approx(1 - b[0] ** 100, abs=1e-6)


def test_many_uncoupled_bonds_are_not_too_many() -> None:
    n = 30
    one = np.array([8, 1, 1])
    numbers = np.tile(one, n)
    sure = pairs(*[(3 * k, 3 * k + 1) for k in range(n)])
    ambiguous = pairs(*[(3 * k, 3 * k + 2) for k in range(n)])
    mixture = mixed(numbers, sure, ambiguous)
    found = values(mixture, np.full(n, 0.25))
    assert len(found) == 3 * n
    assert found[0, 1, 2] == found[87, 88, 89] == 0.25


# --- Cache -----------------------------------------------------------------------------------


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of bonds in each call of :func:`mix`."""
    seen: list[int] = []

    def counted(molecule: Molecule, weights: np.ndarray) -> Mixture:
        seen.append(len(weights))
        return mix(molecule, weights)

    monkeypatch.setattr(mixing, "mix", counted)
    return seen


def test_fragments_of_a_box_of_water_are_found_once(calls: list[int]) -> None:
    n = 200
    numbers = np.tile([8, 1, 1], n)
    bonds = pairs(*[(3 * k, 3 * k + h) for k in range(n) for h in (1, 2)])
    mixture = mixed(numbers, bonds, NO_BONDS)
    assert calls == [2]
    assert [f.atoms for f in mixture.fragments] == [(3 * k, 3 * k + 1, 3 * k + 2) for k in range(n)]
    assert all(f.terms == ((),) for f in mixture.fragments)


def test_cached_fragments_are_right_at_other_indices(calls: list[int]) -> None:
    """Two equal partially broken molecules: terms refer to bonds of the system."""
    numbers = np.array([8, 1, 1, 8, 1, 1])
    sure, ambiguous = pairs((0, 1), (3, 4)), pairs((0, 2), (3, 5))
    found = values(mixed(numbers, sure, ambiguous), np.array([0.25, 0.5]))
    expected = {(0, 1, 2): 0.25, (0, 1): 0.75, (2,): 0.75, (3, 4, 5): 0.5, (3, 4): 0.5, (5,): 0.5}
    assert_same(found, expected)
    assert calls == [2]


def test_ambiguous_and_sure_elements_and_orders_are_distinguished(calls: list[int]) -> None:
    mixer = FragmentMixer({(4, 5): 1.0})
    mixed(np.array([6, 6]), pairs((0, 1)), NO_BONDS, mixer=mixer)
    mixed(np.array([6, 6]), NO_BONDS, pairs((0, 1)), mixer=mixer)
    mixed(np.array([6, 7]), pairs((0, 1)), NO_BONDS, mixer=mixer)
    # Six atoms in three molecules: the last one has an order given.
    mixture = mixed(np.array([6] * 6), pairs((0, 1), (2, 3), (4, 5)), NO_BONDS, mixer=mixer)
    assert [f.atoms for f in mixture.fragments] == [(0, 1), (2, 3), (4,), (5,)]
    assert len(calls) == 4
    mixed(np.array([6, 6]), pairs((0, 1)), NO_BONDS, mixer=mixer)
    assert len(calls) == 4


def test_the_cache_is_bounded_and_drops_the_least_recent(calls: list[int]) -> None:
    mixer = FragmentMixer(capacity=6)  # three isolated atoms, each with one term
    for z in (1, 6, 7):
        mixed(np.array([z]), NO_BONDS, NO_BONDS, mixer=mixer)
    mixed(np.array([1]), NO_BONDS, NO_BONDS, mixer=mixer)  # used again: 6 is now the oldest
    assert len(calls) == 3
    mixed(np.array([8]), NO_BONDS, NO_BONDS, mixer=mixer)
    assert len(mixer._memory) == 3
    mixed(np.array([1]), NO_BONDS, NO_BONDS, mixer=mixer)
    assert len(calls) == 4
    mixed(np.array([6]), NO_BONDS, NO_BONDS, mixer=mixer)
    assert len(calls) == 5


def test_changing_results_does_not_affect_the_cache() -> None:
    mixer = FragmentMixer()
    water = np.array([8, 1, 1]), pairs((0, 1), (0, 2)), NO_BONDS
    first = mixed(*water, mixer=mixer)
    assert isinstance(first.fragments, tuple)
    assert [f.atoms for f in mixed(*water, mixer=mixer).fragments] == [(0, 1, 2)]


def test_inputs_are_not_changed() -> None:
    numbers, sure, ambiguous = np.array([8, 1, 1]), pairs((0, 1)), pairs((0, 2))
    orders = {(0, 1): 1.0}
    copies = numbers.copy(), sure.copy(), ambiguous.copy(), dict(orders)
    mixed(numbers, sure, ambiguous, mixer=FragmentMixer(orders))
    for array, copy in zip((numbers, sure, ambiguous), copies, strict=False):
        assert np.array_equal(array, copy)
    assert orders == copies[3]
