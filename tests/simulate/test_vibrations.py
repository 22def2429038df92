"""Vibrations against finite differences by ASE, analytic frequencies and sum rules."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.constraints import Hookean
from ase.io import read
from ase.vibrations import Infrared
from untrained import METADATA, tiny_model

from se3set_ase import SE3SetCalculator
from se3set_ase.checkpoint.store import save_checkpoint
from se3set_ase.nn.longrange.config import LongRangeConfig
from se3set_ase.simulate import relax, vibrations
from se3set_ase.simulate.harmonic import KM_PER_MOL, internal_basis

CM = 0.05  # cm^-1, differences of forces with steps of 1e-3 Angstrom


@pytest.fixture(scope="module")
def relaxed(tmp_path_factory: pytest.TempPathFactory) -> Atoms:
    """Methanol at a minimum of a model with charges."""
    path = tmp_path_factory.mktemp("models") / "charged"
    model = tiny_model(long_range=LongRangeConfig(charges=True))
    save_checkpoint(path, model, METADATA)
    atoms = molecule("CH3OH")
    atoms.calc = SE3SetCalculator(path)
    relax(atoms, fmax=1e-5, steps=2000)
    return atoms


def test_frequencies_and_intensities_are_those_of_finite_differences(
    relaxed: Atoms, tmp_path: Path
) -> None:
    found = vibrations(relaxed)
    atoms = relaxed.copy()
    atoms.calc = relaxed.calc
    plain = Infrared(atoms, name=str(tmp_path / "ir"), delta=1e-3)
    plain.run()
    with open(tmp_path / "log", "w") as log:
        plain.summary(log=log)
    energies = plain.get_energies()[6:]
    expected = np.where(energies.imag > 0, -energies.imag, energies.real) / units.invcm
    np.testing.assert_allclose(found.frequencies, np.sort(expected), atol=CM)
    assert found.intensities is not None
    strengths = plain.intensities[6:] * KM_PER_MOL
    np.testing.assert_allclose(np.sort(found.intensities), np.sort(strengths), rtol=2e-3, atol=0.02)
    assert found.intensities.max() > 1.0
    assert found.longest_force < 1e-4
    assert found.n_imaginary == 0


def test_modes_are_orthogonal_and_move_nothing_as_a_whole(relaxed: Atoms) -> None:
    found = vibrations(relaxed)
    masses = relaxed.get_masses()
    n = len(found.frequencies)
    assert n == 3 * len(relaxed) - 6
    weighted = (found.modes * np.sqrt(masses)[None, :, None]).reshape(n, -1)
    np.testing.assert_allclose(weighted @ weighted.T, np.eye(n), atol=1e-10)
    centre = np.einsum("i,vix->vx", masses, found.modes)
    np.testing.assert_allclose(centre, 0.0, atol=1e-10)
    assert np.abs(found.modes).max() > 0.1


def test_heavier_isotopes_vibrate_slower(relaxed: Atoms) -> None:
    """Teller and Redlich: the product of the ratios follows from the masses alone."""
    heavy = relaxed.copy()
    heavy.calc = relaxed.calc
    masses = heavy.get_masses()
    masses[heavy.numbers == 1] = 2.014
    heavy.set_masses(masses)
    light, slow = vibrations(relaxed), vibrations(heavy)
    assert (slow.frequencies < light.frequencies + 1e-6).all()

    def factor(atoms: Atoms) -> float:
        return float(
            np.sum(np.log(atoms.get_masses())) * 1.5
            - 1.5 * np.log(atoms.get_masses().sum())
            - 0.5 * np.sum(np.log(atoms.get_moments_of_inertia()))
        )

    ratio = np.sum(np.log(light.frequencies)) - np.sum(np.log(slow.frequencies))
    assert ratio == pytest.approx(factor(heavy) - factor(relaxed), abs=1e-6)
    assert ratio > 0.5


def test_linear_molecules_and_atoms(relaxed: Atoms) -> None:
    for name, n in (("CO2", 4), ("H2", 1), ("H2O", 3)):
        atoms = molecule(name)
        atoms.calc = relaxed.calc
        found = vibrations(atoms)
        assert len(found.frequencies) == n
        assert found.linear == (name != "H2O")
    atom = Atoms("O", calculator=relaxed.calc)
    assert len(vibrations(atom).frequencies) == 0


def test_thermochemistry_scale_and_files(relaxed: Atoms, tmp_path: Path) -> None:
    found, scaled = vibrations(relaxed), vibrations(relaxed, scale=0.95)
    np.testing.assert_allclose(scaled.frequencies, 0.95 * found.frequencies)
    assert found.zero_point_energy == pytest.approx(0.5 * found.frequencies.sum() * units.invcm)
    thermo = found.thermo(symmetry_number=1)
    gibbs = thermo.get_gibbs_energy(298.15, 101325.0, verbose=False)
    assert gibbs < relaxed.get_potential_energy() + found.zero_point_energy
    found.to_csv(tmp_path / "a.csv")
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert [float(r["frequency_cm-1"]) for r in rows] == pytest.approx(found.frequencies, rel=1e-5)
    found.plot(tmp_path / "a.png", title="methanol")
    assert (tmp_path / "a.png").stat().st_size > 5000
    first, *_ = found.write_modes(tmp_path)
    frames = read(first, ":")
    moved = np.linalg.norm([f.positions - relaxed.positions for f in frames], axis=2)
    assert moved.max() == pytest.approx(0.3, abs=1e-3)
    assert "minimum; zero-point energy" in str(found)


def test_a_molecule_that_is_not_relaxed_is_reported(relaxed: Atoms) -> None:
    atoms = relaxed.copy()
    atoms.rattle(0.1, seed=1)
    atoms.calc = relaxed.calc
    assert "NOT at a stationary point" in vibrations(atoms).summary()


def test_a_saddle_point_has_one_imaginary_frequency(tmp_path: Path) -> None:
    """Of a molecule whose energy falls along one coordinate: the sign, and what is refused."""
    save_checkpoint(tmp_path, tiny_model(), METADATA)
    atoms = molecule("CH3OH")
    calc = atoms.calc = SE3SetCalculator(tmp_path)
    hessian = calc.get_hessian(atoms)
    basis, _ = internal_basis(atoms)
    root = np.repeat(np.sqrt(atoms.get_masses()), 3)
    curvatures = np.linalg.eigvalsh(basis.T @ (hessian / np.outer(root, root)) @ basis)
    found = vibrations(atoms)
    assert found.n_imaginary == (curvatures < 0).sum() >= 1
    assert (np.diff(found.frequencies) >= 0).all()
    assert f"{-found.frequencies[0]:.1f}i" in str(found)
    with pytest.raises(ValueError, match="imaginary frequencies"):
        found.thermo()


def test_spin_constraints_and_isotopes(relaxed: Atoms, tmp_path: Path) -> None:
    atoms = relaxed.copy()
    atoms.set_constraint(Hookean(0, 1, 5.0, rt=0.5))
    masses = atoms.get_masses()
    masses[-1] = 2.014
    atoms.set_masses(masses)
    atoms.calc = relaxed.calc
    found = vibrations(atoms)
    assert atoms.get_potential_energy() > relaxed.get_potential_energy() + 1.0
    energy = found.thermo().potentialenergy
    assert energy == pytest.approx(relaxed.get_potential_energy(), abs=1e-9)
    assert next(found.frames(0)).get_masses()[-1] == 2.014
    (tmp_path / "mode-400.xyz").write_text("of an earlier run")
    assert len(found.write_modes(tmp_path)) == len(list(tmp_path.glob("mode-*.xyz")))
    metadata = replace(METADATA, multiplicities=(1, 3))
    save_checkpoint(tmp_path, tiny_model(), metadata)
    triplet = molecule("CH3OH")
    triplet.calc = SE3SetCalculator(tmp_path, spin_multiplicity=3)
    assert vibrations(triplet).spin_multiplicity == 3


def test_without_charges_there_are_no_intensities(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, tiny_model(), METADATA)
    atoms = molecule("H2O")
    atoms.calc = SE3SetCalculator(tmp_path)
    found = vibrations(atoms)
    assert found.intensities is None
    found.plot(tmp_path / "a.png")


def test_dipoles_of_a_baseline_give_intensities(tmp_path: Path) -> None:
    pytest.importorskip("tblite")
    from se3set_ase.baseline import KNOWN

    metadata = replace(METADATA, baseline=KNOWN["GFN2-xTB"])
    save_checkpoint(tmp_path, tiny_model(), metadata)
    atoms = molecule("H2O")
    atoms.calc = SE3SetCalculator(tmp_path)
    derivatives = atoms.calc.get_dipole_derivatives(atoms)
    # A molecule that moves as a whole has a constant dipole, and one that turns turns it.
    np.testing.assert_allclose(derivatives.reshape(3, 3, 3).sum(0), 0.0, atol=1e-4)
    dipole = atoms.get_dipole_moment()
    for axis in np.eye(3):
        turned = np.cross(axis, atoms.positions).ravel() @ derivatives
        np.testing.assert_allclose(turned, np.cross(axis, dipole), atol=1e-3)
    assert np.abs(derivatives).max() > 0.1


def test_other_calculators_are_refused() -> None:
    with pytest.raises(ValueError, match="an SE3SetCalculator, got EMT"):
        vibrations(Atoms("Cu2", [[0, 0, 0], [2, 0, 0]], calculator=EMT()))


def test_a_cell_is_refused(relaxed: Atoms) -> None:
    """Rotations and an ideal gas are those of a molecule."""
    crystal = Atoms(relaxed.numbers, relaxed.positions, cell=[9.0] * 3, pbc=True)
    crystal.calc = relaxed.calc
    with pytest.raises(ValueError, match="an isolated molecule, got a periodic cell"):
        vibrations(crystal)
