"""Displacements and hot runs by GFN2-xTB against statistical mechanics and finite differences."""

import numpy as np
import pytest
from ase import units
from ase.build import molecule as g2
from ase.vibrations import Vibrations

from research.geometries import xtb


@pytest.fixture
def water():
    return xtb.relaxed(g2("H2O"), 0, fmax=0.001)


def test_modes_are_those_of_ase(water, tmp_path) -> None:
    stiffness, modes = xtb.normal_modes(water, 0)
    vibrations = Vibrations(xtb.with_gfn2(water, 0), name=str(tmp_path / "water"))
    vibrations.run()
    expected = vibrations.get_energies()[-3:].real
    assert units._hbar * np.sqrt(
        stiffness * units._e / units._amu
    ) * 1e10 / units._e == pytest.approx(expected, rel=0.01)
    assert modes.T @ modes == pytest.approx(np.eye(3), abs=1e-10)


def test_displacements_have_the_energy_of_their_temperature(water, rng) -> None:
    lowest = xtb.energy(water, 0)
    for kelvin in (100.0, 300.0):
        frames = xtb.along_modes(water, 0, (kelvin, kelvin), 150, rng)
        mean = np.mean([xtb.energy(atoms, 0) - lowest for atoms in frames])
        # Three modes of kT/2 each; the mean of 150 has a standard error of 7 %.
        assert mean == pytest.approx(1.5 * units.kB * kelvin, rel=0.3)


def test_charge_is_used(water) -> None:
    hydronium = g2("NH3")
    hydronium.numbers[0] = 8
    assert xtb.force_and_gap(hydronium, 1)[1] > 5.0
    forces = [xtb.force_and_gap(water, charge)[0] for charge in (0, 2)]
    assert forces[0] < 0.01
    assert forces[1] > 0.5


def test_a_dissociated_bond_has_no_gap() -> None:
    ethane = g2("C2H6")
    assert xtb.force_and_gap(ethane, 0)[1] > 5.0
    ethane.positions[ethane.positions[:, 2] > 0] += [0.0, 0.0, 6.0]
    assert xtb.force_and_gap(ethane, 0)[1] < 0.2


def test_a_hot_run_is_hot_and_leaves_its_start_alone(water, rng) -> None:
    before = water.positions.copy()
    frames = list(xtb.hot(water, 0, 1500.0, [20, 40], rng))
    assert len(frames) == 2
    assert np.array_equal(water.positions, before)
    assert all(xtb.energy(atoms, 0) > xtb.energy(water, 0) + 0.02 for atoms in frames)
