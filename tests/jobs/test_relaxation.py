"""Relaxation of many molecules of a file: minima, interrupted runs, invalid molecules."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.constraints import FixAtoms
from ase.io import read, write
from ase.optimize import LBFGS
from typer.testing import CliRunner, Result

from se3set_ase import SE3SetCalculator
from se3set_ase.checkpoint.registry import resolve_model
from se3set_ase.cli import app
from se3set_ase.cli.options import INTERRUPTED, UNFINISHED
from se3set_ase.jobs.executor import workers
from se3set_ase.jobs.relaxation import Relaxation
from se3set_ase.jobs.resumable import work_on
from se3set_ase.simulate.results import Relaxations

SAME_MINIMUM = 1e-3
"""Largest difference between minima, eV."""
FMAX = 0.05
BAD_INPUT = 2


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def molecules(n: int = 6) -> list[Atoms]:
    """Molecules similar to the training data of `gfn2`."""
    made = []
    for seed in range(n):
        atoms = molecule(("CH3CH2OH", "CH3COCH3", "CH3OCH3")[seed % 3])
        atoms.rattle(0.05, seed=seed)
        made.append(atoms)
    return made


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write("many.xyz", molecules())
    return tmp_path


def relax(*arguments: object) -> Result:
    return run("relax", "many.xyz", "-m", "gfn2", "--fmax", FMAX, *arguments)


def test_minima_are_those_of_ase(here: Path) -> None:
    result = relax()
    assert result.exit_code == 0, result.output
    assert "6 of 6 molecules relaxed with gfn2, 0 of them by an earlier run" in result.stdout
    last = "converged: 6 of 6; 0 doubtful; uncertainty of 6 unknown (no committee)"
    assert result.stdout.splitlines()[-1] == last
    for start, relaxed in zip(read("many.xyz", ":"), read("many-relaxed.xyz", ":"), strict=True):
        assert relaxed.info["converged"]
        assert relaxed.info["model"] == "gfn2"
        start.calc = SE3SetCalculator("gfn2")
        before = start.get_potential_energy()
        LBFGS(start, logfile=None).run(fmax=FMAX)
        assert relaxed.get_potential_energy() == pytest.approx(
            start.get_potential_energy(), abs=SAME_MINIMUM
        )
        assert before - start.get_potential_energy() > 10 * SAME_MINIMUM


def test_an_interrupted_run_resumes(here: Path) -> None:
    assert relax().exit_code == 0
    output = Path("many-relaxed.xyz")
    complete = output.read_text()
    # As after a killed run: two frames, and half of a third.
    lines = complete.splitlines(keepends=True)
    third = 2 + 9 + 2 + 10 + 5
    output.write_text("".join(lines[:third]))
    result = relax()
    assert "6 of 6 molecules relaxed with gfn2, 2 of them by an earlier run" in result.stdout
    again = read(output, ":")
    assert [a.info["relax_index"] for a in again] == list(range(6))
    first = read(StringIO(complete), ":", format="extxyz")
    for one, other in zip(first, again, strict=True):
        assert one.get_potential_energy() == pytest.approx(
            other.get_potential_energy(), abs=SAME_MINIMUM
        )


def test_other_settings_do_not_mix(here: Path) -> None:
    assert relax("--steps", 2).exit_code == UNFINISHED
    assert not read("many-relaxed.xyz", "0").info["converged"]
    before = Path("many-relaxed.xyz").read_text()
    refused = relax("--steps", 2, "--optimizer", "BFGS")
    assert refused.exit_code == BAD_INPUT
    assert "optimizer 'LBFGS' instead of 'BFGS'; give another name" in refused.output
    assert Path("many-relaxed.xyz").read_text() == before
    write("many.xyz", molecules()[::-1])
    assert "that started from another geometry; give another name" in relax("--steps", 2).output
    assert relax("--steps", 2, "--overwrite").exit_code == UNFINISHED


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("converged=", "converted=", "frame 0 that is damaged"),
        ("n_steps=", "n_steps=a", "frame 0 that is damaged"),
        ("energy=-", "energy=a-", "frame 0 expected numbers as energy, got 'a-"),
        ("energy=", "energy=T was=", "frame 0 expected numbers as energy, got "),
        ("\nC  ", "\nC nan ", "frame 0 without finite positions"),
        (":forces:", ":farces:", "frame 0 without energy and forces"),
        ("relax_index=0", "relax_index=0.5", "frame 0.5 that started from another geometry"),
        ("relax_index=0", "relax_index=x", "frame x that started from another geometry"),
        ("\nC ", "\n2 ", "it cannot be read: KeyError: '2'; give another name"),
        ("9\n", "x9\n", "it cannot be read: expected a frame of extended XYZ"),
        ("9\n", "999\n", "it cannot be read: expected a frame of extended XYZ"),
        (":S:1:", ":S:999999991:", "columns, got 9999999"),
    ],
)
def test_damaged_results_are_refused_and_kept(here: Path, old: str, new: str, message: str) -> None:
    assert relax("--steps", 2).exit_code == UNFINISHED
    output = Path("many-relaxed.xyz")
    assert old in output.read_text()
    damaged = output.read_text().replace(old, new, 1)
    output.write_text(damaged)
    result = relax("--steps", 2)
    assert result.exit_code == BAD_INPUT, result.output
    assert message in result.output
    assert output.read_text() == damaged


@pytest.mark.parametrize("end", ["\u00e4".encode()[:1], b"\n", b"\x00\x00", b"2"])
def test_incomplete_ends_are_removed(here: Path, end: bytes) -> None:
    assert relax().exit_code == 0
    output = Path("many-relaxed.xyz")
    whole = output.read_bytes()
    output.write_bytes(whole + end)
    assert "6 of 6 molecules relaxed with gfn2, 6 of them by an earlier run" in relax().stdout
    assert output.read_bytes() == whole


def test_empty_strings_that_shift_columns_are_left_out(here: Path) -> None:
    write("many.pdb", molecules(2))
    named = Path("many.pdb").read_text()
    Path("many.pdb").write_text(named.replace(" MOL ", "     "))
    assert set(read("many.pdb").arrays["residuenames"]) == {""}
    with pytest.warns(
        UserWarning, match="cannot store these entries, which were left out: residuenames$"
    ):
        result = run("relax", "many.pdb", "-m", "gfn2", "--output", "out.xyz")
    assert result.exit_code == 0, result.output
    first, second = read("out.xyz", ":")
    assert "atomtypes" in first.arrays
    assert "residuenames" not in first.arrays
    assert first.info["converged"]
    assert second.info["converged"]


def test_more_steps_restart_molecules_that_did_not_converge(here: Path) -> None:
    few, many = 14, 200
    relax("--steps", few)
    first = read("many-relaxed.xyz", ":")
    n_converged = sum(bool(a.info["converged"]) for a in first)
    assert 0 < n_converged < 6
    result = relax("--steps", many)
    assert result.exit_code == 0, result.output
    assert (
        f"6 of 6 molecules relaxed with gfn2, {n_converged} of them by an earlier run"
        in result.stdout
    )
    second = read("many-relaxed.xyz", ":")
    for one, other in zip(first, second, strict=True):
        assert (one.info["n_steps"] == other.info["n_steps"]) == one.info["converged"]
    assert "6 of them by an earlier run" in relax("--steps", few).stdout


def test_invalid_molecules_are_reported_and_do_not_affect_others(here: Path) -> None:
    made = molecules()
    made[1] = molecule("SO2")
    made[3].info["charge"] = 1
    made[4].positions[1] = made[4].positions[0]
    made[5].info["spin_multiplicity"] = 3
    write("many.xyz", made)
    result = relax()
    assert result.exit_code == UNFINISHED, result.output
    assert "2 of 6 molecules relaxed" in result.stdout
    assert "molecule 1 failed: expected the elements H, C, N, O" in result.stdout
    assert "molecule 3 failed: expected charge 0" in result.stdout
    assert "molecule 4 failed: expected atoms apart" in result.stdout
    assert "molecule 5 failed: expected spin_multiplicity 1" in result.stdout
    failures = json.loads(Path("many-relaxed.xyz.json").read_text())["failures"]
    assert list(failures) == ["1", "3", "4", "5"]


def test_cells_are_relaxed_on_request(here: Path) -> None:
    made = molecules(3)
    made[1].set_cell(np.eye(3) * 6)
    made[1].pbc = True
    write("many.xyz", made)
    result = relax()
    assert result.exit_code == BAD_INPUT, result.output
    assert "--periodic computes the cell, --isolated takes its atoms" in result.stderr
    result = relax("--periodic", "--fmax", "0.2")
    assert "3 of 3 molecules relaxed" in result.stdout
    _, boxed, _ = read("many-relaxed.xyz", ":")
    np.testing.assert_allclose(boxed.cell.array, np.eye(3) * 6)
    assert boxed.pbc.all()
    assert np.abs(boxed.get_stress()).max() > 1e-6


def test_constraints_hold(here: Path) -> None:
    made = molecules(3)
    made[0].set_constraint(FixAtoms([0, 1]))
    write("many.xyz", made)
    start = read("many.xyz", "0")
    assert relax().exit_code == 0
    moved = np.abs(read("many-relaxed.xyz", "0").positions - start.positions).max(axis=1)
    assert moved[:2] == pytest.approx([0.0, 0.0], abs=1e-7)
    assert moved[2:].min() > 1e-4


def test_options_of_one_molecule_are_refused_for_many(here: Path) -> None:
    refused = relax("--trajectory", "a.traj")
    assert refused.exit_code == BAD_INPUT
    assert "use --last to relax only the last one" in refused.output
    assert relax("--last", "--steps", 2).exit_code == UNFINISHED
    assert isinstance(read("many-relaxed.xyz", ":"), list)
    assert len(read("many-relaxed.xyz", ":")) == 1


def test_overwriting_needs_a_run_that_can_start(here: Path) -> None:
    assert relax("--steps", 1).exit_code == UNFINISHED
    before = Path("many-relaxed.xyz").read_text()
    assert run("relax", "many.xyz", "-m", "nonsense", "--overwrite").exit_code == BAD_INPUT
    assert relax("--optimizer", "Newton", "--overwrite").exit_code == BAD_INPUT
    assert Path("many-relaxed.xyz").read_text() == before
    Path("old.traj").write_text("precious")
    assert relax("--output", "old.traj", "--overwrite").exit_code == BAD_INPUT
    assert Path("old.traj").read_text() == "precious"
    refused = relax("--output", "many.xyz", "--overwrite")
    assert refused.exit_code == BAD_INPUT
    assert "different names for output and input" in refused.output
    assert len(read("many.xyz", ":")) == 6


def test_changed_constraints_or_charges_are_refused(here: Path) -> None:
    assert relax("--steps", 1).exit_code == UNFINISHED
    for change in (
        lambda atoms: atoms.set_constraint(FixAtoms([0])),
        lambda atoms: atoms.info.update(charge=1),
    ):
        made = molecules()
        change(made[2])
        write("many.xyz", made)
        refused = relax("--steps", 1)
        assert refused.exit_code == BAD_INPUT
        assert "frame 2 that started from another geometry" in refused.output


def test_ctrl_c_keeps_finished_batches(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("many.xyz", molecules(9))
    relaxed, calls = Relaxation._relaxed, []

    def interrupted(self: Relaxation, some: Sequence[Atoms]) -> Relaxations:
        calls.append(len(some))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return relaxed(self, some)

    with monkeypatch.context() as patch:
        patch.setattr(Relaxation, "_relaxed", interrupted)
        result = relax("--steps", 1)
    assert result.exit_code == INTERRUPTED
    assert "run the same command to resume" in result.output
    assert calls == [3, 3, 3]
    assert len(read("many-relaxed.xyz", ":")) == 6
    assert (
        "9 of 9 molecules relaxed with gfn2, 6 of them by an earlier run"
        in relax("--steps", 1).stdout
    )


def test_an_error_of_a_batch_affects_one_molecule_only(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example too little memory for the whole batch."""
    relaxed = Relaxation._relaxed

    def short(self: Relaxation, some: Sequence[Atoms]) -> Relaxations:
        if any(len(atoms) == 10 for atoms in some):
            raise MemoryError("no more")
        return relaxed(self, some)

    monkeypatch.setattr(Relaxation, "_relaxed", short)
    result = relax("--steps", 1)
    assert "4 of 6 molecules relaxed" in result.stdout
    assert "molecule 1 failed: MemoryError: no more" in result.stdout


def test_a_run_resumes_with_a_moved_model(here: Path) -> None:
    assert relax("--steps", 1).exit_code == UNFINISHED
    shutil.copytree(resolve_model("gfn2"), "elsewhere")
    again = run("relax", "many.xyz", "-m", "elsewhere", "--fmax", FMAX, "--steps", 1)
    assert "6 of 6 molecules relaxed with elsewhere, 6 of them by an earlier run" in again.stdout


def test_an_unknown_model_is_reported_before_anything_is_written(here: Path) -> None:
    refused = run("relax", "many.xyz", "-m", "nonsense")
    assert refused.exit_code == BAD_INPUT
    assert "no model 'nonsense'" in refused.output
    assert not Path("many-relaxed.xyz").exists()
    assert "Newton" in relax("--optimizer", "Newton").output


@dataclass(frozen=True, kw_only=True)
class KillsOnce(Relaxation):
    """The first task kills its process."""

    mark: str

    def __call__(self, molecules: Sequence[Atoms]) -> list[Atoms | str]:
        if not Path(self.mark).exists():
            Path(self.mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(molecules)


def test_a_killed_process_loses_nothing(tmp_path: Path) -> None:
    """On a local cluster."""
    made, mark = molecules(), tmp_path / "killed"
    work = KillsOnce(model="gfn2", fmax=FMAX, mark=str(mark))
    with workers(2) as executor:
        done = work_on(made, work, tmp_path / "out.xyz", executor=executor, per_task=2)
    assert mark.exists()
    assert (done.n_done, done.failures) == (6, {})
    for atoms, relaxed in zip(made, read(tmp_path / "out.xyz", ":"), strict=True):
        (alone,) = Relaxation(model="gfn2", fmax=FMAX)([atoms])
        assert isinstance(alone, Atoms)
        assert relaxed.get_potential_energy() == pytest.approx(
            alone.get_potential_energy(), abs=SAME_MINIMUM
        )
