"""Pushing electron pairs gives the products of textbook reactions, each once."""

from __future__ import annotations

import numpy as np
import pytest

from research.geometries.reaction_edits import (
    BOND_ORDER_SUMS,
    BondGraph,
    enumerate_reactions,
    is_sensible,
    likelihood,
)
from research.geometries.reaction_kinds import kind_of
from research.geometries.reaction_pool import LISTS, draw_system, grown, pool
from research.splits import part_of

NAMED = [
    ("CC=O", "C=CO", "1,3 H shift"),
    ("CC=O", "C.[C-]#[O+]", "decarbonylation"),
    ("C=O.O", "OCO", "carbonyl addition of H2O"),
    ("CCCl", "C=C.Cl", "elimination of HX"),
    ("C=C.[H][H]", "CC", "addition of H2"),
    ("C=CC=C.C=C", "C1=CCCCC1", "Diels-Alder"),
    ("C1=CCCCC1", "C=C.C=CC=C", "retro Diels-Alder"),
    ("C=CC=O.C=C", "C1=COCCC1", "hetero Diels-Alder"),
    ("C=CCCC=C", "C=CCCC=C", "Cope"),
    ("C=CCOC=C", "C=CCCC=O", "Claisen"),
    ("C1=CCC1", "C=CC=C", "electrocyclic ring opening"),
    ("C=CC=CC", "C=CC=CC", "1,5 H shift"),
    ("N=[N+]=[N-].C=C", "C1CN=NN1", "1,3-dipolar"),
    ("C=CC.C=O", "C=CCCO", "ene"),
    ("O=C(O)CC=O", "C=CO.O=C=O", "decarboxylation"),
    ("[CH2].C=C", "C1CC1", "carbene insertion"),
    ("CCl.[OH-]", "CO.[Cl-]", "SN2"),
    ("CC(=O)Cl.[OH-]", "CC(=O)O.[Cl-]", "acyl transfer"),
    ("CCCl.[F-]", "C=C.F.[Cl-]", "E2"),
    ("C=O.C[O-]", "C=O.C[O-]", "hydride transfer"),
    ("C1C[OH+]1.O", "OCC[OH2+]", "ring opening by a nucleophile"),
    ("C=O.[OH-]", "[O-]CO", "nucleophilic addition"),
    ("NC=O.O", "N=CO.O", "proton relay"),
]


@pytest.mark.parametrize(("reactants", "products", "kind"), NAMED)
def test_named_reactions_are_found(reactants: str, products: str, kind: str) -> None:
    graph = BondGraph.from_smiles(reactants)
    wanted = BondGraph.from_smiles(products).smiles
    found = [p for p, _ in enumerate_reactions(graph) if p.smiles == wanted]
    assert kind in {kind_of(graph, product) for product in found}


@pytest.mark.parametrize("reactants", ["CC=O", "CCl.[OH-]", "C1C[OH+]1.O", "C[N+](=O)[O-]"])
def test_products_are_closed_shells_of_the_same_atoms(reactants: str) -> None:
    graph = BondGraph.from_smiles(reactants)
    products = list(enumerate_reactions(graph))
    assert len(products) > 10
    assert len({changes for _, changes in products}) == len(products)
    for product, changes in products:
        assert product.charge == graph.charge
        np.testing.assert_array_equal(product.orders, product.orders.T)
        assert (product.bonded != graph.bonded).any()
        states = zip(product.numbers, product.charges, product.orders.sum(axis=1), strict=True)
        assert all(v in BOND_ORDER_SUMS[int(z), int(q)] for z, q, v in states)
        assert sum(sign for *_, sign in changes) in (-1, 0, 1)
        part_of(f"{graph.smiles}>>{product.smiles}")  # raises unless it is balanced


def test_every_molecule_takes_part() -> None:
    graph = BondGraph.from_smiles("C=CC=C.C=C")
    assert len(graph.fragments) == 2
    for _, changes in enumerate_reactions(graph):
        touched = {i for change in changes for i in change[:2]}
        assert all(touched.intersection(fragment) for fragment in graph.fragments)


@pytest.mark.parametrize("smiles", ["c1ccccc1O", "C[N+](=O)[O-]", "[H-]", "[H][H]", "[C-]#[O+]"])
def test_smiles_survive_the_bond_graph(smiles: str) -> None:
    graph = BondGraph.from_smiles(smiles)
    assert BondGraph.from_smiles(graph.smiles).smiles == graph.smiles


def test_invalid_smiles() -> None:
    with pytest.raises(ValueError, match="expected SMILES"):
        BondGraph.from_smiles("C(")


def test_pool_can_be_read_and_drawn_from() -> None:
    for name, entries in pool().items():
        if name != "groups":
            for smiles in entries:
                assert abs(BondGraph.from_smiles(smiles).charge) <= 1
    rng = np.random.default_rng(0)
    drawn = [draw_system(rng) for _ in range(300)]
    assert {family for family, _ in drawn} == {*LISTS, "grown"}
    for smiles in {grown(rng) for _ in range(100)}:
        BondGraph.from_smiles(smiles)


def test_likely_products_weigh_more() -> None:
    aldehyde = BondGraph.from_smiles("CC=O")
    weights = {p.smiles: likelihood(p, aldehyde) for p, _ in enumerate_reactions(aldehyde)}
    assert weights["C=CO"] == 1
    assert 0 < weights["[CH]CO"] < 1
    chloride = BondGraph.from_smiles("CCl.[OH-]")
    weights = {p.smiles: likelihood(p, chloride) for p, _ in enumerate_reactions(chloride)}
    assert weights["OCCl.[H-]"] < weights["C[O-].Cl"] == weights["CO.[Cl-]"] == 1


@pytest.mark.parametrize("smiles", ["O=O", "C[SH2]Cl", "[CH2-][OH2+]", "C1#CC1", "[CH3+]"])
def test_unlikely_molecules_are_no_products(smiles: str) -> None:
    graph = BondGraph.from_smiles(smiles)
    assert not is_sensible(graph, graph)
    water = BondGraph.from_smiles("O")
    assert is_sensible(water, water)


def test_families_can_be_chosen() -> None:
    rng = np.random.default_rng(0)
    assert {draw_system(rng, ("anion",))[0] for _ in range(20)} == {"anion"}
