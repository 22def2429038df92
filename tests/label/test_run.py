"""Labelling of files: interrupted runs resume, and failures do not affect other frames."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ThreadPoolExecutor,
)
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.morse import MorsePotential
from ase.io import read, write

from se3set_ase.jobs.executor import workers
from se3set_ase.jobs.resumable import MAX_PENDING, SerialExecutor, reason
from se3set_ase.label.any_calculator import AnyCalculator
from se3set_ase.label.labellers import make_labeller
from se3set_ase.label.protocol import Label, LabelError
from se3set_ase.label.run import label
from se3set_ase.system import UnsupportedSystem

MORSE = make_labeller("ase.calculators.morse:MorsePotential", options={"r0": 1.0})
#: Rounding error of files, which have eight decimals.
WRITTEN = 2e-8


@dataclass(frozen=True)
class Springs:
    """Atoms bound to the origin by springs. On request it fails, or kills its process."""

    fails_above: float = np.inf
    kills_once: str = ""
    kills_always: bool = False
    wrong_shape: bool = False
    constant: float = 1.0

    @property
    def level_of_theory(self) -> str:
        return "springs"

    def settings(self) -> dict[str, Any]:
        return {"constant": self.constant}

    def __call__(self, atoms: Atoms) -> Label:
        if self.kills_always or (self.kills_once and not Path(self.kills_once).exists()):
            if self.kills_once:
                Path(self.kills_once).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if atoms.positions.max() > self.fails_above:
            raise ArithmeticError("too far away")
        forces = -self.constant * atoms.positions
        energy = 0.5 * self.constant * float((atoms.positions**2).sum())
        return Label(energy=energy, forces=forces[self.wrong_shape :])


def frames(n: int = 12) -> list[Atoms]:
    made = []
    for seed in range(n):
        atoms = molecule(("H2O", "CH4", "CH3OH")[seed % 3])
        atoms.rattle(0.05, seed=seed)
        atoms.info["made_by"] = f"seed {seed}"
        made.append(atoms)
    return made


def run(
    made: list[Atoms],
    output: Path,
    labeller: Any = MORSE,
    executor: Executor | None = None,
    **more: Any,
) -> Any:
    if executor is not None:
        return label(made, labeller, output, executor=executor, **more)
    with ThreadPoolExecutor(2) as pool:
        return label(made, labeller, output, executor=pool, **more)


def test_labels_are_those_of_the_calculator(tmp_path: Path) -> None:
    made, output = frames(), tmp_path / "out.xyz"
    done = run(made, output)
    assert (done.n_done, done.n_kept, done.failures) == (12, 0, {})
    for index, (atoms, labelled) in enumerate(zip(made, read(output, ":"), strict=True)):
        expected = atoms.copy()
        expected.calc = MorsePotential(r0=1.0)
        assert labelled.get_potential_energy() == pytest.approx(
            expected.get_potential_energy(), abs=WRITTEN
        )
        np.testing.assert_allclose(labelled.get_forces(), expected.get_forces(), atol=WRITTEN)
        assert labelled.info["made_by"] == f"seed {index}"
        assert labelled.info["level_of_theory"] == "ase.calculators.morse:MorsePotential"
        assert atoms.calc is None  # inputs are not changed
    record = json.loads((tmp_path / "out.xyz.json").read_text())
    assert record["settings"]["arguments"] == {"r0": 1.0}
    assert record["settings"]["program"].startswith("ase 3")


@pytest.mark.parametrize("frames_per_task", [1, 5])
def test_an_interrupted_run_resumes(tmp_path: Path, frames_per_task: int) -> None:
    made, output, whole = frames(), tmp_path / "out.xyz", tmp_path / "whole.xyz"
    run(made, whole)
    text = whole.read_text()
    # The output of a killed run: out of order, and the last frame incomplete.
    parts = [_frame_text(read(whole, index)) for index in (7, 2)]
    output.write_text("".join(parts) + _frame_text(read(whole, 5))[:-40])
    shutil.copy(tmp_path / "whole.xyz.json", tmp_path / "out.xyz.json")
    counted: list[int] = []
    done = run(made, output, frames_per_task=frames_per_task, progress=lambda n: counted.append(n))
    assert (done.n_done, done.n_kept) == (12, 2)
    assert counted[0] == 2
    assert sum(counted) == 12
    assert output.read_text() == text


def _frame_text(atoms: Atoms) -> str:
    text = StringIO()
    write(text, atoms, format="extxyz")
    return text.getvalue()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("expected atoms"), "expected atoms"),
        (UnsupportedSystem("expected charge 0"), "expected charge 0"),
        (LabelError("no convergence"), "no convergence"),
        (ValueError(), "ValueError: "),
        (KeyError("Xq"), "KeyError: 'Xq'"),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"), "UnicodeDecodeError: 'utf-8' codec"),
    ],
)
def test_reasons_name_only_foreign_classes(error: Exception, text: str) -> None:
    assert reason(error).startswith(text)


def test_failures_are_reported_and_not_tried_again(tmp_path: Path) -> None:
    made, output = frames(), tmp_path / "out.xyz"
    made[4].positions += 50.0
    done = run(made, output, Springs(fails_above=40.0), frames_per_task=3)
    assert done.n_done == 11
    assert done.failures == {4: "ArithmeticError: too far away"}
    # It would succeed now, but is left out until its failure is deleted from the record.
    again = run(made, output, Springs())
    assert (again.n_done, again.n_kept) == (11, 11)
    record = tmp_path / "out.xyz.json"
    content = json.loads(record.read_text())
    assert content["failures"].pop("4")["reason"] == "ArithmeticError: too far away"
    record.write_text(json.dumps(content))
    assert run(made, output, Springs()).n_done == 12


def test_a_corrected_molecule_is_tried_again(tmp_path: Path) -> None:
    made, output = frames(), tmp_path / "out.xyz"
    made[4].positions += 50.0
    assert run(made, output, Springs(fails_above=40.0)).failures
    made[4].positions -= 50.0
    done = run(made, output, Springs(fails_above=40.0))
    assert (done.n_done, done.n_kept, done.failures) == (12, 11, {})


@pytest.mark.parametrize(
    ("labeller", "why"),
    [
        (Springs(constant=np.nan), "finite energy and forces"),
        (Springs(constant=1e6), "at most 1000 eV/A"),
        (Springs(wrong_shape=True), r"forces of shape \(3, 3\), got \(2, 3\)"),
    ],
)
def test_unusable_labels_are_failures(tmp_path: Path, labeller: Springs, why: str) -> None:
    done = run(frames(1), tmp_path / "out.xyz", labeller)
    assert done.n_done == 0
    assert re.search(why, done.failures[0])


def test_the_output_of_another_run_is_not_changed(tmp_path: Path) -> None:
    made, output = frames(), tmp_path / "out.xyz"
    run(made, output, Springs())
    before = output.read_text()
    with pytest.raises(ValueError, match="another geometry; give another name"):
        run(made[::-1], output, Springs())
    with pytest.raises(ValueError, match=r"constant 1\.0 instead of 2\.0"):
        run(made, output, Springs(constant=2.0))
    (tmp_path / "out.xyz.json").unlink()
    with pytest.raises(FileExistsError, match=r"out.xyz.json is missing; give another name"):
        run(made, output, Springs())
    assert output.read_text() == before


def test_one_run_at_a_time(tmp_path: Path) -> None:
    made, output = frames(), tmp_path / "out.xyz"
    tried = []

    class Meanwhile(Springs):
        def __call__(self, atoms: Atoms) -> Label:
            with pytest.raises(FileExistsError, match="another run is writing to"):
                run(made, output, Springs())
            tried.append(atoms)
            return super().__call__(atoms)

    with SerialExecutor() as executor:
        label(made, Meanwhile(), output, executor=executor)
    assert len(tried) == len(made) == len(read(output, ":"))
    assert {path.name for path in tmp_path.iterdir()} == {"out.xyz", "out.xyz.json"}
    assert run(made, output, Springs()).n_kept == len(made)
    with pytest.raises(ValueError, match="another geometry"):
        run(made[::-1], output, Springs())
    assert len(list(tmp_path.iterdir())) == 2  # a run that failed leaves no file


def test_other_files_of_the_user_are_not_changed(tmp_path: Path) -> None:
    notes, table = tmp_path / "notes.xyz", tmp_path / "table.txt"
    notes.write_text("results of three months, without a newline at the end")
    with pytest.raises(FileExistsError, match="give another name"):
        run(frames(2), notes, Springs())
    assert notes.read_text().startswith("results of three months")
    with pytest.raises(ValueError, match=r"named .xyz or .extxyz, got .*table.txt"):
        run(frames(2), table, Springs())
    with pytest.raises(FileNotFoundError, match="no folder"):
        run(frames(2), tmp_path / "nowhere" / "out.xyz", Springs())
    record = tmp_path / "out.xyz.json"
    record.write_text("[1, 2]")
    with pytest.raises(ValueError, match=r"out.xyz.json is not the record of an earlier run"):
        run(frames(2), tmp_path / "out.xyz", Springs())
    assert record.read_text() == "[1, 2]"


@pytest.mark.parametrize(
    "lost",
    [
        *("", "one\ntwo", "one\rtwo", "one\x85two", "one\u2028two", "C/C=C\\C"),
        *(np.zeros(0), len),
    ],
    ids=repr,
)
def test_entries_that_extended_xyz_cannot_store_are_left_out(tmp_path: Path, lost: Any) -> None:
    made, output = frames(4), tmp_path / "out.xyz"
    made[1].info = {"lost": lost, **made[1].info, "smiles": "C/C=C/C", "odd": 'x = "y" é \x0c'}
    with pytest.warns(
        UserWarning, match=r"out.xyz cannot store these entries, which were left out: lost$"
    ):
        assert run(made, output, Springs()).n_done == 4
    labelled = read(output, ":")
    for key in ("made_by", "smiles", "odd"):
        assert labelled[1].info[key] == made[1].info[key]
    assert "lost" in made[1].info
    assert "lost" not in labelled[1].info
    assert run(made, output, Springs()).n_kept == 4


@pytest.mark.parametrize("name", ["energy", "stress", "pbc", "Lattice", 1])
def test_results_of_other_programs_are_left_out(tmp_path: Path, name: str) -> None:
    made, output = frames(4), tmp_path / "out.xyz"
    made[1].info[name] = 5.0
    with pytest.warns(UserWarning, match=rf"left out: {name}$"):
        assert run(made, output, Springs()).n_done == 4
    assert read(output, 1).get_potential_energy() == pytest.approx(
        Springs()(made[1]).energy, abs=WRITTEN
    )
    assert run(made, output, Springs()).n_kept == 4


@pytest.mark.parametrize("declared", [{"charge": 2}, {"spin_multiplicity": 3}])
def test_declared_charge_and_spin_are_used_or_refused(
    tmp_path: Path, declared: dict[str, int]
) -> None:
    made = [molecule("H2O"), molecule("H2O")]
    made[1].info |= declared
    for method in ("GFN2-xTB", "PBE/STO-3G"):
        output = tmp_path / f"{method[:2]}.xyz"
        assert run(made, output, make_labeller(method)).failures == {}
        neutral, other = (atoms.get_potential_energy() for atoms in read(output, ":"))
        assert other > neutral + 1.0
        refusing = make_labeller(method, charge=0, spin_multiplicity=1)
        done = run(made, tmp_path / f"{method[:2]}-refused.xyz", refusing)
        assert done.n_done == 1
        assert "as requested, but the molecule declares" in done.failures[1]
    done = run(made, tmp_path / "any.xyz", make_labeller("tblite.ase:TBLite"))
    # By its arguments, the calculator is neutral.
    assert "as requested, but the molecule declares" in done.failures[1]


def test_periodic_frames_are_refused(tmp_path: Path) -> None:
    made = frames(2)
    made[1].cell, made[1].pbc = np.eye(3) * 9, True
    with pytest.raises(ValueError, match="periodic cell in frame 1"):
        run(made, tmp_path / "out.xyz")
    assert not list(tmp_path.iterdir())


class Counting(ThreadPoolExecutor):
    """Counts the tasks that it holds; ``most`` is the largest number so far."""

    most = held = 0
    lock = Lock()

    def submit(self, call: Any, /, *arguments: Any) -> Future[Any]:  # type: ignore[override]
        with self.lock:
            self.held += 1
            self.most = max(self.most, self.held)
        future = super().submit(call, *arguments)
        future.add_done_callback(self._count)
        return future

    def _count(self, future: Future[Any]) -> None:
        with self.lock:
            self.held -= 1


def test_the_number_of_waiting_tasks_is_limited(tmp_path: Path) -> None:
    """Otherwise the scheduler's memory would hold 100,000 geometries twice."""
    made = [molecule("H2O") for _ in range(1500)]
    with Counting(1) as executor:
        run(made, tmp_path / "out.xyz", Springs(), executor)
    assert 10 < executor.most <= MAX_PENDING < len(made)


@pytest.mark.parametrize("lost", [BrokenExecutor, CancelledError, ModuleNotFoundError])
def test_a_broken_pool_ends_the_run_and_keeps_results(
    tmp_path: Path, lost: type[Exception]
) -> None:
    class Breaks(ThreadPoolExecutor):
        def submit(self, call: Any, /, *arguments: Any) -> Future[Any]:  # type: ignore[override]
            if arguments[1][0][0] == 3:
                future: Future[Any] = Future()
                future.set_exception(lost("gone"))
                return future
            return super().submit(call, *arguments)

    made, output = frames(6), tmp_path / "out.xyz"
    with Breaks(1) as pool, pytest.raises(lost):
        run(made, output, Springs(), pool)
    done = run(made, output, Springs())
    assert (done.n_done, done.failures) == (6, {})


def test_another_process_repeats_the_task_of_a_killed_one(tmp_path: Path) -> None:
    """With a dask cluster on this machine."""
    made, output = frames(6), tmp_path / "out.xyz"
    with workers(2) as executor:
        done = run(made, output, Springs(kills_once=str(tmp_path / "killed")), executor)
    assert (tmp_path / "killed").exists()
    assert (done.n_done, done.failures) == (6, {})


def test_frames_that_kill_every_process_are_failures(tmp_path: Path) -> None:
    with workers(1) as executor:
        done = run(frames(1), tmp_path / "out.xyz", Springs(kills_always=True), executor)
    assert done.n_done == 0
    assert "KilledWorker" in done.failures[0]


def test_geometries_do_not_share_a_calculator() -> None:
    """The state of a calculator after one geometry does not affect the next."""
    labeller = AnyCalculator(calculator="ase.calculators.morse:MorsePotential", level_of_theory="m")
    made = frames(3)
    alone = labeller(made[2])
    labeller(made[0])
    assert labeller(made[2]).energy == alone.energy
    assert labeller(made[0]).energy != alone.energy
