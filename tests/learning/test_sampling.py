"""Geometries: selection without near-duplicates, dynamics, torsions, contacts and paths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.data import vdw_radii
from scipy.spatial.distance import cdist
from tiny_learning import WATER, LoggedMorse

from se3set_ase.learning.geometry import difference, distances, n_fragments, overlapping
from se3set_ase.learning.path import candidates, find_path
from se3set_ase.learning.sampling import CONTACT, Plan, contact, sample
from se3set_ase.learning.selection import DUPLICATE, select
from se3set_ase.learning.surfaces import Surface
from se3set_ase.learning.torsions import rotatable_bonds, rotated

NEUTRAL = {"charge": 0, "spin_multiplicity": 1}


def with_state(atoms: Atoms) -> Atoms:
    atoms = atoms.copy()
    atoms.info = dict(NEUTRAL)
    return atoms


def test_selects_the_uncertain_without_near_duplicates(rng: np.random.Generator) -> None:
    ethanol = molecule("CH3CH2OH")
    frames = []
    for _ in range(20):
        atoms = ethanol.copy()
        atoms.positions += rng.normal(0.0, 0.1, atoms.positions.shape)
        frames.append(atoms)
    uncertainty = np.arange(20.0)
    for _ in range(5):  # copies of the most uncertain one, turned and hardly displaced
        copy = frames[19].copy()
        copy.rotate(50, "x")
        copy.positions += rng.normal(0.0, 0.003, copy.positions.shape) + 7.0
        frames.append(copy)
        uncertainty = np.append(uncertainty, 100.0 + len(frames))
    found = distances(frames)
    chosen = select(found, found[:0], 4, uncertainty=uncertainty)
    assert chosen[0] == 24
    assert sorted(chosen[1:]) == [16, 17, 18]
    assert set(np.argsort(-uncertainty)[:4]) == {21, 22, 23, 24}  # the control: copies alone
    again = select(found, found[chosen], 4, uncertainty=uncertainty)
    assert sorted(again) == [12, 13, 14, 15]


def test_selects_different_geometries_without_a_committee() -> None:
    line = np.linspace(0.0, 10.0, 101)[:, None]
    assert select(line, np.array([[0.0]]), 3) == [100, 50, 25]
    assert select(line[:2], line[:1], 3) == [1]  # fewer, rather than near-duplicates
    assert line[1] - line[0] > DUPLICATE


def plan(**others: Any) -> Plan:
    values = {"temperatures_K": (300.0,), "n": 100, "torsions": False, "dimers": False}
    return Plan(**{**values, "may_dissociate": False, "charge": 0, **others})


def test_dynamics_have_the_temperature_asked(rng: np.random.Generator) -> None:
    """Equipartition: the potential energy of three springs is 3/2 k T above the minimum."""
    surface = Surface(name="Morse", make=LoggedMorse)
    start = with_state(WATER)
    frames = sample(surface, [start], plan(n=200, temperatures_K=(100.0,)), rng)
    settled = [atoms for atoms in frames if atoms.info["settled"]]
    energies = []
    for atoms in [start, *settled]:
        atoms = atoms.copy()
        atoms.calc = LoggedMorse()
        energies.append(atoms.get_potential_energy())
    mean = np.mean(energies[1:]) + 6.0  # three bonds of 2 eV
    assert mean == pytest.approx(1.5 * 8.617e-5 * 100.0, rel=0.4)
    assert {atoms.info["kind"] for atoms in frames} == {"dynamics"}


class Repulsion(Calculator):
    """Drives all atoms apart."""

    implemented_properties = ("energy", "forces")

    def calculate(
        self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        away = atoms.positions - atoms.positions.mean(axis=0)
        self.results = {"energy": -0.25 * float((away**2).sum()), "forces": 0.5 * away}


def test_dynamics_end_when_the_molecule_breaks(rng: np.random.Generator) -> None:
    surface = Surface(name="repulsion", make=Repulsion)
    found = sample(surface, [with_state(WATER)], plan(), rng)
    moved = [atoms for atoms in found if atoms.info["kind"] == "dynamics"]
    assert 0 < len(moved) < 100
    assert all(n_fragments(atoms) == 1 for atoms in moved[:-1])
    assert len(found) >= 100  # others are displaced at random


def test_torsions_keep_bonds_and_angles(rng: np.random.Generator) -> None:
    ethanol = molecule("CH3CH2OH")
    bonds = rotatable_bonds(ethanol, 0)
    assert {frozenset(ethanol.symbols[list(b[1:3])]) for b in bonds} == {
        frozenset("C"),
        frozenset("CO"),
    }
    new = rotated(ethanol, bonds, rng, 0)
    before, after = ethanol.get_all_distances(), new.get_all_distances()
    near = (before > 0) & (before < 1.6)
    np.testing.assert_allclose(after[near], before[near], atol=1e-6)
    assert np.abs(after - before).max() > 0.3
    assert not overlapping(new)
    assert rotatable_bonds(molecule("C6H6"), 0) == []
    assert rotatable_bonds(molecule("C2H4"), 0) == []


def test_contacts_touch(rng: np.random.Generator) -> None:
    water = with_state(molecule("H2O"))
    for _ in range(10):
        both = contact([water, water], rng)
        one, other = both[:3], both[3:]
        radii = vdw_radii[water.numbers]
        ratio = (cdist(one.positions, other.positions) / np.add.outer(radii, radii)).min()
        assert CONTACT[0] <= ratio <= CONTACT[1] + 0.05
        assert difference(distances([water])[0], distances([other]))[0] < 1e-9


class DoubleWell(Calculator):
    """Two atoms with minima at 1.0 and 1.6 Angstrom, and a barrier of 0.5 eV between."""

    implemented_properties = ("energy", "forces")

    def calculate(
        self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        vector = atoms.positions[1] - atoms.positions[0]
        length = float(np.linalg.norm(vector))
        x = (length - 1.3) / 0.3
        slope = 0.5 * 4.0 * x * (x**2 - 1.0) / 0.3
        force = -slope * vector / length
        self.results = {"energy": 0.5 * (x**2 - 1.0) ** 2, "forces": np.array([-force, force])}


def test_the_path_has_the_barrier_of_the_surface(rng: np.random.Generator) -> None:
    ends = [with_state(Atoms("H2", [[0, 0, 0], [0, 0, d]])) for d in (1.02, 1.57)]
    ends[1].rotate(70, "x")
    path = find_path(Surface(name="wells", make=DoubleWell), ends)
    assert path.barrier == pytest.approx(0.5, abs=2e-3)
    saddle = path.images[path.highest]
    assert saddle.get_distance(0, 1) == pytest.approx(1.3, abs=0.01)
    assert path.images[0].get_distance(0, 1) == pytest.approx(1.0, abs=0.01)
    again = find_path(Surface(name="wells", make=DoubleWell), ends, path)
    assert again.saddle_change(path) < 0.01
    around = np.array([atoms.get_distance(0, 1) for atoms in candidates(path, 50, rng)])
    assert 1.15 < around.mean() < 1.45
    nothing = find_path(Surface(name="rattle"), ends)
    assert np.isnan(nothing.barrier)
    assert len(nothing.images) == len(path.images)
