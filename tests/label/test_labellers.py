"""Labellers by name, tested against finite differences and published values."""

from __future__ import annotations

import gzip
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import read
from ase.units import Hartree

from se3set_ase.label.density_functional import DensityFunctional
from se3set_ase.label.labellers import make_labeller
from se3set_ase.label.protocol import LabelError

SHARED = Path(__file__).parents[3] / "shared" / "data"
#: Angstrom, step of finite differences.
STEP = 0.01
#: eV/Angstrom. Tolerance of finite differences of energies that converge to 1e-8 Hartree. Without
#: the response of the grid the error is up to 1e-2.
DIFFERENCES = 5e-4
#: Hartree. Error of density fitting for a helium atom.
DENSITY_FITTING = 2e-4
#: eV. Interaction of two atoms at 4 Angstrom (dispersion), and errors of the grid.
DISSOCIATED = 0.02


def distorted_water() -> Atoms:
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=1)
    return atoms


@pytest.mark.parametrize("method", ["wB97X/6-31G(d)", "GFN2-xTB"])
def test_forces_are_the_gradient_of_the_energy(method: str) -> None:
    labeller, atoms = make_labeller(method), distorted_water()
    forces = labeller(atoms).forces
    for atom, axis in ((0, 2), (1, 1)):
        energies = {}
        for k in (-2, -1, 1, 2):
            moved = atoms.copy()
            moved.positions[atom, axis] += k * STEP
            energies[k] = labeller(moved).energy
        near, far = energies[1] - energies[-1], energies[2] - energies[-2]
        slope = -(8.0 * near - far) / (12.0 * STEP)  # fourth order
        assert forces[atom, axis] == pytest.approx(slope, abs=DIFFERENCES)
        assert abs(slope) > 1000 * DIFFERENCES


def test_energy_of_helium() -> None:
    """Hartree-Fock in STO-3G: -2.807784 Hartree (CCCBDB, NIST)."""
    helium = DensityFunctional(level="HF/sto-3g")(Atoms("He"))
    assert helium.energy / Hartree == pytest.approx(-2.807784, abs=DENSITY_FITTING)
    np.testing.assert_allclose(helium.forces, 0.0, atol=1e-6)


def test_label_agrees_with_another_script() -> None:
    """The reference labels of SPICE monomers are of the same level of theory."""
    file = SHARED / "des-monomers" / "wb97x.xyz.gz"
    if not file.exists():
        pytest.skip("the reference labels of the SPICE monomers are missing")
    known = read(StringIO(gzip.decompress(file.read_bytes()).decode()), ":", format="extxyz")
    smallest = min(known, key=len)
    label = make_labeller("wB97X/6-31G(d)")(smallest)
    assert label.energy == pytest.approx(smallest.get_potential_energy(), abs=1e-3)
    np.testing.assert_allclose(label.forces, smallest.get_forces(), atol=2e-3)


def test_no_label_without_convergence(monkeypatch: pytest.MonkeyPatch) -> None:
    from pyscf.scf.hf import SCF

    monkeypatch.setattr(SCF, "max_cycle", 1)
    with pytest.raises(LabelError, match="did not converge within 1 cycles"):
        make_labeller("wB97X/6-31G(d)")(distorted_water())


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("wB97X", {}, "expected wB97X-3c, FUNCTIONAL/BASIS, one of GFN1-xTB"),
        ("wB97Y/6-31G(d)", {}, "functional and a basis that PySCF knows"),
        ("wB97X/7-31G(d)", {}, "functional and a basis that PySCF knows"),
        ("wB97X/6-31G(d)", {"grid": 4}, r"options among grid_level, .* got \['grid'\]"),
        ("ase.calculators.none:None", {}, "expected MODULE:CLASS of an ASE calculator"),
        ("ase.calculators.morse:Mors", {}, "expected MODULE:CLASS of an ASE calculator"),
    ],
)
def test_unknown_methods(method: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_labeller(method, options=options)


def test_charge_of_an_ase_calculator_belongs_to_its_options() -> None:
    with pytest.raises(ValueError, match=r"in the options of .* got charge 1"):
        make_labeller("ase.calculators.morse:MorsePotential", charge=1)


def test_charge_and_spin_are_used() -> None:
    """O2 is a triplet; the ionisation energy of water is above 5 eV."""
    level = "PBE/sto-3g"
    oxygen = Atoms("O2", [[0, 0, 0], [0, 0, 1.2]])  # declares no spin
    singlet, triplet = (make_labeller(level, spin_multiplicity=m)(oxygen).energy for m in (1, 3))
    assert triplet < singlet - 0.1
    for method in (level, "GFN2-xTB"):
        cation = make_labeller(method, charge=1, spin_multiplicity=2)(distorted_water()).energy
        assert cation > make_labeller(method)(distorted_water()).energy + 5.0


@pytest.mark.parametrize(("symbols", "bond"), [("H2", 0.74), ("F2", 1.4)])
def test_unrestricted_bonds_dissociate_into_atoms(symbols: str, bond: float) -> None:
    """Restricted ones do not; at the minimum there is no difference."""
    level, stretched = "wB97X/6-31G(d)", 4.0
    symbol = symbols[0]
    atom = make_labeller(level, spin_multiplicity=2)(Atoms(symbol)).energy
    for length in (bond, stretched):
        atoms = Atoms(symbols, [[0, 0, 0], [0, 0, length]])
        energies = [
            make_labeller(level, options={"unrestricted": value})(atoms).energy - 2 * atom
            for value in (False, True)
        ]
        if length == bond:
            assert energies[0] == pytest.approx(energies[1], abs=1e-5)
            assert energies[0] < -1.0
        else:
            assert energies[1] == pytest.approx(0.0, abs=DISSOCIATED)
            assert energies[0] > 3.0


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for method, package in (("GFN2-xTB", "tblite"), ("wB97X/6-31G(d)", "pyscf")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(ValueError, match=rf"package '{package}': pip install 'se3set-ase\[lab"):
            make_labeller(method)
