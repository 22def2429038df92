"""The contract of the smooth hypergraph for a network on top of GFN2-xTB: the sum is as smooth."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from paths import proton_transfer
from scipy.spatial.transform import Rotation
from test_contract import JUMP_ENERGY, MOST_ENERGY, MOST_FORCES, STEP, random_model

from se3set_ase import SE3SetCalculator
from se3set_ase.baseline import KNOWN
from se3set_ase.checkpoint.metadata import ModelMetadata
from se3set_ase.checkpoint.store import save_checkpoint
from se3set_ase.simulate import md

pytest.importorskip("tblite", reason="tblite is not installed: extra xtb")

SYMMETRY = 1e-6  # eV, eV/Angstrom: GFN2-xTB is solved to this accuracy in any orientation
GRADIENT = 1e-5  # eV/Angstrom, central differences of 2e-4 Angstrom
SPREAD = 0.5  # meV/atom, standard deviation of the total energy, 0.1 fs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "corrected"
    metadata = ModelMetadata(
        name="corrected", level_of_theory="none", baseline=KNOWN["GFN2-xTB"], charges=(-1, 0, 1)
    )
    save_checkpoint(path, random_model(), metadata)
    return path


def calculator(folder: Path, **options: str) -> SE3SetCalculator:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about hard membership
        return SE3SetCalculator(folder, device="cpu", **options)


def scan(
    calc: SE3SetCalculator, atoms: Atoms, path: Callable[[float], np.ndarray], centre: float
) -> tuple[float, float]:
    """Worst third difference of the energy and second difference of the forces."""
    energies, forces = [], []
    for k in range(-3, 4):
        moved = Atoms(atoms.numbers, path(centre + (k - 0.5) * STEP))
        moved.calc = calc
        energies.append(moved.get_potential_energy())
        forces.append(moved.get_forces())
    third = np.abs(np.diff(np.array(energies) - np.mean(energies), 3)).max()
    return float(third), float(np.abs(np.diff(forces, 2, axis=0)).max())


def events(
    calc: SE3SetCalculator, atoms: Atoms, path: Callable[[float], np.ndarray], most: int
) -> list[float]:
    """Where the hypergraph changes along the path, bisected."""
    replica = calc._replica

    def state(t: float) -> tuple[bytes, ...]:
        replica.refragmenter.skin = 0.0
        g = replica.refragmenter.update(atoms.numbers, path(t))
        return g.sure_bonds.tobytes(), g.bond_atoms.tobytes(), g.edge_atom.tobytes()

    found: list[float] = []
    ts = np.linspace(0.5, 1.5, 60)
    for low, high in pairwise(ts):
        if state(low) == state(high) or len(found) == most:
            continue
        left = state(low)
        while high - low > 1e-9:
            middle = 0.5 * (low + high)
            low, high = (middle, high) if state(middle) == left else (low, middle)
        found.append(high)
    return found


def test_the_sum_is_smooth_through_events(folder: Path) -> None:
    atoms, path, _ = proton_transfer()
    places = events(calculator(folder), atoms, path, most=4)
    assert len(places) == 4
    smooth = [scan(calculator(folder), atoms, path, t) for t in places]
    assert max(energy for energy, _ in smooth) < MOST_ENERGY
    assert max(forces for _, forces in smooth) < MOST_FORCES
    hard = calculator(folder, refragment="hard")
    jumps = [scan(hard, atoms, path, t)[0] for t in events(hard, atoms, path, most=8)]
    assert max(jumps) > JUMP_ENERGY


def test_forces_symmetries_and_no_memory(folder: Path) -> None:
    atoms, path, _ = proton_transfer()
    calc = calculator(folder)
    at = Atoms(atoms.numbers, path(1.0), calculator=calc)
    energy, forces = at.get_potential_energy(), at.get_forces()
    h = 2e-4
    for index in ((0, 0), (1, 2), (2, 1)):
        found = []
        for sign in (1, -1):
            moved = Atoms(atoms.numbers, path(1.0), calculator=calc)
            moved.positions[index] += sign * h
            found.append(moved.get_potential_energy())
        assert (found[1] - found[0]) / (2 * h) == pytest.approx(forces[index], abs=GRADIENT)
    turn = Rotation.random(rng=2).as_matrix()
    order = np.random.default_rng(1).permutation(len(atoms))
    other = Atoms(atoms.numbers[order], path(1.0)[order] @ turn.T, calculator=calculator(folder))
    assert other.get_potential_energy() == pytest.approx(energy, abs=SYMMETRY)
    np.testing.assert_allclose(other.get_forces(), forces[order] @ turn.T, atol=10 * SYMMETRY)
    assert np.abs(forces).max() > 0.1
    # The converged charges of earlier geometries are the start of later ones.
    for t in np.linspace(0.5, 1.5, 15):
        Atoms(atoms.numbers, path(t), calculator=calc).get_potential_energy()
    again = Atoms(atoms.numbers, path(1.0), calculator=calc).get_potential_energy()
    assert again == pytest.approx(energy, abs=SYMMETRY)


def test_energy_is_conserved(folder: Path) -> None:
    atoms = molecule("CH3CH2OH")
    atoms.calc = calculator(folder)
    result = md(
        atoms, ensemble="nve", temperature_K=600, timestep=0.1, steps=150, interval=1, seed=3
    )
    spread = 1000.0 * result.total.std() / len(atoms)
    assert spread < SPREAD
    assert 1000.0 * result.potential.std() / len(atoms) > 10.0 * spread
