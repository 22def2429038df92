"""Dimer scans."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from tblite.ase import TBLite

from research.organic import dimer_scans
from research.organic.pairs import kept_apart

SMILES = ["C", "CC", "C=C", "C#C", "CCC", "C=CC", "O", "CO", "N", "CF", "CCl", "CC=O", "C1CC1"]


def energy(atoms: Atoms) -> float:
    atoms = atoms.copy()
    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
    return atoms.get_potential_energy()


def test_pairs_are_new_and_half_of_them_hydrocarbons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dimer_scans, "PAIRS", 8)
    pairs = dimer_scans.chosen_pairs(SMILES)
    assert len(set(pairs)) == 16
    for name in pairs:
        one, other = name.split(".")
        assert {one, other} <= set(SMILES)
        assert not kept_apart(one, other)
    assert all(set(name) <= set("C=#1.") for name in pairs[:8])
    assert not all(set(name) <= set("C=#1.") for name in pairs[8:])
    assert dimer_scans.chosen_pairs(SMILES) == pairs


def test_test_dimers_are_recognised_by_any_smiles() -> None:
    assert kept_apart("O=CO", "OC=O")
    assert kept_apart("C", "c1ccccc1")
    assert not kept_apart("O=CO", "O")


def test_rigid_molecules_move_along_a_shallow_well() -> None:
    frames = dimer_scans.scan("CC.C")
    shifts = [frame.info["shift"] for frame in frames]
    assert len(frames) == len(dimer_scans.SHIFTS)
    assert shifts == sorted(shifts)
    halves = [(frame[:8], frame[8:]) for frame in frames]
    for one, other in halves[1:]:
        assert one.positions == pytest.approx(halves[0][0].positions)
        assert other.get_all_distances() == pytest.approx(halves[0][1].get_all_distances())
    moved = [
        other.positions.mean(axis=0) - halves[0][1].positions.mean(axis=0) for _, other in halves
    ]
    assert np.linalg.norm(moved, axis=1) == pytest.approx(np.array(shifts) - shifts[0])
    # Weakly bound at the minimum, and less at all other distances.
    bound = [energy(a + b) - energy(a) - energy(b) for a, b in halves]
    assert -0.1 < bound[1] < 0.0
    assert np.argmin(bound) == 1
