"""Molecules side by side: each as if it were alone, and with a log of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from untrained import Make

from se3set_ase import Potential
from se3set_ase.integrations.replicas import Replicas

SAME = 1e-9  # eV, eV/Angstrom


@pytest.fixture(scope="module")
def potential(saved: Path) -> Potential:
    return Potential(saved, device="cpu")


def moving(step: int) -> list[Atoms]:
    """A hydroxyl bond that stretches until it breaks, and water that trembles."""
    ethanol, water = molecule("CH3CH2OH"), molecule("H2O")
    ethanol.set_distance(2, 3, 0.97 + 0.1 * step, fix=0)
    water.rattle(0.01, seed=step)
    return [ethanol, water]


def test_each_is_what_a_calculator_of_its_own_finds(potential: Potential, make: Make) -> None:
    replicas, calculators = Replicas(potential), [make(), make()]
    energies = []
    for step in range(8):
        together = replicas.predict(moving(step))
        for atoms, calc, found in zip(moving(step), calculators, together, strict=True):
            atoms.calc = calc
            assert found.energy == pytest.approx(atoms.get_potential_energy(), abs=SAME)
            np.testing.assert_allclose(found.forces, atoms.get_forces(), rtol=0, atol=SAME)
        energies.append(together[0].energy)
    assert np.ptp(energies) > 1e-3
    first, second = replicas.events
    assert "bond broken" in {event.kind for event in first}
    assert [(e.step, e.kind, e.atoms) for e in first] == [
        (e.step, e.kind, e.atoms) for e in calculators[0].events
    ]
    assert second == []


def test_places_may_change_hands_and_number(potential: Potential) -> None:
    replicas = Replicas(potential)
    for molecules in ([moving(0)[0]], moving(1), moving(2)[::-1], [], moving(3)[1:]):
        expected = potential.predict(molecules)
        for found, alone in zip(replicas.predict(molecules), expected, strict=True):
            assert found.energy == pytest.approx(alone.energy, abs=SAME)
            np.testing.assert_allclose(found.forces, alone.forces, rtol=0, atol=SAME)
    assert len(replicas.events) == 2


def test_what_is_refused(potential: Potential) -> None:
    with pytest.raises(ValueError, match=r"expected a skin of 0 Angstrom or more, got -1"):
        Replicas(potential, skin=-1)
    with pytest.raises(ValueError, match=r"^molecule 1: expected the elements"):
        Replicas(potential).predict([molecule("H2O"), molecule("NH3")])
    with pytest.raises(ValueError, match=r"^expected charge 0, .* got 1"):
        Replicas(potential, charge=1).predict([molecule("H2O")])
    neutral = molecule("H2O")
    neutral.info["charge"] = 0  # what the atoms say comes first
    assert len(Replicas(potential, charge=1).predict([neutral])) == 1
