"""Fine-tuning: a run that begins with the weights of another model."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from made_up_data import HYDROGEN, TINY, WATER, frames, write_run

from se3set_ase.checkpoint.registry import resolve_model
from se3set_ase.checkpoint.store import load_metadata
from se3set_ase.potential import Potential
from se3set_ase.train.config import ConfigError, load_config
from se3set_ase.train.data import DataError
from se3set_ase.train.run import train
from se3set_ase.train.state import StateError
from se3set_ase.train.trainer import Trainer

ROUNDING = 1e-5  # eV/Angstrom, float32
METHANE_LIKE = Atoms("CH2", [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [-0.3, 1.0, 0.0]])


@pytest.fixture(scope="module")
def initial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of H, C and O."""
    folder = tmp_path_factory.mktemp("initial")
    atoms = frames(20, [WATER, HYDROGEN, METHANE_LIKE])
    return train(load_config(write_run(folder, atoms, name="first")), progress=False)


def fine_tuning(folder: Path, initial: Path, atoms: list[Atoms], **others: object) -> Path:
    return write_run(folder, atoms, initial=str(initial), network={}, **others)


def forces(model: Path) -> np.ndarray:
    (found,) = Potential(model, dtype="float32").predict([WATER])
    return found.forces


def test_starts_from_the_initial_weights_of_its_elements(tmp_path: Path, initial: Path) -> None:
    water = frames(12, [WATER], seed=3)
    still = {"epochs": 1, "validate_every": 1, "learning_rate": 1e-12, "final_learning_rate": 0.0}
    path = fine_tuning(tmp_path, initial, water, training=still, seed=5)
    tuned = train(load_config(path), progress=False)
    assert Potential(tuned).metadata.elements == (1, 8)
    assert Potential(initial).metadata.elements == (1, 6, 8)
    np.testing.assert_allclose(forces(tuned), forces(initial), atol=ROUNDING)
    assert load_metadata(tuned).training["initial"] == "first"

    untuned = write_run(tmp_path / "untuned", water, training=still, seed=5)
    other = train(load_config(untuned), progress=False)
    assert np.abs(forces(other) - forces(initial)).max() > 1e3 * ROUNDING
    assert "initial" not in load_metadata(other).training


def test_learns_on(tmp_path: Path, initial: Path) -> None:
    water = frames(12, [WATER], seed=3)
    options = {"epochs": 10, "learning_rate": 2e-3, "ema_decay": 0.9}
    tuned = train(
        load_config(fine_tuning(tmp_path, initial, water, training=options)), progress=False
    )
    truth = frames(1, [WATER], seed=8)[0]

    def error(model: Path) -> float:
        (found,) = Potential(model).predict([Atoms(truth.numbers, truth.positions)])
        return float(np.abs(found.forces - truth.get_forces()).mean())

    assert error(tuned) < 0.8 * error(initial)


def test_refuses_what_does_not_fit(tmp_path: Path, initial: Path) -> None:
    path = fine_tuning(tmp_path / "n", initial, frames(12, [Atoms("NH", HYDROGEN.positions)]))
    with pytest.raises(DataError, match=r"expected elements of the initial model \(H, C, O\)"):
        Trainer(load_config(path), progress=False)
    path = write_run(tmp_path / "both", frames(12), initial=str(initial), network=TINY)
    with pytest.raises(ConfigError, match="those of the initial model"):
        load_config(path)
    charges = {"charges": True}
    path = fine_tuning(tmp_path / "charges", initial, frames(12), long_range=charges)
    with pytest.raises(DataError, match="expected long_range to be that of the initial model"):
        Trainer(load_config(path), progress=False)
    path = fine_tuning(tmp_path / "none", tmp_path / "nothing", frames(12))
    with pytest.raises(FileNotFoundError, match="nothing"):
        Trainer(load_config(path), progress=False)


def test_refuses_charges_that_the_initial_model_cannot_distinguish(
    tmp_path: Path, initial: Path
) -> None:
    charged = fine_tuning(tmp_path / "a", initial, frames(12), data={"charge": [0, 2]})
    with pytest.raises(DataError, match="expected one charge, or a model with charges"):
        Trainer(load_config(charged), progress=False)
    dipoles = fine_tuning(tmp_path / "b", initial, frames(12), training={"dipole_weight": 1.0})
    with pytest.raises(DataError, match="a model with charges for a dipole_weight"):
        Trainer(load_config(dipoles), progress=False)


def test_refuses_to_resume_from_other_weights(tmp_path: Path, initial: Path) -> None:
    path = fine_tuning(tmp_path, initial, frames(12))
    tuned = train(load_config(path), progress=False)
    fine_tuning(tmp_path, tuned, frames(12))
    with pytest.raises(StateError, match="belongs to a run with another configuration"):
        train(load_config(path), progress=False)


def test_takes_a_bundled_name_or_a_path(tmp_path: Path, initial: Path) -> None:
    """A path is relative to the configuration, as those of the data are."""
    path = fine_tuning(tmp_path, Path("organic-gfn2"), frames(12))
    assert load_config(path).initial == resolve_model("organic-gfn2")
    trainer = Trainer(load_config(path), progress=False)
    assert trainer.initial is not None
    assert trainer.initial[1].name == "organic-gfn2"
    shutil.copytree(initial, tmp_path / "mine")
    path = fine_tuning(tmp_path, Path("mine"), frames(12))
    assert load_config(path).initial == tmp_path / "mine"
    path = fine_tuning(tmp_path, Path("organic-gfn3"), frames(12))
    with pytest.raises(
        FileNotFoundError, match=r"no model 'organic-gfn3' in .*Did you mean 'organ"
    ):
        load_config(path)


def test_a_correction_takes_the_features_of_another_model(tmp_path: Path, initial: Path) -> None:
    """It starts as its baseline: the energies of the other model are of no use."""
    method = {"calculator": "made_up_data:ChargedMorse", "name": "Morse"}
    method["options"] = {"epsilon": 1.5, "r0": 1.2, "rho0": 3.0}
    water = frames(12, [WATER], seed=3)
    path = fine_tuning(tmp_path, initial, water, baseline=method)
    training = Trainer(load_config(path), progress=False)
    first = Potential(initial).model.state_dict()
    own = training.model.state_dict()
    for name, value in own.items():
        if name.endswith("readout.2.weight"):
            assert not value.any()
            assert first[name].any()
        elif value.shape == first[name].shape:
            torch.testing.assert_close(value, first[name].to(value))
        else:
            torch.testing.assert_close(value, first[name][[0, 2]].to(value))
    folder = train(load_config(path), progress=False)
    assert load_metadata(folder).baseline is not None
