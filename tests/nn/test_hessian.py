"""Second derivatives, against differences of forces and ASE's vibrations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import InputError
from ase.optimize import BFGS
from ase.vibrations import Vibrations, VibrationsData
from paths import acetylacetone
from untrained import METADATA, Make

import se3set_ase.nn.hessian
from se3set_ase import SE3SetCalculator
from se3set_ase.checkpoint.store import save_checkpoint
from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.nn.architecture import network_config, preset_values
from se3set_ase.nn.model import SE3Set

DIFFERENCE_STEP = 2e-4
"""Angstrom: truncation and rounding are both far below the tolerance."""
HESSIAN_TOLERANCE = 1e-4
"""eV/Angstrom^2, of matrices whose largest elements are 50."""
FLOAT32_TOLERANCE = 2e-2
FREQUENCY_TOLERANCE = 0.5
"""1/cm, against ASE's differences of 0.005 Angstrom."""
ROUNDING = 1e-9


def by_differences(atoms: Atoms, calc: SE3SetCalculator) -> np.ndarray:
    """Central differences of the forces."""
    rows = []
    for k in range(3 * len(atoms)):
        forces = []
        for sign in (1.0, -1.0):
            moved = atoms.copy()
            moved.positions.ravel()[k] += sign * DIFFERENCE_STEP
            moved.calc = calc
            forces.append(moved.get_forces().ravel())
        rows.append((forces[1] - forces[0]) / (2 * DIFFERENCE_STEP))
    return np.array(rows)


def shaken(atoms: Atoms, seed: int = 0) -> Atoms:
    atoms = atoms.copy()
    atoms.positions += 0.05 * np.random.default_rng(seed).standard_normal(atoms.positions.shape)
    return atoms


def partially_broken() -> Atoms:
    """Ethanol whose O-H bond weighs about one half, so that fragments mix."""
    atoms = shaken(molecule("CH3CH2OH"))
    atoms.set_distance(2, 3, 1.33, fix=0)
    return atoms


GEOMETRIES = {
    "water": shaken(molecule("H2O")),
    "ethanol": shaken(molecule("CH3CH2OH")),
    "acetylacetone": shaken(acetylacetone()),
    "partially broken": partially_broken(),
}


@pytest.fixture(scope="module")
def trained() -> SE3SetCalculator:
    return SE3SetCalculator("gfn2", device="cpu")


@pytest.mark.parametrize("name", GEOMETRIES)
def test_it_is_the_derivative_of_the_forces(name: str, trained: SE3SetCalculator) -> None:
    atoms = GEOMETRIES[name].copy()
    found = trained.get_hessian(atoms)
    assert found.shape == (3 * len(atoms), 3 * len(atoms))
    assert np.abs(found).max() > 10.0
    np.testing.assert_allclose(found, by_differences(atoms, trained), atol=HESSIAN_TOLERANCE)
    assert np.array_equal(found, found.T)


def test_a_mixing_fragment_is_differentiated_too(trained: SE3SetCalculator) -> None:
    """The control of the test above: a weight of that geometry is neither 0 nor 1."""
    atoms = GEOMETRIES["partially broken"].copy()
    trained.get_hessian(atoms)
    assert trained.hypergraph is not None
    weights = trained.hypergraph.bond_weights
    assert np.any((weights > 0.05) & (weights < 0.95))


def test_moving_the_whole_molecule_changes_no_force(trained: SE3SetCalculator) -> None:
    atoms = GEOMETRIES["ethanol"].copy()
    found = trained.get_hessian(atoms).reshape(3 * len(atoms), len(atoms), 3)
    assert np.abs(found).max() > 10.0
    assert np.abs(found.sum(axis=1)).max() < ROUNDING


@pytest.mark.parametrize("name", ["H2O", "CH3CH2OH"])
def test_frequencies_are_those_of_ase(name: str, trained: SE3SetCalculator, tmp_path: Path) -> None:
    atoms = molecule(name)
    atoms.calc = trained
    BFGS(atoms, logfile=None).run(fmax=1e-4, steps=200)
    ours = VibrationsData.from_2d(atoms, trained.get_hessian(atoms)).get_frequencies()
    vibrations = Vibrations(atoms, name=str(tmp_path / "vib"), delta=0.005, nfree=4)
    vibrations.run()
    theirs = vibrations.get_frequencies()
    np.testing.assert_allclose(ours[6:].real, theirs[6:].real, atol=FREQUENCY_TOLERANCE)
    assert ours[-1].real > 3000.0


def test_float32(trained: SE3SetCalculator) -> None:
    atoms = GEOMETRIES["ethanol"].copy()
    single = SE3SetCalculator("gfn2", device="cpu", dtype="float32").get_hessian(atoms)
    assert single.dtype == np.float64
    error = np.abs(single - trained.get_hessian(atoms)).max()
    assert 0.0 < error < FLOAT32_TOLERANCE


def test_rows_taken_one_by_one_are_the_same(
    trained: SE3SetCalculator, monkeypatch: pytest.MonkeyPatch
) -> None:
    atoms = GEOMETRIES["water"].copy()
    together = trained.get_hessian(atoms)
    monkeypatch.setattr(se3set_ase.nn.hessian, "BYTES", 1)
    np.testing.assert_allclose(trained.get_hessian(atoms), together, atol=ROUNDING)


def test_the_published_network(tmp_path: Path) -> None:
    small = {
        "irreps_node": "8x0e+4x1o+4x2e", "irreps_feedforward": "12x0e+8x1o+4x2e",
        "irreps_last": "6x0e", "heads": 2, "attention_channels": 4, "blocks": 2,
        "radial_functions": 8, "radial_hidden": 8,
    }  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = SE3Set(
            elements=(1, 8),
            hypergraph=HypergraphConfig(),
            network=network_config(preset_values({"preset": "published", **small})),
            atomic_energies=[0.0, 0.0],
        )
    save_checkpoint(tmp_path, model, METADATA)
    calc = SE3SetCalculator(tmp_path, device="cpu")
    atoms = GEOMETRIES["water"].copy()
    found = calc.get_hessian(atoms)
    assert np.abs(found).max() > 1.0
    np.testing.assert_allclose(found, by_differences(atoms, calc), atol=HESSIAN_TOLERANCE)


def test_an_isolated_atom_has_none(trained: SE3SetCalculator) -> None:
    assert np.array_equal(trained.get_hessian(Atoms("O")), np.zeros((3, 3)))


def test_no_atoms_are_refused(make: Make) -> None:
    with pytest.raises(InputError, match="expected atoms to calculate"):
        make().get_hessian()


def test_energies_and_forces_are_left_alone(trained: SE3SetCalculator) -> None:
    """The model that is differentiated leaves the one that predicts as it is."""
    atoms = GEOMETRIES["water"].copy()
    atoms.calc = trained
    before = atoms.get_forces().copy()
    trained.get_hessian(atoms)
    assert trained.potential.model.backend == "by_hand"
    assert not any(p.requires_grad for p in trained.potential.model.parameters())
    trained.reset()
    assert np.array_equal(atoms.get_forces(), before)
