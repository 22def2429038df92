"""Molecular dynamics: energy is conserved, nothing grows, nothing remembers the path."""

from __future__ import annotations

import gc
import warnings
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read

from se3set_ase import SE3SetCalculator
from se3set_ase.simulate.dynamics import md
from se3set_ase.simulate.relaxation import relax
from se3set_ase.simulate.results import DynamicsResult

EXAMPLES = Path(__file__).parents[2] / "examples"

DRIFT = 0.001  # meV/atom/ps, over 20 ps
SPREAD = 0.5  # meV/atom, standard deviation of the total energy, 0.5 fs
SAME = 1e-10  # eV, eV/Angstrom
GROWTH = 5.0  # MB


def acetylacetone(**options) -> Atoms:
    atoms = read(EXAMPLES / "acetylacetone.xyz")
    assert isinstance(atoms, Atoms)
    atoms.calc = SE3SetCalculator("acac")
    relax(atoms, fmax=0.05)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about hard membership
        atoms.calc = SE3SetCalculator("acac", **options)
    return atoms


def nve(atoms: Atoms, steps: int) -> DynamicsResult:
    # Half of the kinetic energy of a relaxed molecule goes into the potential: 300 K remain.
    return md(
        atoms, ensemble="nve", temperature_K=600, timestep=0.5, steps=steps, interval=1, seed=3
    )


def spread(result: DynamicsResult) -> float:
    return 1000 * float(result.total.std()) / result.n_atoms


def test_energy_is_conserved_through_refragmentation():
    smooth = nve(acetylacetone(), 600)
    assert len(smooth.events) > 10
    assert spread(smooth) < SPREAD
    hard = nve(acetylacetone(refragment="hard"), 600)
    assert spread(hard) > 5 * spread(smooth)


def test_no_memory_of_the_path():
    atoms = acetylacetone()
    md(atoms, temperature_K=800, timestep=0.5, steps=300, seed=4)
    assert len(atoms.calc.events) > 10
    fresh = atoms.copy()
    fresh.calc = SE3SetCalculator("acac")
    assert fresh.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=SAME)
    np.testing.assert_allclose(fresh.get_forces(), atoms.get_forces(), atol=SAME)


@pytest.mark.slow
def test_drift_over_20_ps():
    result = nve(acetylacetone(), 40_000)
    assert len(result.events) > 1
    assert abs(result.drift()) < DRIFT
    hard = nve(acetylacetone(refragment="hard"), 4_000)
    assert abs(hard.drift()) > DRIFT


@pytest.mark.slow
def test_ten_thousand_steps():
    atoms = acetylacetone()
    md(atoms, temperature_K=300, timestep=0.5, steps=1000, seed=5, interval=100)
    before = resident()
    md(atoms, temperature_K=300, timestep=0.5, steps=10_000, seed=6, interval=100)
    assert resident() - before < GROWTH
    fresh = atoms.copy()
    fresh.calc = SE3SetCalculator("acac")
    assert fresh.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=SAME)


def resident() -> float:
    """Memory of this process, MB."""
    gc.collect()
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("needs /proc")
    return int(statm.read_text().split()[1]) * 4096 / 1e6
