"""Bonds of geometries against molecules whose structure is known."""

import numpy as np
import pytest
from ase.build import molecule as g2
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from research.geometries.bonding import canonical, clash, identify, perceived


def embedded(smiles: str) -> Chem.Mol:
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert rdDistGeom.EmbedMolecule(molecule, randomSeed=1) == 0
    return molecule


def positions_of(molecule: Chem.Mol) -> np.ndarray:
    return molecule.GetConformer().GetPositions()


@pytest.mark.parametrize("smiles", ["CCO", "C1CC1", "c1ccccc1", "CC(=O)[O-]", "C[NH3+]", "CS(C)=O"])
def test_an_intact_molecule_keeps_its_name(smiles: str) -> None:
    molecule = embedded(smiles)
    assert identify(molecule, positions_of(molecule)) == Chem.CanonSmiles(smiles)


def test_a_broken_and_a_new_bond_are_rejected() -> None:
    molecule = embedded("CCO")
    broken = positions_of(molecule)
    broken[2:] += [9.0, 0.0, 0.0]
    assert identify(molecule, broken) is None
    chain = embedded("CCCC")
    closed = positions_of(chain)
    apart = closed[3] - closed[0]
    assert identify(chain, closed) == "CCCC"
    closed[3] = closed[0] + 1.5 * apart / np.linalg.norm(apart)
    assert identify(chain, closed) is None


def test_a_lost_hydrogen_is_rejected() -> None:
    molecule = embedded("C")
    positions = positions_of(molecule)
    positions[1] *= 4.0
    assert identify(molecule, positions) is None


@pytest.mark.parametrize(
    ("start", "hydrogen_of", "to", "expected"),
    [
        ("[NH4+].[O-]C=O", 0, 1, "N.O=CO"),  # an ion pair that becomes neutral
        ("[NH3+]CC(=O)[O-]", 0, 4, "NCC(=O)O"),  # a zwitterion
        ("NC=O", 0, 2, "N=CO"),  # a tautomer: bond orders change too
    ],
)
def test_a_moved_proton_takes_its_charge_along(
    start: str, hydrogen_of: int, to: int, expected: str
) -> None:
    halves = [embedded(half) for half in start.split(".")]
    molecule = halves[0] if len(halves) == 1 else Chem.CombineMols(*halves)
    Chem.SanitizeMol(molecule)
    positions = np.concatenate(
        [positions_of(h) + np.array([0, 0, 4.0 * k]) for k, h in enumerate(halves)]
    )
    to = to if len(halves) == 1 else halves[0].GetNumAtoms()
    atom = molecule.GetAtomWithIdx(hydrogen_of)
    proton = next(a.GetIdx() for a in atom.GetNeighbors() if a.GetAtomicNum() == 1)
    assert identify(molecule, positions) == Chem.CanonSmiles(start)
    others = np.delete(positions, [to, proton], axis=0) - positions[to]
    away = -others[np.linalg.norm(others, axis=1).argsort()[:2]].sum(axis=0)
    positions[proton] = positions[to] + 0.98 * away / np.linalg.norm(away)
    assert identify(molecule, positions) == Chem.CanonSmiles(expected)


@pytest.mark.parametrize(
    ("name", "smiles"),
    [
        ("CH3CHO", "CC=O"),
        ("CH3CN", "CC#N"),
        ("C6H6", "c1ccccc1"),
        ("CH3NO2", "C[N+](=O)[O-]"),
        ("C2H6SO", "CS(C)=O"),
    ],
)
def test_molecules_are_perceived_from_geometry(name: str, smiles: str) -> None:
    atoms = g2(name)
    assert perceived(atoms.numbers, atoms.positions) == Chem.CanonSmiles(smiles)


def test_a_pair_is_perceived_as_two_molecules() -> None:
    water, acid = g2("H2O"), g2("HCOOH")
    acid.positions += [0.0, 0.0, 4.0]
    both = water + acid
    assert perceived(both.numbers, both.positions) == "O.O=CO"


def test_names_are_safe_in_extended_xyz() -> None:
    assert canonical("F") == "[H]F"
    assert canonical("F/C=C/F") == "FC=CF"
    with pytest.raises(ValueError, match="expected SMILES, got 'C\\(C'"):
        canonical("C(C")


def test_overlapping_atoms_are_found() -> None:
    water = g2("H2O")
    assert not clash(water.numbers, water.positions)
    assert clash(water.numbers, 0.6 * water.positions)


def test_a_new_hydrogen_molecule_is_rejected() -> None:
    borane, water = embedded("[BH4-]"), embedded("O")
    both = Chem.CombineMols(borane, water)
    Chem.SanitizeMol(both)
    positions = np.concatenate([positions_of(borane), positions_of(water) + np.array([0, 0, 5.0])])
    assert identify(both, positions) == "O.[BH4-]"
    between = (positions[0] + positions[5]) / 2
    positions[1], positions[6] = between, between + np.array([0.74, 0.0, 0.0])
    assert identify(both, positions) is None
