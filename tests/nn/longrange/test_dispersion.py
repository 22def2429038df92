"""Dispersion is that of tad-dftd3, and its gradient that of its energy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.units import Bohr, Hartree

from se3set_ase.nn.longrange.dispersion import A1, A2, S6, S8, Dispersion

SAME = 1e-6  # eV: the rounding of the factorised coefficients
CONTROL = 1e-3  # eV
DAMPING = {"s6": S6, "s8": S8, "a1": A1, "a2": A2}


def energy(atoms: Atoms, positions: torch.Tensor | None = None) -> torch.Tensor:
    elements = sorted(set(atoms.numbers.tolist()))
    species = torch.tensor([elements.index(z) for z in atoms.numbers])
    at = torch.as_tensor(atoms.positions) if positions is None else positions
    pair = torch.triu_indices(len(atoms), len(atoms), 1).T
    distance = (at[pair[:, 0]] - at[pair[:, 1]]).norm(dim=1)
    return Dispersion(elements)(species, pair, distance, torch.ones(len(pair))).sum()


PAIRS = [
    ("H2O", "H2O", 3.0), ("CH4", "CH4", 3.8), ("C6H6", "CH4", 4.0), ("C6H6", "C6H6", 4.5),
    ("NH3", "H2O", 3.2), ("CH3Cl", "H2CO", 4.0), ("SO2", "CH3OH", 4.2), ("C2H4", "N2", 3.9),
    ("SiH4", "PH3", 4.5), ("BF3", "HCN", 4.0), ("CO2", "CH3SH", 8.0),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second", "apart"), PAIRS)
def test_energies_are_those_of_the_library(first: str, second: str, apart: float) -> None:
    tad = pytest.importorskip("tad_dftd3")
    one, other = molecule(first), molecule(second)
    other.positions += (0.0, 0.3, one.positions[:, 2].max() - other.positions[:, 2].min() + apart)

    def library(atoms: Atoms) -> float:
        found = tad.dftd3(
            torch.as_tensor(atoms.numbers),
            torch.as_tensor(atoms.positions / Bohr),
            {k: torch.tensor(v, dtype=torch.float64) for k, v in DAMPING.items()},
            ref=tad.reference.Reference(dtype=torch.float64),
        )
        return float(found.sum()) * Hartree

    parts = one + other, one, other
    expected = [library(atoms) for atoms in parts]
    found = [float(energy(atoms)) for atoms in parts]
    binding, found_binding = (e[0] - e[1] - e[2] for e in (expected, found))
    assert found_binding == pytest.approx(binding, abs=SAME)
    # Within a molecule energies are larger, and so is the rounding.
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert abs(binding) > CONTROL * min(1.0, (4.0 / apart) ** 6)


def test_forces_are_the_gradient() -> None:
    atoms = molecule("CH3SH")
    at = torch.as_tensor(atoms.positions).requires_grad_(True)
    (gradient,) = torch.autograd.grad(energy(atoms, at), at)
    step = 1e-4
    for k in range(at.numel()):
        moved = [atoms.copy(), atoms.copy()]
        moved[0].positions.flat[k] += step
        moved[1].positions.flat[k] -= step
        up, down = (float(energy(m)) for m in moved)
        assert (up - down) / (2 * step) == pytest.approx(float(gradient.flatten()[k]), abs=1e-8)
    assert float(gradient.abs().max()) > CONTROL


def test_elements_without_coefficients_are_refused() -> None:
    with pytest.raises(ValueError, match="up to 54 for dispersion, got 56"):
        Dispersion([1, 56])
