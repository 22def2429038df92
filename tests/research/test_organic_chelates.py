"""Chelates: molecules with an internal hydrogen bond whose proton can move."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem
from tblite.ase import TBLite

from research.organic import chelates
from research.organic.molecules import key
from research.splits import part_by_hash

ENOL = "CC/C(O)=C/C=O"
#: Angstrom: a bond of hydrogen to oxygen, and a hydrogen bond.
BONDED, NEAR = 1.1, 2.0


def smiles(molecule: Chem.Mol) -> str:
    return Chem.MolToSmiles(molecule, isomericSmiles=False)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ENOL, "CCC(=O)C=CO"),
        ("CN/C=C\\C(N)=O", "CN=CC=C(N)O"),
        ("Nc1ccccc1C=O", "Nc1ccccc1C=O"),  # it would not be aromatic
    ],
)
def test_the_proton_moves_and_so_do_double_bonds(one: str, other: str) -> None:
    assert smiles(chelates.moved(Chem.MolFromSmiles(one))) == other


@pytest.mark.parametrize("form", [chelates.CHAIN, chelates.RING])
def test_chosen_molecules_are_new_and_of_the_training_part(form: str) -> None:
    first = chelates.chosen(form, 8, set())
    known = {key(Chem.MolFromSmiles(first[0])), key(chelates.moved(Chem.MolFromSmiles(first[1])))}
    names = chelates.chosen(form, 8, known)
    assert len(names) == 8
    assert not {first[0], first[1]} & set(names)
    assert first[2] in names  # the control
    molecules = [Chem.MolFromSmiles(name) for name in names]
    keys = {key(m) for m in molecules}
    assert len(keys) == 8
    assert {part_by_hash(key(m)) for m in (*molecules, *map(chelates.moved, molecules))} == {
        "train"
    }
    assert chelates.chosen(form, 8, known) == names


def test_geometries_are_closed_open_and_in_between() -> None:
    frames = chelates.geometries(ENOL)
    molecule = Chem.AddHs(Chem.MolFromSmiles(frames[0].info["smiles"]))
    assert "\\" not in frames[0].info["smiles"]
    assert [a.GetAtomicNum() for a in molecule.GetAtoms()] == frames[0].numbers.tolist()
    donor, *_, acceptor = molecule.GetSubstructMatch(chelates.BRIDGE)
    (proton,) = (
        a.GetIdx() for a in molecule.GetAtomWithIdx(donor).GetNeighbors() if a.GetAtomicNum() == 1
    )
    lengths, energies = {}, {}
    for frame in frames:
        frame.calc = TBLite(method="GFN2-xTB", verbosity=0)
        lengths.setdefault(frame.info["kind"], []).append(
            frame.get_distances(proton, [donor, acceptor])
        )
        energies.setdefault(frame.info["kind"], []).append(frame.get_potential_energy())
    closed, opened = lengths["conformer"]
    assert closed[0] < BONDED < closed[1] < NEAR < opened[1]
    assert lengths["moved"][0][1] < BONDED < lengths["moved"][0][0] < NEAR
    for of_donor, of_acceptor in lengths["proton"]:
        assert closed[0] < of_donor < NEAR
        assert closed[0] < of_acceptor < NEAR
    assert len(lengths["proton"]) == chelates.MOVING
    assert min(energies["proton"]) > np.max([*energies["conformer"][:1], *energies["moved"]])
