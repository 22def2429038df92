"""Dipoles are learnt, and their errors are in the log, the card and ``evaluate``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read
from made_up_data import WATER, frames, write_run

from se3set_ase import Potential
from se3set_ase.checkpoint.store import load_checkpoint
from se3set_ase.cli.report import describe_errors
from se3set_ase.evaluate import evaluate
from se3set_ase.train.config import load_config
from se3set_ase.train.log import read_log
from se3set_ase.train.run import train

CHARGES = np.array([-0.6, 0.3, 0.3])  # e
LEARNT = 0.2  # of the error before


def polar(n: int, seed: int = 0) -> list[Atoms]:
    """Water with a dipole of fixed charges; every third frame has none."""
    made = frames(n, [WATER], seed=seed)
    for k, atoms in enumerate(made):
        results = dict(atoms.calc.results)
        if k % 3:
            results["dipole"] = CHARGES @ atoms.positions
        atoms.calc = SinglePointCalculator(atoms, **results)
    return made


def test_dipoles_are_learnt(tmp_path: Path) -> None:
    path = write_run(
        tmp_path,
        polar(20),
        validation=polar(9, seed=1),
        training={"epochs": 30, "learning_rate": 2e-2, "ema_decay": 0.9, "dipole_weight": 300.0},
        data={"tests": {"same": "validation.xyz"}},
        long_range={"charges": True, "hidden": 8, "flows": 4},
    )
    folder = train(load_config(path), progress=False)
    rows = read_log(folder.parent)
    logged = [float(row["validation_dipole_rmse_e_A"]) for row in rows]
    assert min(logged) < LEARNT * logged[0]

    validation = read(tmp_path / "validation.xyz", ":")
    potential = Potential(folder, device="cpu")
    errors = evaluate(potential, validation)
    wrong = [
        p.dipole - atoms.get_dipole_moment()
        for p, atoms in zip(potential.predict(validation), validation, strict=True)
        if "dipole" in atoms.calc.results
    ]
    assert errors["n_dipole_components"] == 18
    assert errors["dipole_mae_e_A"] == pytest.approx(np.abs(wrong).mean(), rel=1e-9)
    assert errors["dipole_rmse_e_A"] == pytest.approx(np.sqrt(np.square(wrong).mean()), rel=1e-9)
    assert f"{errors['dipole_rmse_e_A']:.3f}" in describe_errors(errors)
    _, metadata = load_checkpoint(folder)
    (measured,) = metadata.measured
    best = next(r for r in rows if int(r["epoch"]) == metadata.training["best_epoch"])
    assert measured.dipole_rmse_e_A == pytest.approx(
        float(best["validation_dipole_rmse_e_A"]), rel=1e-3
    )
    assert f"{measured.dipole_mae_e_A:.3f} |" in (folder / "README.md").read_text()


def test_a_model_without_dipoles_has_no_such_errors(tmp_path: Path) -> None:
    path = write_run(tmp_path, polar(12), data={"tests": {"same": "train.xyz"}})
    folder = train(load_config(path), progress=False)
    assert "validation_dipole_rmse_e_A" not in read_log(folder.parent)[0]
    errors = evaluate(Potential(folder, device="cpu"), read(tmp_path / "train.xyz", ":"))
    assert (errors["n_dipole_components"], errors["dipole_mae_e_A"]) == (0, None)
    assert "dipole" not in describe_errors(errors)
    assert "dipole MAE" not in (folder / "README.md").read_text()
