"""Saddle points are stationary, of first order, and connect the expected molecules."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from ase.io import read
from tblite.ase import TBLite

from research.geometries.reaction_edits import BondGraph, enumerate_reactions
from research.geometries.reaction_paths import (
    changing_bonds,
    find_path,
    guesses,
    relaxed,
    tangent,
)
from research.geometries.reaction_saddles import bofill, find_saddle, internal_basis
from research.geometries.reaction_surface import Surface, bonded_atoms, descend
from research.geometries.reaction_turns import find_turn, pyramids, rotors, turned
from research.geometries.reactions import frames_of, run, search
from research.splits import part_of


def reaction(reactants: str, products: str) -> tuple[BondGraph, BondGraph]:
    graph = BondGraph.from_smiles(reactants)
    wanted = BondGraph.from_smiles(products).smiles
    return graph, next(p for p, _ in enumerate_reactions(graph) if p.smiles == wanted)


@pytest.mark.parametrize(
    ("reactants", "products"), [("O=CO", "O.[C-]#[O+]"), ("C=O.O", "OCO"), ("C#N", "[C-]#[NH+]")]
)
def test_paths(reactants: str, products: str) -> None:
    reactant, product = reaction(reactants, products)
    graphs = {graph.bonded.tobytes(): graph for graph in (reactant, product)}
    result = find_path(
        reactant, product, rng=np.random.default_rng(1), graphs=graphs, highest=np.inf
    )
    assert result is not None
    path, first, second = result
    assert (first, second) == (reactant, product)
    assert path.energies.argmax() == path.saddle
    assert 0.5 < path.barrier < 6
    for image, graph in ((0, reactant), (-1, product)):
        bonds = bonded_atoms(reactant.numbers, path.positions[image])
        np.testing.assert_array_equal(bonds, graph.bonded)

    top = path.positions[path.saddle]
    surface = Surface(reactant.numbers, reactant.charge)
    energy, gradient = surface(top)
    assert energy == pytest.approx(path.energies[path.saddle], abs=1e-6)
    assert np.linalg.norm(gradient, axis=1).max() < 0.1
    basis = internal_basis(top)
    curvatures = np.linalg.eigvalsh(basis.T @ surface.hessian(top, gradient) @ basis)
    assert (curvatures < -0.2).sum() == 1

    fractions, selected = path.fractions(), path.selected()
    assert fractions[0] == 0
    assert fractions[-1] == pytest.approx(1)
    assert path.saddle in selected
    assert 3 <= len(selected) <= 5


def test_surface_is_gfn2_and_does_not_depend_on_its_history() -> None:
    graph = BondGraph.from_smiles("[OH-].CCl")
    minimum = relaxed(graph, np.random.default_rng(0))
    assert minimum is not None
    energy, positions = minimum
    surface = Surface(graph.numbers, -1)
    surface(positions + np.random.default_rng(0).normal(0, 0.1, positions.shape))
    again, gradient = surface(positions)
    assert again == pytest.approx(energy, abs=1e-8)
    atoms = Atoms(graph.numbers, positions)
    atoms.calc = TBLite(method="GFN2-xTB", charge=-1, verbosity=0)
    assert again == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
    np.testing.assert_allclose(gradient, -atoms.get_forces(), atol=1e-5)


def test_surface_reports_missing_convergence() -> None:
    with pytest.raises(CalculationFailed):
        Surface(np.array([6, 8]), 0)(np.zeros((2, 3)))


def test_descent_is_downhill_from_a_saddle_point() -> None:
    graph = BondGraph.from_smiles("N")
    minimum = relaxed(graph, np.random.default_rng(0))
    assert minimum is not None
    path = find_turn(graph, minimum[1], rng=np.random.default_rng(0), inversion=True)
    assert path is not None
    # GFN2-xTB and ammonia: 6.1 kcal/mol; D3h, so both sides are the same.
    assert path.barrier == pytest.approx(0.265, abs=0.01)
    assert path.barrier == pytest.approx(path.reverse_barrier, abs=1e-3)
    surface = Surface(graph.numbers, 0)
    _, energies = descend(surface, path.positions[path.saddle + 1])
    assert energies[-1] < energies[0]
    assert energies[-1] == pytest.approx(minimum[0], abs=2e-3)


def test_turns_keep_lengths_and_find_their_centres() -> None:
    graph = BondGraph.from_smiles("CCN")
    minimum = relaxed(graph, np.random.default_rng(0))
    assert minimum is not None
    assert pyramids(graph) == [2]
    assert sorted(rotors(graph)) == [(0, 1), (1, 2)]
    after = turned(minimum[1], graph, (0, 1), 60.0)
    assert np.abs(after - minimum[1]).max() > 0.5
    i, j = np.nonzero(graph.bonded)
    before, kept = (np.linalg.norm(x[i] - x[j], axis=1) for x in (minimum[1], after))
    np.testing.assert_allclose(kept, before, atol=1e-10)


def test_guesses_have_the_lengths_they_report() -> None:
    reactant, product = reaction("C=CC=C.C=C", "C1=CCCCC1")
    bonds = changing_bonds(reactant, product)
    assert sorted(bonds.values()) == [1, 1]
    made = list(guesses(reactant, product, number=5, rng=np.random.default_rng(0)))
    assert len(made) >= 3
    for positions, lengths in made:
        assert set(lengths) == set(bonds)
        for (i, j), length in lengths.items():
            assert np.linalg.norm(positions[i] - positions[j]) == pytest.approx(length, abs=0.3)
        direction = tangent(positions, bonds)
        moved = positions + 0.1 * direction.reshape(positions.shape)
        for i, j in bonds:
            before, after = (np.linalg.norm(x[i] - x[j]) for x in (positions, moved))
            assert after < before


def test_bofill_update_satisfies_the_secant_condition() -> None:
    rng = np.random.default_rng(0)
    exact = rng.normal(size=(6, 6))
    exact = exact + exact.T
    hessian, step = np.eye(6), rng.normal(size=6)
    updated = bofill(hessian, step, exact @ step)
    assert np.abs(hessian @ step - exact @ step).max() > 0.1
    np.testing.assert_allclose(updated @ step, exact @ step, atol=1e-10)
    np.testing.assert_allclose(updated, updated.T, atol=1e-12)


def test_no_saddle_point_above_the_highest_energy() -> None:
    reactant, product = reaction("C#N", "[C-]#[NH+]")
    surface = Surface(reactant.numbers, 0)
    positions, _ = next(guesses(reactant, product, number=1, rng=np.random.default_rng(1)))
    direction = tangent(positions, changing_bonds(reactant, product))
    assert find_saddle(surface, positions, direction) is not None
    assert find_saddle(surface, positions, direction, highest=-1e4) is None


def test_run_resumes_and_repeats_nothing(tmp_path: Path) -> None:
    output = tmp_path / "reactions.xyz"
    more = partial(
        run, seed=3, output=output, others=[], processes=1, largest=0.5, families=["turn"]
    )
    more(number=3)
    first = output.read_text()
    count = len({frame.info["reaction"] for frame in read(output, ":")})
    assert count >= 3
    more(number=count + 1)
    assert output.read_text().startswith(first)
    frames = read(output, ":")
    saddles = [frame for frame in frames if frame.info["saddle"]]
    assert len(saddles) > count
    assert len(saddles) == len({frame.info["reaction"] for frame in frames})
    assert len(saddles) == len({frame.info["smiles"] for frame in saddles})
    for frame in frames:
        assert frame.info["family"] == "reactions"
        assert frame.info["part"] == part_of(frame.info["smiles"])
        assert ("gfn2_barrier" in frame.info) == bool(frame.info["saddle"])
        assert 0 <= frame.info["path"] <= 1


def test_search_gives_the_same_for_the_same_seed_and_nothing_known() -> None:
    def found(known: frozenset[str]) -> list[str]:
        draw = partial(search, seed=3, full=frozenset(), families=("one molecule",))
        results = (draw(n, known=known)[0] for n in (0, 141))  # formaldehyde, methanol
        return [one.smiles for several in results for one in several]

    first = found(frozenset())
    assert first
    assert found(frozenset()) == first
    assert not set(found(frozenset(first))) & set(first)


def test_frames_next_to_the_saddle_point_are_rattled() -> None:
    draw = partial(search, seed=3, known=frozenset(), full=frozenset(), families=("turn",))
    results = (draw(n)[0] for n in range(20))
    one = next(one for several in results for one in several)
    frames = frames_of(one, "R03000000", np.random.default_rng(0))
    surface = Surface(one.reactant.numbers, one.reactant.charge)
    for frame in frames:
        energy = surface(frame.positions)[0]
        index = int(np.abs(one.path.fractions() - frame.info["path"]).argmin())
        change = abs(energy - one.path.energies[index])
        assert change < 1e-5 if frame.info["saddle"] else change > 1e-4
