"""Expected errors of each kind of system have scales of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from test_longrange import made
from untrained import METADATA

from se3set_ase import Potential
from se3set_ase.checkpoint.store import save_checkpoint
from se3set_ase.uncertainty.calibration import Scale, kind_of, read_calibration, write_calibration

SCALES = {
    "contact": Scale(energy_factor=3.0, forces_factor=5.0, familiar_forces=1e3),
    "ion": Scale(energy_factor=7.0, forces_factor=11.0, familiar_forces=1e3),
    "reaction": Scale(energy_factor=13.0, forces_factor=17.0, familiar_forces=1e-9),
}


def systems() -> dict[str, Atoms]:
    two = molecule("H2O") + molecule("H2O")
    two.positions[3:] += [0.0, 0.0, 3.2]
    ion = molecule("NH3") + Atoms("H", [[0.0, 0.0, 1.15]])
    ion.info["charge"] = 1
    broken = molecule("CH4")
    broken.set_distance(0, 1, 1.46, fix=0)
    return {"molecule": molecule("CH3OH"), "contact": two, "ion": ion, "reaction": broken}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    values = {**vars(METADATA), "charges": (0, 1)}
    for name, seed in ((".", 11), ("member-1", 12)):
        save_checkpoint(tmp_path / name, made(seed=seed), type(METADATA)(**values))
    return tmp_path


def calibrated(folder: Path, **values: object) -> Potential:
    write_calibration(folder, ["member-1"], familiar_forces=1e3, **values)
    return Potential(folder, device="cpu")


@pytest.mark.parametrize("kind", ["molecule", *SCALES])
def test_each_kind_has_its_scale(folder: Path, kind: str) -> None:
    atoms = systems()[kind]
    plain = calibrated(folder)
    (prediction,) = plain.predict([atoms], warn=False)
    assert kind_of(prediction.hypergraph, prediction.charge) == kind
    assert plain.committee is not None
    ((energy, forces),) = plain.committee.uncertainties([prediction])
    assert energy > 1e-3
    committee = calibrated(folder, kinds=SCALES).committee
    assert committee is not None
    ((own, own_forces),) = committee.uncertainties([prediction])
    scale = SCALES.get(kind, Scale(familiar_forces=1.0))
    assert own == pytest.approx(scale.energy_factor * energy, rel=1e-9)
    np.testing.assert_allclose(own_forces, scale.forces_factor * forces, rtol=1e-9)
    said = [r for r in committee.reasons(prediction, (own, own_forces)) if "may be wrong" in r]
    assert bool(said) == (kind == "reaction")  # whose familiar errors are tiny


def test_scales_are_kept_in_the_file(folder: Path) -> None:
    calibrated(folder, kinds=SCALES)
    assert read_calibration(folder / "committee.json").kinds == SCALES
