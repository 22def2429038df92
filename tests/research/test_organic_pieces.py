"""Pieces of molecules, research.organic.pieces: chosen where a label shows most that is new."""

from __future__ import annotations

from collections import Counter

import pytest
from rdkit import Chem

from research.organic import pieces

MOLECULES = [
    "CCOC(=O)c1ccc(N)cc1",
    "CSCC(C)NC(=O)C1CCCO1",
    "O=S(=O)(NC)C1=CCOC1",
    "Clc1cnc2[nH]ccc2c1CC#N",
]


@pytest.mark.parametrize("smiles", MOLECULES)
def test_pieces_show_what_the_molecule_has(smiles: str) -> None:
    molecule = Chem.MolFromSmiles(smiles)
    found = list(pieces.pieces(molecule))
    assert found
    assert pieces.names_in(molecule) <= set().union(*map(pieces.names_in, found))
    for piece in found:
        assert piece.GetNumAtoms() <= molecule.GetNumAtoms()
        assert not any(atom.GetFormalCharge() for atom in piece.GetAtoms())
        assert not any(atom.GetNumRadicalElectrons() for atom in piece.GetAtoms())
    # The control: atoms further than two bonds away make no difference.
    assert pieces.names_in(Chem.MolFromSmiles("CCCCCC")) == pieces.names_in(
        Chem.MolFromSmiles("CCCCCCCC")
    )
    assert pieces.names_in(Chem.MolFromSmiles("CCCC")) != pieces.names_in(
        Chem.MolFromSmiles("CCCO")
    )


def test_each_piece_that_is_taken_shows_something_new() -> None:
    candidates = [Chem.MolFromSmiles(s) for s in ("CCO", "CCO", "CO", "CCCCCCCCO", "CCN")]
    often = Counter(name for m in candidates for name in pieces.names_in(m))
    for name in pieces.names_in(candidates[-1]):
        del often[name]  # which small molecules have
    chosen = [Chem.MolToSmiles(m) for m in pieces.greedy(candidates, often)]
    assert chosen == ["CCO", "CO", "CCCCCCCCO"]  # two have what CCO has, and it is small
