"""Bond graphs that extend through all cells, and lattices of integer vectors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from crystals import (
    diamond,
    evaluated,
    hypergraph_of,
    liquid,
    polyacetylene,
    polyethylene,
    sheet,
    small_cell,
)
from test_contract import random_model

from se3set_ase.hypergraph.bond_graph import LARGEST_RING
from se3set_ase.hypergraph.lattice import basis_of, modulo
from se3set_ase.hypergraph.wrapping import copies_needed
from se3set_ase.nn.cells import Cells, InCells
from se3set_ase.nn.graph import collate
from se3set_ase.nn.hessian import hessian


def test_rings_that_only_close_in_other_cells_are_no_rings():
    """In one cell, the chain of polyethylene would look like a ring of two atoms."""
    model = random_model()
    for n in (1, 2, 3):
        listed = hypergraph_of(model, polyethylene() * (n, 1, 1))
        assert [len(f.atoms) for f in listed.fragments] == [3] * 2 * n  # CH2 each
        assert {f.wraps for f in listed.fragments} == {()}


@pytest.mark.parametrize(
    ("make", "wraps"),
    [
        (polyacetylene, ((0, 1, 0),)),
        (sheet, ((1, 0, 0), (0, 1, 0))),
        (diamond, ((1, 0, 0), (0, 1, 0), (0, 0, 1))),
    ],
)
def test_endless_fragments(make, wraps):
    atoms = make()
    (fragment,) = hypergraph_of(random_model(), atoms).fragments
    assert sorted(fragment.atoms) == list(range(len(atoms)))
    assert fragment.wraps == wraps


def test_the_supercell_of_the_chemistry_has_no_small_ring_through_the_boundary():
    bonds = np.array([[0, 1], [0, 1]])
    steps = np.array([[0, 0, 0], [1, 0, 0]])  # a chain of two atoms per cell
    assert copies_needed(2, bonds, steps) == (1 + LARGEST_RING // 2, 1, 1)
    long = np.array([[i, i + 1] for i in range(11)] + [[0, 11]])
    steps = np.array([[0, 0, 0]] * 11 + [[-1, 0, 0]])
    assert copies_needed(12, long, steps) == (1, 1, 1)


def test_an_owner_sees_copies_of_its_own_fragment():
    atoms = small_cell()
    listed = hypergraph_of(random_model(), atoms)
    assert listed.hyper_member.sum() == len(atoms)  # each once, in its own copy
    assert len(listed.hyper_atom) > 10 * len(atoms)
    assert (listed.edge_atom == listed.hyper_atom[listed.edge_hyper]).any()  # its own images


@pytest.mark.parametrize("seed", range(20))
def test_lattice_vectors_have_one_representative(seed):
    rng = np.random.default_rng(seed)
    vectors = [tuple(v) for v in rng.integers(-6, 7, size=(rng.integers(1, 6), 3)).tolist()]
    basis = basis_of(vectors)
    assert len(basis) == np.linalg.matrix_rank(np.array(vectors))
    assert basis_of(basis[::-1]) == basis  # unique
    assert not modulo(np.array(vectors), basis).any()
    point = rng.integers(-50, 50, size=3)
    moved = point + rng.integers(-5, 6, size=len(vectors)) @ np.array(vectors)
    np.testing.assert_array_equal(modulo(point, basis), modulo(moved, basis))


def test_a_lattice_has_as_many_classes_of_vectors_as_its_volume():
    basis = basis_of([(2, 1, 0), (0, 3, 1), (1, 0, 2)])
    volume = round(np.linalg.det(np.array([(2, 1, 0), (0, 3, 1), (1, 0, 2)])))
    box = np.stack(np.meshgrid(*3 * [np.arange(2 * volume)]), -1).reshape(-1, 3)
    assert len(np.unique(modulo(box, basis), axis=0)) == volume == 13


def test_single_precision(rng):
    atoms = liquid()
    energies, forces, _ = evaluated(random_model(), atoms)
    atoms.positions += rng.integers(-9, 9, size=(len(atoms), 3)) @ atoms.cell.array
    single, single_forces, _ = evaluated(random_model().float(), atoms)
    np.testing.assert_allclose(single, energies, rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(single_forces, forces, rtol=0, atol=1e-5 * np.abs(forces).max())


def test_second_derivatives_in_a_cell():
    model, atoms = random_model(), small_cell()
    listed = hypergraph_of(model, atoms)
    graph = collate([listed], model.species_of, model.hypergraph, dtype=model.dtype)
    cells = Cells.of([listed], [atoms.positions], [atoms.cell.array])
    inside = InCells(model, cells)
    matrix = hessian(inside, torch.tensor(atoms.positions), graph).numpy()
    h = 1e-4
    for k in range(3):
        forces = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[0, k] += sign * h
            forces.append(evaluated(model, moved)[1].ravel())
        np.testing.assert_allclose((forces[1] - forces[0]) / (2 * h), matrix[k], atol=1e-4)
    assert np.abs(matrix).max() > 1.0
