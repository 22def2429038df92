"""The bundled model `acac` against reference energies and forces that are not in its data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase.io import read

from se3set_ase import SE3SetCalculator
from se3set_ase.evaluate import evaluate
from se3set_ase.potential import Potential

DATA = Path(__file__).parent / "data"

# The card and the README have the figures on all frames.
ENERGY_RMSE = 1.0  # meV, on 20 frames
FORCES_RMSE = 6.0  # meV/Angstrom
ALONG_PATH = 20.0  # meV, at every point


def test_errors_at_300_K():
    frames = read(DATA / "acac_md_300K.xyz", index=":")
    errors = evaluate(Potential("acac"), frames)
    assert errors["n_frames"] == len(frames) == 20
    assert errors["energy_rmse_meV"] < ENERGY_RMSE
    assert errors["forces_rmse_meV_A"] < FORCES_RMSE
    # Control: the spread that a constant would leave.
    energies = np.array([f.get_potential_energy() for f in frames])
    assert 1000 * energies.std() > 10 * ENERGY_RMSE


def test_barrier_of_the_proton_transfer():
    path = read(DATA / "acac_proton_transfer.xyz", index=":")
    reference = np.array([atoms.get_potential_energy() for atoms in path])
    calculator = SE3SetCalculator("acac")
    energies = []
    for atoms in path:
        atoms.calc = calculator
        energies.append(atoms.get_potential_energy())
    found, true = (1000 * (e - e.min()) for e in (np.array(energies), reference))
    assert np.abs(found - true).max() < ALONG_PATH
    assert true.max() > 10  # there is a barrier to be missed, if a low one

    # The proton hangs on one oxygen at first and on the other at last; the log says so.
    kinds = {kind: set() for kind in ("bond formed", "bond broken")}
    for event in calculator.events:
        if event.kind in kinds:
            kinds[event.kind].add(event.atoms)
    first, last = path[0], path[-1]
    oxygens = [a.index for a in first if a.symbol == "O"]
    hydrogens = [a.index for a in first if a.symbol == "H"]

    def oh_bonds(atoms):
        distances = atoms.get_all_distances()
        return {tuple(sorted((o, h))) for o in oxygens for h in hydrogens if distances[o, h] < 1.2}

    assert kinds["bond formed"] == oh_bonds(last) - oh_bonds(first) != set()
    assert kinds["bond broken"] == oh_bonds(first) - oh_bonds(last) != set()
