"""The calculator's numbers: against finite differences, limits, and a fresh calculator.

How it lives among ASE's tools is in test_calculator_in_ase.py, what it refuses in
test_calculator_errors.py.
"""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import PropertyNotImplementedError
from rdkit import Chem
from untrained import ATOMIC_ENERGIES, Make

from se3set_ase import SE3SetCalculator

SAME_ENERGY = 1e-10  # eV, of the same geometry reached in another way, float64
SAME_FORCES = 1e-9  # eV/Angstrom
GRADIENT_TOLERANCE = 1e-6  # eV/Angstrom, fourth-order differences of float64 energies
SINGLE_ENERGY = 1e-3  # eV, float32 against float64
SINGLE_FORCES = 1e-3  # eV/Angstrom


def ethanol(seed: int = 0) -> Atoms:
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.03, seed=seed)
    return atoms


def partially_broken() -> Atoms:
    """Ethanol, its O-H between bonded and broken."""
    atoms = ethanol()
    atoms.set_distance(2, 3, 0.97 * 1.35, fix=0)
    return atoms


class Counted:
    """Counts the passes through the network."""

    def __init__(self, calculator: SE3SetCalculator, monkeypatch: pytest.MonkeyPatch):
        self.n = 0
        evaluate = calculator.potential.evaluate

        def counted(*args: Any) -> Any:
            self.n += 1
            return evaluate(*args)

        monkeypatch.setattr(calculator.potential, "evaluate", counted)


# --- Results ---------------------------------------------------------------------------------


def test_all_properties_come_from_one_pass(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    atoms = ethanol()
    atoms.calc = make()
    passes = Counted(atoms.calc, monkeypatch)
    energy = atoms.get_potential_energy()
    forces = atoms.get_forces()
    energies = atoms.get_potential_energies()
    free = atoms.get_potential_energy(force_consistent=True)
    assert passes.n == 1
    assert type(energy) is float
    assert free == energy
    assert energies.shape == (9,)
    assert energies.sum() == pytest.approx(energy, abs=SAME_ENERGY)
    assert forces.shape == (9, 3)
    assert forces.dtype == energies.dtype == np.float64
    assert np.abs(forces.sum(axis=0)).max() < SAME_FORCES < np.abs(forces).max()
    assert set(atoms.calc.results) == {"energy", "free_energy", "energies", "forces"}
    # A molecule has no stress.
    assert set(atoms.calc.implemented_properties) == {*atoms.calc.results, "stress"}
    atoms.positions[0, 0] += 1e-8
    atoms.get_forces()
    assert passes.n == 2  # the control


@pytest.mark.parametrize("geometry", [ethanol, partially_broken])
def test_forces_are_the_gradient(make: Make, geometry: Callable[[], Atoms]) -> None:
    atoms = geometry()
    atoms.calc = make()
    assert (len(atoms.calc.get_property("energies", atoms)), len(atoms)) == (9, 9)
    ambiguous = len(atoms.calc.hypergraph.structure.bond_atoms)
    assert ambiguous == (geometry is partially_broken)
    forces = atoms.get_forces()
    assert np.abs(forces).max() > 0.1
    h, start = 1e-3, atoms.positions.copy()
    for atom, axis in [(0, 0), (1, 1), (2, 2), (3, 0), (3, 1), (8, 2)]:
        values = []
        for steps in (-2, -1, 1, 2):
            atoms.positions = start
            atoms.positions[atom, axis] += steps * h
            values.append(atoms.get_potential_energy())
        slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
        assert -slope == pytest.approx(forces[atom, axis], abs=GRADIENT_TOLERANCE)


def test_one_atom_has_its_atomic_energy(make: Make) -> None:
    for symbol, energy in zip("HCO", ATOMIC_ENERGIES, strict=True):
        atoms = Atoms(symbol, positions=[[3.0, 1.0, -200.0]], calculator=make())
        assert atoms.get_potential_energy() == energy
        assert atoms.get_forces().tolist() == [[0.0, 0.0, 0.0]]
        assert atoms.calc.hypergraph.fragments == [((0,), 1.0)]
        assert atoms.calc.events == []


def test_two_far_atoms_are_the_sum_of_both(make: Make) -> None:
    atoms = Atoms("CO", positions=[[0, 0, 0], [0, 0, 50.0]], calculator=make())
    total = sum(ATOMIC_ENERGIES[1:])
    assert atoms.get_potential_energy() == pytest.approx(total, abs=SAME_ENERGY)
    assert not atoms.get_forces().any()
    atoms.positions[1, 2] = 1.2
    assert abs(atoms.get_potential_energy() - total) > 0.01
    assert atoms.get_forces().any()


def test_two_far_molecules_are_the_sum_of_both(make: Make) -> None:
    first, second = ethanol(), molecule("H2O")
    far = second.copy()
    far.translate([30.0, 0, 0])
    both = first + far
    for atoms in (first, second, both):
        atoms.calc = make()
    total = first.get_potential_energy() + second.get_potential_energy()
    assert both.get_potential_energy() == pytest.approx(total, abs=SAME_ENERGY)
    apart = np.concatenate([first.get_forces(), second.get_forces()])
    assert np.allclose(both.get_forces(), apart, rtol=0, atol=SAME_FORCES)
    both.positions[9:] -= [27.0, 0, 0]
    assert abs(both.get_potential_energy() - total) > 1e-3


def test_nearly_coincident_atoms_repel_and_are_finite(make: Make) -> None:
    atoms = Atoms("CO", positions=[[0, 0, 0], [0, 0, 0.05]], calculator=make())
    forces = atoms.get_forces()
    assert np.isfinite(forces).all()
    assert forces[1, 2] > 1000
    assert atoms.get_potential_energy() > sum(ATOMIC_ENERGIES[1:]) + 100


@pytest.mark.parametrize("geometry", [ethanol, partially_broken])
def test_rotated_translated_permuted(make: Make, geometry: Callable[[], Atoms]) -> None:
    atoms = geometry()
    atoms.calc = make()
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    order = np.random.default_rng(2).permutation(len(atoms))
    other = atoms.copy()[order]
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    other.positions = other.positions @ rotation.T + [4.0, -7.0, 12.0]
    other.calc = make()
    assert other.get_potential_energy() == pytest.approx(energy, abs=SAME_ENERGY)
    assert np.allclose(other.get_forces(), forces[order] @ rotation.T, rtol=0, atol=SAME_FORCES)
    assert np.abs(other.get_forces() - forces).max() > 0.1


def test_single_precision(make: Make) -> None:
    for geometry in (ethanol, partially_broken):
        double, single = geometry(), geometry()
        double.calc, single.calc = make(), make(dtype="float32")
        difference = single.get_potential_energy() - double.get_potential_energy()
        assert 0 < abs(difference) < SINGLE_ENERGY
        assert np.allclose(single.get_forces(), double.get_forces(), rtol=0, atol=SINGLE_FORCES)
        assert single.get_forces().dtype == np.float64


@pytest.mark.parametrize("skin", [0.0, 0.1, 3.0])
def test_skin_and_history_change_nothing(make: Make, skin: float) -> None:
    atoms = partially_broken()
    atoms.calc = make(skin=skin)
    rng = np.random.default_rng(1)
    for _ in range(12):
        atoms.positions += 0.04 * rng.normal(size=(9, 3))
        fresh = atoms.copy()
        fresh.calc = make()
        assert atoms.get_potential_energy() == pytest.approx(
            fresh.get_potential_energy(), abs=SAME_ENERGY
        )
        assert np.allclose(atoms.get_forces(), fresh.get_forces(), rtol=0, atol=SAME_FORCES)
    assert len(atoms.calc.events) > 0


def test_hard_warns_and_jumps(make: Make) -> None:
    with pytest.warns(UserWarning, match=r"refragment='hard': the energy jumps .* comparison only"):
        hard = make(refragment="hard")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        smooth = make()
    middle = 0.97 * (1.25 + 1.5) / 2  # where hard membership decides

    def jump(calculator: SE3SetCalculator) -> float:
        atoms = ethanol()
        energies = []
        for side in (-1e-7, 1e-7):
            atoms.set_distance(2, 3, middle + side, fix=0)
            energies.append(calculator.get_potential_energy(atoms))
        return abs(energies[1] - energies[0])

    assert jump(smooth) < 1e-5
    assert jump(hard) > 1e-3


# --- An RDKit molecule given -----------------------------------------------------------------


def butadiene() -> tuple[Atoms, Chem.Mol]:
    """trans-butadiene and its Kekule structure: the bond in the middle is single."""
    atoms = molecule("butadiene")
    mol = Chem.RWMol()
    for number in atoms.numbers.tolist():
        mol.AddAtom(Chem.Atom(number))
    for i in range(len(atoms)):
        for j in range(i):
            d = atoms.get_distance(i, j)
            both_carbon = (atoms.numbers[[i, j]] == 6).all()
            if d < (1.6 if both_carbon else 1.2):
                double = both_carbon and d < 1.4
                mol.AddBond(i, j, Chem.BondType.DOUBLE if double else Chem.BondType.SINGLE)
    Chem.SanitizeMol(mol)
    assert sum(b.GetBondType() == Chem.BondType.DOUBLE for b in mol.GetBonds()) == 2
    return atoms, mol.GetMol()


def test_bond_orders_of_a_molecule_replace_perception(make: Make) -> None:
    atoms, mol = butadiene()
    before = Chem.MolToSmiles(mol)
    given, perceived = make(molecule=mol), make()
    e_given, e_perceived = (c.get_potential_energy(atoms) for c in (given, perceived))
    assert len(perceived.hypergraph.fragments) == 1
    assert sorted(len(f) for f, _ in given.hypergraph.fragments) == [5, 5]
    assert abs(e_given - e_perceived) > 1e-4
    assert Chem.MolToSmiles(mol) == before
    moved = copy.deepcopy(given)
    assert moved.get_potential_energy(atoms) == e_given
    again = pickle.loads(pickle.dumps(given))
    again.reset()
    assert again.get_potential_energy(atoms) == pytest.approx(e_given, abs=SAME_ENERGY)


# --- What the network saw, and the log -------------------------------------------------------


def test_hypergraph_and_events(make: Make) -> None:
    calculator = make()
    assert calculator.hypergraph is None
    assert calculator.events == []
    atoms = ethanol()
    atoms.calc = calculator
    atoms.get_potential_energy()
    assert len(calculator.hypergraph.bonds) == 8
    assert calculator.events == []
    atoms.set_distance(2, 3, 2.2, fix=0)
    energy = atoms.get_potential_energy()
    broken = [e for e in calculator.events if e.kind == "bond broken"]
    assert [(e.atoms, e.symbols, e.step) for e in broken] == [((2, 3), ("O", "H"), 1)]
    assert broken[0].energy == energy
    assert len(calculator.hypergraph.bonds) == 7
    n = len(calculator.events)
    atoms.get_forces()  # nothing new was calculated
    assert len(calculator.events) == n


def test_stress_and_other_properties_are_not_there(make: Make) -> None:
    atoms = ethanol()
    atoms.calc = make()
    for get in (atoms.get_stress, atoms.get_dipole_moment, atoms.get_stresses, atoms.get_charges):
        with pytest.raises(PropertyNotImplementedError):
            get()
    assert np.isfinite(atoms.get_potential_energy())


def test_torch_scatter_gives_the_same(make: Make) -> None:
    pytest.importorskip("torch_scatter", reason="torch-scatter is not installed (an extra)")
    atoms = partially_broken()
    atoms.calc = make()
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    atoms.calc = make(scatter="torch_scatter")
    assert atoms.calc.potential.model.network.blocks[0].gather.backend == "torch_scatter"
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=SAME_ENERGY)
    np.testing.assert_allclose(atoms.get_forces(), forces, atol=SAME_FORCES)
    assert abs(forces).max() > 0.1
