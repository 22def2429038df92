"""Fragments of molecules, chosen for environments that have no label yet."""

from __future__ import annotations

from collections import Counter

import pytest
from rdkit import Chem

from research.organic import fragments

MOLECULES = [
    "CCOC(=O)c1ccc(N)cc1",
    "CSCC(C)NC(=O)C1CCCO1",
    "O=S(=O)(NC)C1=CCOC1",
    "Clc1cnc2[nH]ccc2c1CC#N",
]


@pytest.mark.parametrize("smiles", MOLECULES)
def test_fragments_have_the_environments_of_the_molecule(smiles: str) -> None:
    molecule = Chem.MolFromSmiles(smiles)
    found = list(fragments.fragments_of(molecule))
    assert found
    assert fragments.names_in(molecule) <= set().union(*map(fragments.names_in, found))
    for fragment in found:
        assert fragment.GetNumAtoms() <= molecule.GetNumAtoms()
        assert not any(atom.GetFormalCharge() for atom in fragment.GetAtoms())
        assert not any(atom.GetNumRadicalElectrons() for atom in fragment.GetAtoms())
    # The control: atoms further than two bonds away make no difference.
    assert fragments.names_in(Chem.MolFromSmiles("CCCCCC")) == fragments.names_in(
        Chem.MolFromSmiles("CCCCCCCC")
    )
    assert fragments.names_in(Chem.MolFromSmiles("CCCC")) != fragments.names_in(
        Chem.MolFromSmiles("CCCO")
    )


def test_each_chosen_fragment_has_a_new_environment() -> None:
    candidates = [Chem.MolFromSmiles(s) for s in ("CCO", "CCO", "CO", "CCCCCCCCO", "CCN")]
    often = Counter(name for m in candidates for name in fragments.names_in(m))
    for name in fragments.names_in(candidates[-1]):
        del often[name]  # small molecules have these
    chosen = [Chem.MolToSmiles(m) for m in fragments.greedy(candidates, often)]
    assert chosen == ["CCO", "CO", "CCCCCCCCO"]  # the others have no new environment
