"""GFN2-xTB labels in bulk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

pytest.importorskip("tblite")

from research.labels.bulk import APART, STEPS, hot_run, write
from se3set_ase.io.extended_xyz import frames_of_file

HYDRONIUM = Atoms(
    "OH3",
    [[0.0, 0.0, 0.1], [0.9, 0.0, 0.0], [-0.5, 0.8, 0.0], [-0.5, -0.8, 0.0]],
    info={"charge": 1, "family": "ions", "part": "train"},
)


def test_labels_are_those_of_gfn2_xtb(tmp_path: Path) -> None:
    from tblite.ase import TBLite

    path = tmp_path / "0001.xyz.gz"
    assert write(path, [HYDRONIUM], seed=0) == 1 + STEPS // APART
    frames = list(frames_of_file(path))
    for frame in frames[::5]:
        assert frame.info["charge"] == 1
        bare = Atoms(frame.numbers, frame.positions)
        bare.calc = TBLite(method="GFN2-xTB", charge=1, verbosity=0)
        # Positions have five decimals in the file.
        assert frame.get_potential_energy() == pytest.approx(bare.get_potential_energy(), abs=2e-4)
        np.testing.assert_allclose(frame.get_forces(), bare.get_forces(), atol=2e-3)
    energies = [frame.get_potential_energy() for frame in frames]
    assert np.ptp(energies) > 0.1


def test_runs_depend_on_seed_and_start_only() -> None:
    again = [list(hot_run(HYDRONIUM, seed)) for seed in (0, 0, 1)]
    last = [frames[-1].positions for frames in again]
    np.testing.assert_array_equal(last[0], last[1])
    assert np.abs(last[0] - last[2]).max() > 0.01
