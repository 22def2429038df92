"""Energies and forces on a CUDA device are those on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.io import read

from se3set_ase import SE3SetCalculator
from se3set_ase.simulate.dynamics import md

EXAMPLES = Path(__file__).parents[1] / "examples"

#: Energy in eV, forces in eV/Angstrom.
TOLERANCE = {"float64": (1e-8, 1e-8), "float32": (1e-3, 1e-3)}


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_cuda_equals_cpu(dtype: str) -> None:
    energies, forces = [], []
    for device in ("cpu", "cuda"):
        atoms = read(EXAMPLES / "acetylacetone.xyz")
        atoms.calc = SE3SetCalculator("acac", device=device, dtype=dtype)
        energies.append(atoms.get_potential_energy())
        forces.append(atoms.get_forces())
    energy, force = TOLERANCE[dtype]
    assert energies[1] == pytest.approx(energies[0], abs=energy)
    np.testing.assert_allclose(forces[1], forces[0], atol=force)
    assert np.abs(forces[0]).max() > 100 * force


@pytest.mark.gpu
def test_auto_takes_cuda_and_runs_dynamics() -> None:
    atoms = read(EXAMPLES / "acetylacetone.xyz")
    atoms.calc = SE3SetCalculator("acac", dtype="float32")
    assert atoms.calc.potential.model.device.type == "cuda"
    result = md(atoms, steps=50, ensemble="nve", temperature_K=300)
    assert np.ptp(result.total) < 0.05  # eV
