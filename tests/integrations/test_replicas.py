"""Molecules side by side: each as if it were alone, and with a log of its own."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from untrained import Make, save_committee

from se3set_ase import Potential
from se3set_ase.integrations.replicas import Replicas
from se3set_ase.uncertainty.committee import Committee

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


# --- The committee ---------------------------------------------------------------------------


def ethers(n: int, seed: int) -> list[Atoms]:
    """Beads of dimethyl ether, which the committee has not seen."""
    beads = [molecule("CH3OCH3") for _ in range(n)]
    for k, atoms in enumerate(beads):
        atoms.rattle(0.01, seed=10 * seed + k)
    return beads


def test_the_committee_warns_of_each_molecule_once(tmp_path: Path) -> None:
    replicas = Replicas(Potential(save_committee(tmp_path), device="cpu"))
    known = molecule("CH3CH2OH")
    with pytest.warns(UserWarning, match="was not trained on") as issued:
        replicas.predict([known, *ethers(3, 0)])
    (warning,) = issued
    assert str(warning.message).startswith(
        "molecule 1 and 2 more: model 'tiny' was not trained on atoms bonded as "
        "C(H,H,H,O), O(C,C): "
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in (1, 2):
            replicas.predict([known, *ethers(3, seed)])
        Replicas(replicas.potential).predict([known])  # the control: nothing to warn of


def test_members_see_a_batch_in_one_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And more beads than a calculator remembers are asked about once, not at every step."""
    asked: list[int] = []
    real = Committee.uncertainties

    def counted(self: Committee, predictions: list) -> list:
        asked.append(len(predictions))
        return real(self, predictions)

    monkeypatch.setattr(Committee, "uncertainties", counted)
    potential = Potential(save_committee(tmp_path), device="cpu")
    replicas, alone = Replicas(potential), Replicas(potential)
    for seed in range(3):
        beads = [molecule("CH3CH2OH") for _ in range(40)]
        for k, atoms in enumerate(beads):
            atoms.rattle(0.005, seed=100 * seed + k)
        replicas.predict(beads)
    assert asked == [40]
    far = beads[0].copy()
    far.rotate_dihedral(0, 1, 2, 3, 120, mask=[0, 0, 0, 1, 0, 0, 0, 0, 0])
    replicas.predict([beads[0], far, *beads[2:]])  # the control: one has become another
    assert asked == [40, 1]
    alone.predict([far])
    assert asked == [40, 1, 1]
