"""Reports say what happened, in the unit that they name."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from untrained import METADATA

from se3set_ase.checkpoint.metadata import ModelMetadata, WeightsFile
from se3set_ase.checkpoint.registry import ModelInfo
from se3set_ase.cli.report import describe_errors, describe_fragments, describe_models
from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.simulate.report import (
    describe_dynamics,
    describe_events,
    describe_relaxation,
    table,
)
from se3set_ase.simulate.results import DynamicsResult, RelaxResult

PNG = b"\x89PNG\r\n\x1a\n"


@dataclasses.dataclass(frozen=True)
class Event:
    step: int
    kind: str
    atoms: tuple[int, ...] = (3, 11)
    symbols: tuple[str, ...] = ("O", "H")
    weight: float = 0.5
    energy: float = -1.0


def run(n: int = 101, **changes: object) -> DynamicsResult:
    """A picosecond in which 10 atoms lose 2 meV per atom."""
    time = np.linspace(0.0, 1.0, n)
    total = -5.0 - 0.020 * time
    values: dict[str, object] = {
        "ensemble": "nve",
        "time": time,
        "temperature": np.full(n, 300.0),
        "potential": total - 1.0,
        "kinetic": np.ones(n),
        "total": total,
        "n_hyperedges": np.where(time < 0.5, 40.0, 42.0),
        "n_atoms": 10,
        "n_steps": 2000,
        "interrupted": False,
        "events": (Event(1, "bond broken"), Event(2, "reach gained"), Event(3, "bond formed")),
        "event_times": (0.1, 0.2, 0.3),
        "n_events": 3,
        "energy_uncertainty": np.full(n, np.nan),
        "forces_uncertainty": np.full(n, np.nan),
        "level": "",
        "doubts": (),
    }
    return DynamicsResult(**{**values, **changes})  # type: ignore[arg-type]


def test_table_with_no_rows() -> None:
    assert table(["a", "bc"], []) == "a  bc\n-  --"


def test_models_with_and_without_errors() -> None:
    assert describe_models([]) == "no bundled models"
    weights = WeightsFile(file="w", sha256="", n_bytes=1, dtype="float32", n_parameters=123456)
    whole = dataclasses.replace(METADATA, symbols=("H", "C"), weights=weights)
    bare = ModelMetadata(name="bare", level_of_theory="PBE", symbols=("H",))
    infos = [ModelInfo(name=m.name, folder=Path(), metadata=m) for m in (whole, bare)]
    text = describe_models(infos)
    assert "123,456" in text
    assert "1.5 meV (test.xyz)" in text
    assert "not measured" in text


def test_errors() -> None:
    errors = {
        "n_frames": 7,
        "energy_mae_meV": 1.0,
        "energy_rmse_meV": 2.0,
        "energy_mae_meV_per_atom": 0.125,
        "forces_mae_meV_A": None,
        "forces_rmse_meV_A": None,
        "n_dipole_components": 0,
        "complete": True,
        "levels": [],
        "notes": [],
        "energy_uncertainty_rms_meV": 1.5,
        "forces_uncertainty_rms_meV_A": None,
        "n_doubtful": 12,
        "doubts": {k: ["a reason", "another"] for k in range(12)},
    }
    text = describe_errors(errors)
    assert text.splitlines()[0] == "7 frames"
    assert "energy           1.000  2.000          1.500  meV" in text
    assert "forces               -      -              -  meV/A" in text
    assert "frame 9 doubtful: a reason\nframe 9 doubtful: another\n... and 2 more" in text
    assert text.splitlines()[-1] == "12 of 7 frames doubtful"
    text_of_labels = describe_errors({**errors, "levels": ["PBE"], "notes": ["mind the gap"]})
    assert text_of_labels.splitlines()[0] == "7 frames, labels of PBE"
    assert "note: mind the gap" in text_of_labels.splitlines()[:-1]
    assert "interrupted" in describe_errors({**errors, "complete": False})


@pytest.mark.parametrize(
    ("converged", "interrupted", "text"),
    [
        (True, False, "converged after"),
        (False, False, "NOT converged after"),
        (False, True, "interrupted after"),
    ],
)
def test_relaxation(converged: bool, interrupted: bool, text: str) -> None:
    result = RelaxResult(
        atoms=molecule("H2O"),
        converged=converged,
        interrupted=interrupted,
        n_steps=12,
        energy=np.array([-1.0, -1.25]),
        fmax=np.array([2.0, 0.01]),
        events=(Event(4, "bond broken"),),  # type: ignore[arg-type]
    )
    text_of_result = describe_relaxation(result)
    assert text_of_result.startswith(f"{text} 12 steps")
    assert "-1.000000 -> -1.250000 eV (-250.00 meV)" in text_of_result
    assert "step 4" in describe_events(result)
    assert describe_events(run()) + "\nearlier events: 6" == describe_events(run(n_events=9))
    empty = dataclasses.replace(result, energy=np.array([]))
    assert describe_relaxation(empty) == "ended before the first step"


def test_dynamics() -> None:
    text = describe_dynamics(run())
    assert "2000 steps, 1 ps" in text
    assert "300.0 K mean" in text
    assert "-2.0000 meV/atom/ps drift" in text
    assert "40 to 42" in text
    assert "drift" not in describe_dynamics(run(ensemble="langevin"))
    assert "hyperedges" not in describe_dynamics(run(n_hyperedges=np.full(101, np.nan)))
    assert "(interrupted)" in describe_dynamics(run(interrupted=True))
    assert describe_dynamics(run(0)) == "ended before the first step"


def test_events() -> None:
    """Bonds only; others on request."""
    text = describe_events(run())
    assert text.splitlines()[0] == "refragmentation: 1 bond broken, 1 bond formed"
    assert "100.0 fs  bond broken  O3-H11" in text
    assert text.endswith("not shown: 1 change of reach (kinds: all)")
    text = describe_events(run(), kinds="all")
    assert text.splitlines()[0] == "refragmentation: 1 bond broken, 1 bond formed, 1 reach gained"
    assert "200.0 fs  reach gained  O3 H11" in text
    assert "not shown" not in text
    assert describe_events(run(events=(), event_times=(), n_events=0)) == "refragmentation: none"


def test_bonds_come_first_among_many_events() -> None:
    events = (*(Event(k, "reach lost") for k in range(30)), Event(30, "bond broken"))
    times = tuple(0.001 * k for k in range(31))
    text = describe_events(run(events=events, event_times=times), kinds="all", most=5)
    assert "bond broken" in text.splitlines()[-2]
    assert text.endswith("... and 26 more")
    text = describe_events(run(events=events, event_times=times), most=5)
    assert len(text.splitlines()) == 5
    only_reach = run(events=events[:-1], event_times=times[:-1])
    assert describe_events(only_reach) == (
        "refragmentation: no bond changed\nnot shown: 30 changes of reach (kinds: all)"
    )


def test_fragments_of_ethanol() -> None:
    atoms = molecule("CH3CH2OH")
    text = describe_fragments(atoms.numbers, atoms.positions, HypergraphConfig())
    assert text.startswith("C2H6O: 9 atoms, 3 fragments, ")
    for formula in ("CH3", "CH2", "HO"):
        assert formula in text
    assert "between bonded" not in text


def test_fragments_while_a_bond_is_partially_broken() -> None:
    atoms = molecule("CH3CH2OH")
    atoms.set_distance(2, 3, 1.35, fix=0)  # O-H
    text = describe_fragments(atoms.numbers, atoms.positions, HypergraphConfig())
    assert "between bonded (1) and not bonded (0):" in text
    (line,) = (line for line in text.splitlines() if line.startswith("O2-H3"))
    bond = float(line.split()[-1])
    assert 0 < bond < 1
    weights = [float(line.split()[1]) for line in text.split("\n\n")[1].splitlines()[2:]]
    partial = sorted(weight for weight in weights if weight < 1)
    # O-H together with weight b; O and H apart with weight 1 - b each.
    assert partial == pytest.approx(sorted([bond, 1 - bond, 1 - bond]), abs=2e-4)


def test_fragments_of_nothing() -> None:
    with pytest.raises(ValueError, match=r"expected at least one atom, got none"):
        describe_fragments(np.zeros(0, int), np.zeros((0, 3)), HypergraphConfig())


def test_picture(tmp_path: Path) -> None:
    for ensemble in ("langevin", "nve"):
        run(ensemble=ensemble).plot(tmp_path / "md.png", title="a run")
        assert (tmp_path / "md.png").read_bytes().startswith(PNG)
    one = run(
        1,
        n_hyperedges=np.array([np.nan]),
        events=(Event(0, "reach lost"),),
        event_times=(0.0,),
    )
    one.plot(tmp_path / "md.svg")
    assert "this calculator has no hypergraph" in (tmp_path / "md.svg").read_text()
    with pytest.raises(ValueError, match=r"expected a run with at least one record, got none"):
        run(0).plot(tmp_path / "md.png")


def test_files_for_programs(tmp_path: Path) -> None:
    run(3, energy_uncertainty=np.array([0.25, np.nan, 0.5])).to_csv(tmp_path / "md.csv")
    lines = (tmp_path / "md.csv").read_text().splitlines()
    assert lines[0] == (
        "time_ps,temperature_K,potential_eV,kinetic_eV,total_eV,hyperedges,"
        "energy_uncertainty_eV,forces_uncertainty_eV_A,doubts"
    )
    assert lines[1] == "0,300,-6,1,-5,40,0.25,,"
    assert lines[2].endswith(",42,,,")
    assert len(lines) == 4
    run(3, n_hyperedges=np.full(3, np.nan)).to_csv(tmp_path / "md.csv")
    assert (tmp_path / "md.csv").read_text().splitlines()[1].endswith(",-5,,,,")
