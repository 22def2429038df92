"""Training on differences to a baseline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.morse import MorsePotential
from made_up_data import HYDROGEN, WATER, ChargedMorse, frames, write_run

from se3set_ase import Potential
from se3set_ase.baseline import Baseline
from se3set_ase.checkpoint.store import load_metadata
from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.train import baseline_labels
from se3set_ase.train.baseline_labels import CachedBaseline
from se3set_ase.train.config import ConfigError, load_config
from se3set_ase.train.data import DataError, read_frames
from se3set_ase.train.run import train
from se3set_ase.train.trainer import Trainer

ROUNDING = 1e-6  # eV and eV/Angstrom, of positions in the file
#: Half of the Morse potential that made the labels.
HALF = {
    "calculator": "ase.calculators.morse:MorsePotential",
    "name": "half",
    "options": {"epsilon": 1.0, "r0": 1.2, "rho0": 3.0},
}

#: The same, with a charge.
CHARGED = HALF | {
    "calculator": "made_up_data:ChargedMorse",
    "state_arguments": ["charge", "multiplicity"],
}


def run(folder: Path, **others: object) -> Path:
    molecules = frames(12, [WATER, HYDROGEN])
    return write_run(folder, molecules, training={"epochs": 1}, baseline=HALF, **others)


def test_labels_are_differences(tmp_path: Path) -> None:
    config = load_config(run(tmp_path))
    read = read_frames(config.data.train, HypergraphConfig())
    assert config.baseline_method is not None
    left = CachedBaseline(config.baseline_method, tmp_path / "cache").subtract(read)
    for whole, part in zip(read, left, strict=True):
        # The labels are twice the baseline.
        assert part.energy == pytest.approx(whole.energy / 2.0, abs=ROUNDING)
        np.testing.assert_allclose(part.forces, whole.forces / 2.0, atol=ROUNDING)
    assert max(abs(frame.energy) for frame in read) > 1.0


def test_results_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(run(tmp_path))
    assert config.baseline_method is not None
    read = read_frames(config.data.train, HypergraphConfig())
    monkeypatch.setattr(baseline_labels, "CHUNK", 5)
    first = CachedBaseline(config.baseline_method, tmp_path / "cache").subtract(read[:7])
    assert len(list((tmp_path / "cache").iterdir())) == 2
    calls = []
    original = Baseline.evaluate

    def counted(self: Baseline, *args: object) -> object:
        calls.append(args)
        return original(self, *args)

    monkeypatch.setattr(Baseline, "evaluate", counted)
    again = CachedBaseline(config.baseline_method, tmp_path / "cache").subtract(read)
    assert len(calls) == len(read) - 5  # the first chunk is there, the second has more frames
    assert [f.energy for f in again[:7]] == [f.energy for f in first]


def test_few_failures_are_left_out_and_many_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = load_config(run(tmp_path))
    assert config.baseline_method is not None
    read = read_frames(config.data.train, HypergraphConfig())
    calculate = MorsePotential.calculate

    def failing(self: MorsePotential, atoms: Atoms, *args: object) -> None:
        if np.array_equal(atoms.positions, read[3].positions):
            raise RuntimeError("not converged")
        calculate(self, atoms, *args)

    monkeypatch.setattr(MorsePotential, "calculate", failing)
    with pytest.raises(DataError, match=r"half, the baseline, fails for 1 of 12 frames.*frame 3"):
        CachedBaseline(config.baseline_method, tmp_path / "a").subtract(read)
    monkeypatch.setattr(baseline_labels, "FAILURES", 0.1)
    left = CachedBaseline(config.baseline_method, tmp_path / "b").subtract(read)
    assert len(left) == 11
    assert "1 of 12 frames are left out" in caplog.text


def test_the_model_names_its_baseline(tmp_path: Path) -> None:
    folder = train(load_config(run(tmp_path)), progress=False)
    method = load_metadata(folder).baseline
    assert method is not None
    assert (method.name, method.options) == ("half", HALF["options"])
    assert method.version  # of ase
    with pytest.raises(ValueError, match="expected the calculator of half"):
        Potential(folder)
    potential = Potential(folder, baseline=MorsePotential)
    (prediction,) = potential.predict([WATER])
    assert prediction.baseline is not None
    half = MorsePotential(**HALF["options"]).get_potential_energy(WATER.copy())  # type: ignore[arg-type]
    assert prediction.energy - prediction.correction.energy == pytest.approx(half, abs=ROUNDING)


def test_several_charges_need_a_baseline(tmp_path: Path) -> None:
    path = write_run(tmp_path, frames(4), data={"charge": [0, 1]})
    with pytest.raises(
        ConfigError,
        match="without charges in long_range, got 0, 1",
    ):
        load_config(path)


def test_unknown_baseline(tmp_path: Path) -> None:
    path = write_run(tmp_path, frames(4), baseline="GFN9-xTB")
    with pytest.raises(ConfigError, match=r"expected a baseline among .*got 'GFN9-xTB'"):
        load_config(path)


def test_frames_keep_their_charge(tmp_path: Path) -> None:
    charged = frames(2, [Atoms("OH3", [[0, 0, 0.1], [0.9, 0, 0], [-0.5, 0.8, 0], [-0.5, -0.8, 0]])])
    for atoms in charged:
        atoms.info["charge"] = 1
    config = load_config(write_run(tmp_path, [*frames(2), *charged], baseline=HALF))
    read = read_frames(config.data.train, HypergraphConfig(), charges=(0, 1))
    assert [frame.charge for frame in read] == [0, 0, 1, 1]
    with pytest.raises(DataError, match="frame 2: expected charge 0, as of the model, got 1"):
        read_frames(config.data.train, HypergraphConfig())


def test_isolated_atoms_lose_their_baseline(tmp_path: Path) -> None:
    pytest.importorskip("tblite")
    from tblite.ase import TBLite

    values = {"baseline": "GFN2-xTB", "data": {"charge": 0}}
    config = load_config(write_run(tmp_path, frames(4), **values))
    assert config.baseline_method is not None
    cached = CachedBaseline(config.baseline_method, tmp_path / "cache")
    (left,) = cached.subtract_atoms({8: -2000.0}).values()
    oxygen = TBLite(method="GFN2-xTB", verbosity=0).get_potential_energy(Atoms("O"))
    assert left == pytest.approx(-2000.0 - oxygen, abs=1e-5)


def test_ions_give_the_energy_per_charge(tmp_path: Path) -> None:
    hydronium = Atoms("OH3", [[0, 0, 0.1], [0.9, 0, 0], [-0.5, 0.8, 0], [-0.5, -0.8, 0]])
    molecules = frames(24, [WATER, HYDROGEN, hydronium])
    for atoms in molecules[2::3]:
        atoms.info["charge"] = 1
        atoms.calc.results["energy"] += 4.0
    data = {"charge": [0, 1]}
    config = load_config(write_run(tmp_path, molecules, baseline=CHARGED, data=data))
    trainer = Trainer(config, progress=False)
    assert trainer.baseline is not None
    # The fit also has an energy for each element, and 24 distorted geometries.
    assert trainer.baseline.energy_per_charge == pytest.approx(4.0, abs=2.0)
    assert trainer.baseline.energy_per_charge > 1.0
    folder = train(config, progress=False)
    method = load_metadata(folder).baseline
    assert method is not None
    ion, base = hydronium.copy(), MorsePotential(**HALF["options"])  # type: ignore[arg-type]
    ion.info["charge"] = 1
    (prediction,) = Potential(folder, baseline=ChargedMorse).predict([ion], warn=False)
    assert prediction.baseline is not None
    expected = base.get_potential_energy(hydronium) + method.energy_per_charge
    assert prediction.baseline.energy == pytest.approx(expected, abs=ROUNDING)


def test_charges_need_a_baseline_that_takes_them(tmp_path: Path) -> None:
    path = write_run(tmp_path, frames(4), baseline=HALF, data={"charge": [0, 1]})
    with pytest.raises(ConfigError, match="expected state_arguments of half"):
        load_config(path)


def test_failures_are_computed_again_and_have_their_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(run(tmp_path))
    assert config.baseline_method is not None
    read = read_frames(config.data.train, HypergraphConfig())
    cached = CachedBaseline(config.baseline_method, tmp_path / "cache")

    def missing(*_: object) -> None:
        raise RuntimeError("prog: command not found")

    with monkeypatch.context() as patch:
        patch.setattr(MorsePotential, "calculate", missing)
        with pytest.raises(DataError, match="prog: command not found"):
            cached.subtract(read)
    assert len(cached.subtract(read)) == len(read)
