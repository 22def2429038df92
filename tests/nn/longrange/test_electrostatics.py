"""Electrostatics: a Madelung constant, Ewald's formula, supercells, derivatives, smoothness."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from ase.build import bulk

from se3set_ase.nn.longrange.electrostatics import (
    FEW,
    by_mesh,
    by_waves,
    coulomb,
    coulomb_in_cell,
)
from se3set_ase.nn.radial import COULOMB

MADELUNG = 1.7475645946331821  # of rock salt, for the distance of neighbours
EXACT = 1e-8  # relative
DIFFERENCES = 1e-6  # eV/Angstrom, eV; by central differences of STEP
STEP = 1e-4


Way = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, float], torch.Tensor]
both_ways = pytest.mark.parametrize("in_cell", [by_waves, by_mesh])


def random_cell(n: int = 8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(3)
    cell = torch.tensor([[9.0, 0.0, 0.0], [1.0, 8.5, 0.0], [0.5, -1.0, 10.0]], dtype=torch.float64)
    positions = torch.tensor(rng.uniform(size=(n, 3))) @ cell
    charge = torch.tensor(rng.normal(size=n))
    return charge - charge.mean(), positions, cell


@both_ways
def test_a_madelung_constant(in_cell: Way) -> None:
    """Points and Gaussian charges differ at contact only, and their own energy is left out."""
    for distance in (12.0, 16.0):
        atoms = bulk("NaCl", "rocksalt", a=2 * distance, cubic=True)
        charge = torch.tensor([1.0 if s == "Na" else -1.0 for s in atoms.symbols]).double()
        where, cell = torch.tensor(atoms.positions), torch.tensor(atoms.cell.array)
        energy = float(in_cell(charge, where, cell, 1.0).sum())
        expected = -4 * COULOMB * MADELUNG / distance
        assert energy == pytest.approx(expected, rel=EXACT)


@both_ways
def test_the_sum_over_the_reciprocal_lattice(in_cell: Way) -> None:
    charge, positions, cell = random_cell()
    width = 1.0
    n = torch.cartesian_prod(*[torch.arange(-14, 15, dtype=torch.float64)] * 3)
    k = 2 * math.pi * torch.linalg.inv(cell).T
    k = n[n.abs().sum(1) > 0] @ k
    k2 = (k * k).sum(1)
    structure = (charge[:, None] * torch.exp(1j * (positions @ k.T))).sum(0).abs() ** 2
    volume = float(torch.linalg.det(cell).abs())
    whole = (4 * math.pi / k2 * torch.exp(-k2 * width**2) * structure).sum() / (2 * volume)
    own = (charge**2).sum() / (2 * width * math.sqrt(math.pi))
    found = in_cell(charge, positions, cell, width).sum()
    assert float(found) == pytest.approx(COULOMB * float(whole - own), rel=EXACT)


@both_ways
def test_a_supercell_has_the_same_energy_per_atom(in_cell: Way) -> None:
    charge, positions, cell = random_cell()
    doubled = torch.cat([positions, positions + cell[1]])
    larger = cell * torch.tensor([[1.0], [2.0], [1.0]], dtype=torch.float64)
    one = in_cell(charge, positions, cell, 1.0)
    two = in_cell(charge.repeat(2), doubled, larger, 1.0)
    torch.testing.assert_close(two, one.repeat(2), rtol=0, atol=1e-7)
    assert float(one.abs().max()) > 0.01


@both_ways
def test_in_a_large_cell_it_is_that_of_isolated_charges(in_cell: Way) -> None:
    """Up to the dipoles of the images, which fall with the volume."""
    charge, positions, _ = random_cell(4)
    positions = positions % 4.0
    pair = torch.triu_indices(4, 4, 1).T
    distance = (positions[pair[:, 0]] - positions[pair[:, 1]]).norm(dim=1)
    free = float(coulomb(charge, pair, distance, torch.ones(6), 1.0).sum())
    away = []
    for length in (25.0, 50.0):
        cell = length * torch.eye(3, dtype=torch.float64)
        away.append(float(in_cell(charge, positions, cell, 1.0).sum()) - free)
    assert abs(away[0]) < 0.02 * abs(free)
    assert away[0] / away[1] == pytest.approx(8.0, rel=0.05)


@both_ways
def test_forces_and_stress_are_derivatives(in_cell: Way) -> None:
    charge, positions, cell = random_cell()

    def energy(positions: torch.Tensor, strain: torch.Tensor) -> torch.Tensor:
        scale = torch.eye(3, dtype=torch.float64) + strain
        return in_cell(charge, positions @ scale, cell @ scale, 1.0).sum()

    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    where = positions.clone().requires_grad_(True)
    gradients = torch.autograd.grad(energy(where, strain), (where, strain))
    zero = torch.zeros(3, 3, dtype=torch.float64)
    for index in ((0, 0), (3, 2), (7, 1)):
        move = torch.zeros_like(positions)
        move[index] = STEP
        difference = (energy(positions + move, zero) - energy(positions - move, zero)) / (2 * STEP)
        assert float(difference) == pytest.approx(float(gradients[0][index]), abs=DIFFERENCES)
    for index in ((0, 0), (1, 2)):
        move = torch.zeros_like(zero)
        move[index] = STEP
        difference = (energy(positions, move) - energy(positions, -move)) / (2 * STEP)
        assert float(difference) == pytest.approx(float(gradients[1][index]), abs=10 * DIFFERENCES)
    assert all(float(g.abs().max()) > 0.01 for g in gradients)


@both_ways
def test_the_mesh_is_smooth(in_cell: Way) -> None:
    """Third differences of the energy where atoms cross the mesh, as of the contract."""
    charge, positions, cell = random_cell()
    direction = torch.tensor(np.random.default_rng(5).normal(size=positions.shape))
    worst = 0.0
    for start in np.linspace(0.0, 0.5, 11):
        energies = [
            float(in_cell(charge, positions + (start + k * STEP) * direction, cell, 1.0).sum())
            for k in range(5)
        ]
        worst = max(worst, float(np.abs(np.diff(energies, 3)).max()))
    assert worst < 1e-8


def test_many_atoms_take_the_mesh_and_both_agree() -> None:
    charge, positions, cell = random_cell()
    positions.requires_grad_(True)
    found = []
    for way in (by_waves, by_mesh):
        energy = way(charge, positions, cell, 1.0)
        (gradient,) = torch.autograd.grad(energy.sum(), positions)
        found.append((energy.detach(), gradient))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=1e-6)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=0, atol=5e-6)
    assert float(found[0][1].abs().max()) > 0.1
    torch.testing.assert_close(
        coulomb_in_cell(charge, positions, cell, 1.0), found[0][0], rtol=0, atol=0
    )
    copies = FEW // len(charge) + 1
    ends = cell * torch.tensor([[copies], [1.0], [1.0]], dtype=torch.float64)
    along = torch.arange(copies, dtype=torch.float64)[:, None, None] * cell[0]
    many = (positions.detach()[None] + along).reshape(-1, 3)
    large = coulomb_in_cell(charge.repeat(copies), many, ends, 1.0)
    torch.testing.assert_close(large, found[0][0].repeat(copies), rtol=0, atol=1e-6)
    assert not torch.equal(large[: len(charge)], found[0][0])
