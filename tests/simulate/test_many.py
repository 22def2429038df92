"""Many molecules relaxed together: as ASE relaxes each of them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.constraints import FixAtoms
from ase.io import read
from ase.optimize import LBFGS
from untrained import ETHANOL, save_committee

import se3set_ase.potential
from se3set_ase import SE3SetCalculator
from se3set_ase.potential import Potential, UnsupportedSystem
from se3set_ase.simulate.many import relax_many
from se3set_ase.simulate.relaxation import OPTIMIZERS, relax
from se3set_ase.uncertainty.calibration import write_calibration

FMAX = 0.02
SAME_MINIMUM = 1e-5
"""eV: convergence to FMAX leaves less than that, and both take the same way."""
ROUNDING = 1e-9


def shaken(name: str, seed: int, size: float = 0.06) -> Atoms:
    atoms = molecule(name)
    atoms.positions += size * np.random.default_rng(seed).standard_normal(atoms.positions.shape)
    return atoms


def several() -> list[Atoms]:
    names = ("H2O", "CH3CH2OH", "CH3OH", "NH3", "CH3CHO", "CH3CH2OH")
    return [shaken(name, seed) for seed, name in enumerate(names)]


@pytest.fixture(scope="module")
def potential() -> Potential:
    return Potential("gfn2", device="cpu")


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_each_is_relaxed_as_ase_relaxes_it(optimizer: str, potential: Potential) -> None:
    molecules = several()[: 1 if optimizer == "GPMin" else 3]  # its steps take seconds
    together = relax_many(molecules, potential, optimizer=optimizer, fmax=FMAX, steps=25)
    calc = SE3SetCalculator("gfn2", device="cpu")
    for atoms, found in zip(molecules, together, strict=True):
        calc.reset()
        alone = atoms.copy()
        alone.calc = calc
        before = alone.get_potential_energy()
        result = relax(alone, optimizer=optimizer, fmax=FMAX, steps=25)
        assert found.converged == result.converged
        assert found.n_steps == result.n_steps > 3
        energy = found.atoms.get_potential_energy()
        assert energy == pytest.approx(alone.get_potential_energy(), abs=SAME_MINIMUM)
        assert abs(before - energy) > 1e-3
        assert np.abs(found.atoms.positions - alone.positions).max() < 1e-3
        assert found.error is None


def test_what_is_given_stays_as_it_is(potential: Potential) -> None:
    molecules = several()
    before = [atoms.positions.copy() for atoms in molecules]
    found = relax_many(molecules, potential, fmax=FMAX)
    for atoms, old, new in zip(molecules, before, found, strict=True):
        assert np.array_equal(atoms.positions, old)
        assert atoms.calc is None
        assert np.abs(new.atoms.positions - old).max() > 0.01
        forces = np.linalg.norm(new.atoms.get_forces(), axis=1)
        assert new.converged
        assert forces.max() < FMAX


def test_the_finished_leave_the_batch(
    potential: Potential, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    evaluate = Potential.evaluate

    def counted(self: Potential, hypergraphs: Sequence[Any], *others: Any) -> Any:
        sizes.append(len(hypergraphs))
        return evaluate(self, hypergraphs, *others)

    monkeypatch.setattr(Potential, "evaluate", counted)
    done: list[int] = []
    found = relax_many(several(), potential, fmax=FMAX, progress=done.append)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 6
    assert sizes[-1] < 6
    assert len(sizes) == max(each.n_steps for each in found) + 1
    assert sum(sizes) == sum(each.n_steps + 1 for each in found)
    assert sum(done) == 6


def test_constraints_hold(potential: Potential) -> None:
    atoms = shaken("CH3CH2OH", 3)
    atoms.set_constraint(FixAtoms([0, 2]))
    (found,) = relax_many([atoms], potential, fmax=FMAX)
    moved = np.abs(found.atoms.positions - atoms.positions).max(axis=1)
    assert moved[0] == moved[2] == 0.0
    assert moved[1] > 0.0
    assert found.converged


def test_no_steps_give_energies_and_forces(potential: Potential) -> None:
    molecules = several()[:2]
    predictions = potential.predict(molecules)
    for found, prediction in zip(
        relax_many(molecules, potential, steps=0), predictions, strict=True
    ):
        assert not found.converged
        assert found.n_steps == 0
        assert found.atoms.get_potential_energy() == pytest.approx(prediction.energy, abs=ROUNDING)
        np.testing.assert_allclose(found.atoms.get_forces(), prediction.forces, atol=ROUNDING)


def test_one_that_goes_wrong_does_not_stop_the_others(
    potential: Potential, monkeypatch: pytest.MonkeyPatch
) -> None:
    molecules = several()[:3]
    step, calls = LBFGS.step, 0

    def colliding(self: Any, *arguments: Any) -> None:
        nonlocal calls
        step(self, *arguments)
        atoms = self.optimizable.atoms if hasattr(self, "optimizable") else self.atoms
        if len(atoms) == len(molecules[1]):
            calls += 1
            if calls == 4:
                atoms.positions[0] = atoms.positions[1]

    monkeypatch.setattr(LBFGS, "step", colliding)
    first, second, third = relax_many(molecules, potential, fmax=FMAX)
    assert first.converged
    assert third.converged
    assert not second.converged
    assert "got atoms 0 and 1 at a distance of" in str(second.error)
    known = potential.predict([second.atoms])[0]  # the last geometry that was right
    assert second.atoms.get_potential_energy() == pytest.approx(known.energy, abs=ROUNDING)


def test_bad_molecules_are_refused_by_number(potential: Potential) -> None:
    molecules = several()
    molecules[2].positions[0, 0] = np.nan
    with pytest.raises(ValueError, match="molecule 2: "):
        relax_many(molecules, potential)
    with pytest.raises(UnsupportedSystem, match=r"molecule 1: .*Si"):
        relax_many([molecule("H2O"), molecule("SiH4")], potential)
    with pytest.raises(UnsupportedSystem, match="charge"):
        relax_many([molecule("H2O")], potential, charge=1)
    with pytest.raises(TypeError, match="expected a list of Atoms, got 'CCO' at 0"):
        relax_many(["CCO"], potential)
    for wrong in ({"fmax": 0.0}, {"steps": -1}, {"steps": 2.5}, {"optimizer": "Newton"}):
        with pytest.raises(ValueError, match="expected"):
            relax_many([molecule("H2O")], potential, **wrong)


def test_none_and_an_isolated_atom(potential: Potential) -> None:
    assert len(relax_many([], potential)) == 0
    (found,) = relax_many([Atoms("O")], potential)
    assert found.converged
    assert found.n_steps == 0


def test_batches_that_fit_the_memory_are_the_same(
    potential: Potential, monkeypatch: pytest.MonkeyPatch
) -> None:
    molecules = several()
    at_once = potential.predict(molecules)
    passes: list[int] = []
    evaluate = Potential._evaluate

    def counted(self: Potential, hypergraphs: Sequence[Any], *others: Any) -> Any:
        passes.append(len(hypergraphs))
        return evaluate(self, hypergraphs, *others)

    monkeypatch.setattr(Potential, "_evaluate", counted)
    for most, expected in ((2**14, [6]), (1, [1] * 6)):
        monkeypatch.setattr(se3set_ase.potential, "EDGES", most)
        passes.clear()
        for one, other in zip(potential.predict(molecules), at_once, strict=True):
            assert one.energy == pytest.approx(other.energy, abs=ROUNDING)
            np.testing.assert_allclose(one.forces, other.forces, atol=ROUNDING)
        assert passes == expected
    monkeypatch.setattr(se3set_ase.potential, "EDGES", 100)
    passes.clear()
    potential.predict(molecules)
    assert sum(passes) == 6
    assert 1 < len(passes) < 6


def test_an_optimiser_that_finds_no_way_down_is_given_up(
    potential: Potential, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some of ASE's optimisers raise RuntimeError; the other molecules continue."""
    step = LBFGS.step

    def no_way_down(self: Any, *arguments: Any) -> Any:
        if len(self.optimizable.atoms if hasattr(self, "optimizable") else self.atoms) == 3:
            raise RuntimeError("no way down")
        return step(self, *arguments)

    monkeypatch.setattr(LBFGS, "step", no_way_down)
    water, ethanol = relax_many(several()[:2], potential, fmax=FMAX)
    assert str(water.error) == "no way down"
    assert ethanol.converged


def test_the_committee_warns(tmp_path: Path) -> None:
    """Of each molecule by its number among all that were given, though others are done before."""
    potential = Potential(save_committee(tmp_path, familiar_forces=1e-3), device="cpu")
    ethanol, ether = molecule("CH3CH2OH"), molecule("CH3OCH3")
    with pytest.warns(UserWarning, match="model 'tiny'") as issued:
        relax_many([Atoms("O"), ethanol, ether], potential, steps=2)
    texts = [str(warning.message) for warning in issued]
    unseen = (
        "molecule 2: model 'tiny' was not trained on atoms bonded as C(H,H,H,O), O(C,C): "
        "energies and forces of this C2H6O are not reliable"
    )
    assert texts.count(unseen) == 1
    for number in (1, 2):
        assert any(t.startswith(f"molecule {number}: model 'tiny' may be wrong by") for t in texts)
    assert not any(text.startswith("molecule 0: ") for text in texts)
    seen = (*ETHANOL, "H()*", "O(C)*")  # untrained, it loses a hydrogen
    write_calibration(tmp_path, ["member-1"], familiar_forces=1e6, environments=seen)
    with warnings.catch_warnings():  # the control
        warnings.simplefilter("error")
        relax_many([Atoms("O"), ethanol], Potential(tmp_path, device="cpu"), steps=2)


def test_each_has_the_log_that_a_calculator_has() -> None:
    hot = read(Path(__file__).parents[1] / "data" / "hot_1500K.xyz", ":")[4:6]
    for atoms in hot:
        atoms.calc = None
    found = relax_many(hot, Potential("acac", device="cpu"), fmax=FMAX, steps=20)
    bonds = [[e.atoms for e in each.events if e.kind == "bond broken"] for each in found]
    assert [len(each) for each in bonds] == [0, 1]
    for atoms, each in zip(hot, found, strict=True):
        atoms.calc = SE3SetCalculator("acac", device="cpu")
        LBFGS(atoms, logfile=None).run(fmax=FMAX, steps=20)
        known = [(e.step, e.kind, e.atoms) for e in atoms.calc.events]
        assert [(e.step, e.kind, e.atoms) for e in each.events] == known
