"""The calculator, batches and commands with periodic cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.calculator import InputError, PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.constraints import FixAtoms
from ase.filters import FrechetCellFilter
from ase.md.nose_hoover_chain import IsotropicMTKNPT
from ase.optimize import BFGS
from crystals import TRICLINIC, liquid, polyacetylene, small_cell
from untrained import Make, save_committee

from se3set_ase import Potential, SE3SetCalculator
from se3set_ase.hypergraph.build import build_hypergraph
from se3set_ase.hypergraph.lattice import Lattice
from se3set_ase.nn.outputs import outputs
from se3set_ase.nn.weighting import weighted_hypergraph

SAME = 1e-9  # eV, eV/Angstrom
STRESS = 1e-6  # eV/Angstrom^3


def water_box() -> Atoms:
    """Eight water molecules, some of them cut by the boundary."""
    atoms = Atoms(cell=[6.6, 6.3, 6.9], pbc=True)
    for k in range(8):
        water = molecule("H2O")
        water.rotate(40.0 * k, (1, k, 2), center="COM")
        water.positions += np.array([k % 2, k // 2 % 2, k // 4]) @ atoms.cell.array / 2
        atoms += water
    return atoms


def test_results_and_their_derivatives(make: Make) -> None:
    atoms = liquid()
    atoms.calc = make(dtype="float64")
    energy, stress = atoms.get_potential_energy(), atoms.get_stress()
    assert set(atoms.calc.results) == {"energy", "free_energy", "energies", "forces", "stress"}
    assert atoms.get_potential_energies().sum() == pytest.approx(energy, abs=1e-9)
    numerical = calculate_numerical_stress(atoms, eps=1e-4)
    np.testing.assert_allclose(stress, numerical, rtol=0, atol=STRESS)
    assert np.abs(stress).min() > 10 * STRESS
    forces = calculate_numerical_forces(atoms, eps=1e-4, iatoms=[0, 7])
    np.testing.assert_allclose(atoms.get_forces()[[0, 7]], forces, rtol=0, atol=1e-6)


def test_stress_needs_a_cell_of_three_vectors(make: Make) -> None:
    calculator = make()
    for pbc, cell in ((False, TRICLINIC), ((True, False, False), [9.0, 0.0, 0.0])):
        atoms = molecule("CH3OH", cell=cell, pbc=pbc, calculator=calculator)
        atoms.get_forces()
        with pytest.raises(PropertyNotImplementedError):
            atoms.get_stress()
    atoms = molecule("CH3OH", cell=TRICLINIC, pbc=[True, False, False], calculator=calculator)
    assert np.abs(atoms.get_stress()).max() > STRESS


def test_a_change_of_the_cell_is_noticed_only_with_boundaries(make: Make) -> None:
    atoms = liquid()
    atoms.calc = make()
    before = atoms.get_potential_energy()
    atoms.set_cell(1.02 * atoms.cell.array)
    assert atoms.calc.check_state(atoms) == ["cell"]
    assert abs(atoms.get_potential_energy() - before) > 1e-4
    atoms.pbc = False
    free = atoms.get_potential_energy()
    atoms.set_cell(1.02 * atoms.cell.array)
    assert atoms.calc.check_state(atoms) == []
    assert atoms.get_potential_energy() == free


def test_a_batch_of_molecules_and_cells(make: Make) -> None:
    potential = make(dtype="float64").potential
    free = molecule("CH3OH")
    cells = [liquid(), small_cell()]
    found = potential.predict([cells[0], free, cells[1]])
    for one, together in zip([cells[0], free, cells[1]], found, strict=True):
        (alone,) = potential.predict([one])
        assert together.energy == pytest.approx(alone.energy, abs=SAME)
        np.testing.assert_allclose(together.forces, alone.forces, rtol=0, atol=SAME)
        if one is free:
            assert together.stress is None
            assert alone.stress is None
        else:
            np.testing.assert_allclose(together.stress, alone.stress, rtol=0, atol=SAME)
            assert np.abs(alone.stress).max() > STRESS


def test_molecules_do_not_take_the_path_of_cells(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    potential = make().potential
    (expected,) = potential.predict([molecule("CH3OH")])

    def fails(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("se3set_ase.potential.outputs_in_cells", fails)
    boxed = molecule("CH3OH", cell=TRICLINIC)
    (found,) = potential.predict([boxed])
    assert found.energy == expected.energy
    np.testing.assert_array_equal(found.forces, expected.forces)
    with pytest.raises(AssertionError):  # the control
        potential.predict([liquid()])


@pytest.mark.parametrize(
    ("cell", "pbc", "text"),
    [
        ([5.0, 5.0, 0.0], True, "linearly independent cell vectors"),
        ([5.0, 0.0, 0.0], (False, True, False), "linearly independent cell vectors"),
        ([0.4, 5.0, 5.0], True, "at least 0.7 Angstrom between opposite faces, got 0.4"),
        ([5.0, 5.0, np.nan], True, "finite cell"),
    ],
)
def test_cells_that_are_refused(cell: list[float], pbc: object, text: str, make: Make) -> None:
    atoms = molecule("H2O")
    atoms.calc = make()
    with np.errstate(invalid="ignore"):
        atoms.set_cell(np.diag(cell))
    atoms.pbc = pbc
    with pytest.raises(InputError, match=text):
        atoms.get_potential_energy()


def test_frozen_fragments_have_no_cells(make: Make) -> None:
    atoms = liquid()
    atoms.calc = make(refragment="frozen")
    with pytest.raises(InputError, match="isolated molecule with frozen fragments"):
        atoms.get_potential_energy()


def test_compiled_code_refuses_cells(make: Make) -> None:
    potential = make().potential
    potential._compiled = outputs
    with pytest.raises(ValueError, match=r"not possible with compile=True; set atoms.pbc = False"):
        potential.predict([liquid()])


def test_a_proton_that_crosses_the_boundary_is_logged_once(make: Make) -> None:
    """Wrapping an atom is no event; what breaks and forms across the boundary is."""
    water, other = molecule("H2O"), molecule("H2O")
    water.positions += [0.4, 3.0, 3.0]
    other.positions += [5.6, 3.0, 3.0]
    atoms = water + other
    proton = 1
    atoms.set_cell([8.0, 8.0, 8.0])
    atoms.pbc = True
    atoms.calc = make()
    start, target = atoms.positions[0].copy(), atoms.positions[3] - [8.0, 0.0, 0.0]
    for t in np.linspace(0.3, 0.7, 41):
        atoms.positions[proton] = (1 - t) * start + t * target
        atoms.wrap()
        atoms.get_potential_energy()
    bonds = [(e.kind, e.atoms) for e in atoms.calc.events if e.kind.startswith("bond")]
    assert ("bond broken", (0, 1)) in bonds
    assert ("bond formed", (1, 3)) in bonds
    assert len(bonds) == 2


def test_dynamics_and_relaxation_of_the_cell(make: Make) -> None:
    atoms = water_box()
    atoms.calc = make()
    atoms.set_constraint(FixAtoms([0]))
    pressures = []
    with BFGS(FrechetCellFilter(atoms), logfile=None) as optimizer:
        for _ in optimizer.irun(fmax=1e-3, steps=15):
            pressures.append(abs(atoms.get_stress()[:3].mean()))
    assert pressures[-1] < pressures[0]

    atoms.set_constraint()
    atoms.set_velocities(np.random.default_rng(2).normal(scale=0.02, size=(len(atoms), 3)))
    volume = atoms.get_volume()
    IsotropicMTKNPT(
        atoms,
        timestep=0.3 * units.fs,
        temperature_K=100,
        pressure_au=0.0,
        tdamp=30 * units.fs,
        pdamp=100 * units.fs,
    ).run(20)
    assert abs(atoms.get_volume() - volume) > 1e-6
    # The past does not matter.
    again = atoms.copy()
    again.wrap()
    again.calc = make()
    assert again.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=SAME)
    np.testing.assert_allclose(again.get_stress(), atoms.get_stress(), rtol=0, atol=SAME)


def test_a_committee_in_cells(tmp_path: Path) -> None:
    folder = save_committee(tmp_path / "model")
    atoms = molecule("CH3CH2OH", cell=[6.0, 6.5, 7.0], pbc=True)
    atoms.calc = SE3SetCalculator(folder, device="cpu")
    atoms.get_potential_energy()
    inside = atoms.calc.energy_uncertainty
    potentials = [Potential(folder / f"member-{k}", device="cpu") for k in (1, 2)]
    energies = [p.predict([atoms])[0].energy for p in (*potentials,)]
    energies.append(atoms.get_potential_energy())
    assert inside == pytest.approx(3.0 * np.std(energies, ddof=1), rel=1e-3)


def test_the_hypergraph_without_a_network_is_that_of_the_calculator(make: Make) -> None:
    atoms = liquid()
    atoms.calc = make(dtype="float64")
    atoms.get_potential_energy()
    expected, config = atoms.calc.hypergraph, atoms.calc.potential.model.hypergraph
    lattice = Lattice.of(atoms.cell.array, atoms.pbc)
    listed = build_hypergraph(atoms.numbers, atoms.positions, config, lattice=lattice)
    alone = weighted_hypergraph(listed, atoms.positions, config, atoms.cell.array)
    assert alone.fragments == expected.fragments
    assert alone.hyperedges == expected.hyperedges
    wrong = weighted_hypergraph(listed, atoms.positions, config)  # without the lattice vectors
    assert len(wrong.hyperedges) < len(alone.hyperedges)


def test_fragment_energies_add_up(make: Make) -> None:
    for atoms in (liquid(), polyacetylene()):
        atoms.calc = make(dtype="float64")
        energy = atoms.get_potential_energy()
        parts = atoms.calc.fragment_energies
        assert sum(e for _, e in parts) == pytest.approx(energy, abs=1e-9)


def test_hessian_in_a_cell(make: Make) -> None:
    atoms = small_cell()
    atoms.calc = make(dtype="float64")
    hessian = atoms.calc.get_hessian(atoms)
    forces = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions[1, 2] += sign * 1e-4
        moved.calc = make(dtype="float64")
        forces.append(moved.get_forces().ravel())
    np.testing.assert_allclose(hessian[5], (forces[1] - forces[0]) / 2e-4, rtol=0, atol=1e-4)
