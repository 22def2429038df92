"""The command line: output, files, and exit code 2 with a plain sentence for invalid input."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from typer.testing import CliRunner, Result
from untrained import METADATA, tiny_model

from se3set_ase import __version__
from se3set_ase.checkpoint import registry
from se3set_ase.checkpoint.files import WEIGHTS_FILE
from se3set_ase.checkpoint.store import save_checkpoint
from se3set_ase.cli import app
from se3set_ase.events.files import read_events
from se3set_ase.events.log import lasting

BAD_INPUT = 2
INTERRUPTED = 130
UNFINISHED = 1


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_checkpoint(folder, tiny_model(), METADATA)
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with a molecule in it."""
    monkeypatch.chdir(tmp_path)
    write("ethanol.xyz", molecule("CH3CH2OH"))
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(*arguments: object) -> str:
    """The message of a command that must refuse its input."""
    result = run(*arguments)
    assert result.exit_code == BAD_INPUT, result.output
    assert "Traceback" not in result.output
    assert result.stderr.startswith("error: ")
    return result.stderr.removeprefix("error: ")


def test_version_and_help() -> None:
    assert run("--version").stdout.strip() == f"se3set-ase {__version__}"
    module = subprocess.run(
        [sys.executable, "-m", "se3set_ase", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert module.stdout.strip() == f"se3set-ase {__version__}"
    printed = run("--help").stdout
    for command in ("models", "evaluate", "relax", "md", "train", "fragments"):
        assert command in printed
        assert run(command, "--help").exit_code == 0


def test_unknown_commands_and_options() -> None:
    for arguments in (["dance"], ["md"], ["md", "x.xyz", "--colour", "red"]):
        result = run(*arguments)
        assert result.exit_code == BAD_INPUT
        assert "Traceback" not in result.output


def test_models(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.write_registry(model.parent)
    monkeypatch.setattr(registry, "models_folder", lambda: model.parent)
    printed = run("models").stdout
    assert "tiny" in printed
    assert "H C O" in printed
    assert "PBE-D3/def2-SVP" in printed
    monkeypatch.setattr(registry, "models_folder", lambda: None)
    assert run("models").stdout.strip() == "no bundled models"


# --- evaluate --------------------------------------------------------------------------------


def labelled(n: int, *, forces: bool = True) -> list[Atoms]:
    frames = []
    for seed in range(n):
        atoms = molecule("CH3CH2OH")
        atoms.rattle(0.05, seed=seed)
        labels = {"energy": -4000.0, "forces": np.zeros((len(atoms), 3))}
        if not forces:
            del labels["forces"]
        atoms.calc = SinglePointCalculator(atoms, **labels)
        frames.append(atoms)
    return frames


def test_evaluate_prints_and_writes_errors(model: Path, here: Path) -> None:
    write("test.xyz", labelled(5))
    result = run("evaluate", model, "test.xyz", "--json", "errors.json")
    assert result.exit_code == 0, result.output
    errors = json.loads(Path("errors.json").read_text())
    assert errors["n_frames"] == 5
    assert errors["file"] == "test.xyz"
    for key in (
        "energy_mae_meV",
        "energy_rmse_meV",
        "energy_mae_meV_per_atom",
        "forces_mae_meV_A",
        "forces_rmse_meV_A",
    ):
        assert errors[key] > 0
    assert f"{errors['forces_rmse_meV_A']:.3f}" in result.stdout
    single = run("evaluate", model, "test.xyz", "--json", "single.json", "--dtype", "float32")
    assert single.exit_code == 0
    difference = json.loads(Path("single.json").read_text())["forces_rmse_meV_A"]
    assert difference == pytest.approx(errors["forces_rmse_meV_A"], rel=1e-3)


def test_evaluate_checks_its_output_before_it_begins(model: Path, here: Path) -> None:
    write("test.xyz", labelled(2))
    Path("kept.json").write_text("kept")
    assert "kept.json exists" in refused("evaluate", model, "test.xyz", "--json", "kept.json")
    assert Path("kept.json").read_text() == "kept"
    assert "no folder none" in refused("evaluate", model, "test.xyz", "--json", "none/a.json")
    result = run("evaluate", model, "test.xyz", "--json", "kept.json", "--overwrite")
    assert result.exit_code == 0, result.output
    assert json.loads(Path("kept.json").read_text())["n_frames"] == 2


def test_evaluate_without_labels_writes_null(model: Path, here: Path) -> None:
    write("test.xyz", labelled(2, forces=False))
    assert run("evaluate", model, "test.xyz", "--json", "errors.json").exit_code == 0
    assert json.loads(Path("errors.json").read_text())["forces_rmse_meV_A"] is None
    write("none.xyz", [molecule("H2O")])
    assert refused("evaluate", model, "none.xyz").startswith("expected energies or forces in none")


def test_notes_of_evaluate_name_options(model: Path, here: Path) -> None:
    water = molecule("H2O")
    water.calc = SinglePointCalculator(water, energy=-1.0)
    write("water.xyz", water)
    result = run("evaluate", model, "water.xyz", "--json", "errors.json")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("1 frame\n")
    note = "references do; --other-level align fits energies of the elements first"
    assert note in result.stdout
    assert "other_level" not in result.stdout + (here / "errors.json").read_text()
    write("bare.xyz", molecule("H2O"))
    message = refused("evaluate", model, "bare.xyz")
    assert message == "expected energies or forces in bare.xyz, got 1 frame without\n"


def test_evaluate_bad_input(model: Path, here: Path) -> None:
    assert refused("evaluate", model, "absent.xyz") == "no file absent.xyz\n"
    assert "expected a file with atoms, got the folder" in refused("evaluate", model, here)
    Path("text.xyz").write_text("this is no molecule\n")
    assert refused("evaluate", model, "text.xyz").startswith("cannot read frame 0 of text.xyz: ")
    write("test.xyz", labelled(3))
    whole = Path("test.xyz").read_text().splitlines(keepends=True)
    Path("cut.xyz").write_text("".join(whole[:-4]))
    assert refused("evaluate", model, "cut.xyz").startswith("cannot read frame 2 of cut.xyz: ")
    Path("empty.xyz").touch()
    assert "empty.xyz" in refused("evaluate", model, "empty.xyz")
    write("ammonia.xyz", [molecule("H2O"), molecule("NH3")])
    assert "frame 1: expected the elements H, C, O" in refused("evaluate", model, "ammonia.xyz")
    assert "no model 'nonsense'" in refused("evaluate", "nonsense", "test.xyz")
    assert "expected device" in refused("evaluate", model, "test.xyz", "--device", "abacus")
    assert "expected charge 0" in refused("evaluate", model, "test.xyz", "--charge", "1")


def test_damaged_model(model: Path, here: Path) -> None:
    save_checkpoint("broken", tiny_model(), METADATA)
    path = Path("broken") / WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:100])
    assert "weights.safetensors is truncated" in refused("relax", "ethanol.xyz", "-m", "broken")


# --- relax and md ----------------------------------------------------------------------------


def test_relax_writes_its_files(model: Path, here: Path) -> None:
    result = run("relax", "ethanol.xyz", "--model", model, "--steps", 3)
    assert result.exit_code == UNFINISHED, result.output
    assert "NOT converged after 3 steps" in result.stdout
    assert "written: ethanol-relaxed.xyz, ethanol-relax.traj, " in result.stdout
    relaxed = read("ethanol-relaxed.xyz")
    frames = read("ethanol-relax.traj", ":")
    assert len(frames) == 4
    assert relaxed.positions == pytest.approx(frames[-1].positions, abs=1e-6)
    assert Path("ethanol-relax.events.jsonl").exists()


def test_md_writes_its_files(model: Path, here: Path) -> None:
    arguments = ["md", "ethanol.xyz", "-m", model, "--steps", 20, "--interval", 5]
    result = run(*arguments, "--plot", "picture.png")
    assert result.exit_code == 0, result.output
    assert "20 steps, 0.01 ps" in result.stdout
    assert len(read("ethanol-md.traj", ":")) == 5
    assert Path("picture.png").read_bytes().startswith(b"\x89PNG")
    assert len(Path("ethanol-md.csv").read_text().splitlines()) == 6
    assert "hyperedges" in result.stdout
    # A second run does not replace the results of the first.
    before = Path("ethanol-md.traj").read_bytes()
    message = refused(*arguments)
    assert "ethanol-md.traj, ethanol-md.csv, ethanol-md.events.jsonl exists already" in message
    assert Path("ethanol-md.traj").read_bytes() == before
    result = run(*arguments, "--overwrite", "--ensemble", "nve", "--seed", 4)
    assert result.exit_code == 0, result.output
    assert Path("ethanol-md.traj").read_bytes() != before


def test_md_with_hard_membership_warns(model: Path, here: Path) -> None:
    arguments = ["md", "ethanol.xyz", "-m", str(model), "--steps", "2", "--refragment", "hard"]
    with pytest.warns(UserWarning, match="refragment='hard'"):
        result = run(*arguments)
    assert result.exit_code == 0, result.output
    # A separate process prints the warning in one line, without source code.
    command = [sys.executable, "-m", "se3set_ase", *arguments, "--overwrite"]
    there = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    printed = subprocess.run(command, capture_output=True, text=True, env=there, timeout=120)
    assert printed.returncode == 0, printed.stderr
    (line,) = (line for line in printed.stderr.splitlines() if "hard" in line)
    assert line.startswith("warning: --refragment hard: the energy jumps")
    assert "SE3SetCalculator" not in printed.stderr


def test_md_continues_with_the_velocities_of_a_file(model: Path, here: Path) -> None:
    """Two runs give the same as one run with all steps."""
    nve = ["--ensemble", "nve", "--seed", 1]
    whole = run("md", "ethanol.xyz", "-m", model, "--steps", 9, *nve, "--interval", 4)
    assert whole.exit_code == 0, whole.output
    frames = read("ethanol-md.traj", ":")
    assert len(frames) == 4  # 0, 4, 8 and the last
    part = run("md", "ethanol.xyz", "-m", model, "--steps", 6, *nve, "--overwrite")
    assert part.exit_code == 0, part.output
    options = ["--ensemble", "nve", "--velocities", "keep", "--trajectory", "continued.traj"]
    result = run("md", "ethanol-md.traj", "-m", model, "--steps", 3, *options)
    assert result.exit_code == 0, result.output
    assert read("continued.traj").positions == pytest.approx(frames[-1].positions, abs=1e-10)
    drawn = run("md", "ethanol-md.traj", "-m", model, "--steps", 3, *options[:2], "--overwrite")
    assert drawn.exit_code == 0, drawn.output
    assert abs(read("ethanol-md-md.traj").positions - frames[-1].positions).max() > 1e-4


def test_md_without_velocities_to_keep(model: Path, here: Path) -> None:
    message = refused("md", "ethanol.xyz", "-m", model, "--velocities", "keep")  # no warning
    assert message == (
        "expected velocities in ethanol.xyz for --velocities keep, got none; take a trajectory "
        "that md has written, or --velocities maxwell\n"
    )


def test_md_bad_input(model: Path, here: Path) -> None:
    def md(*arguments: object) -> str:
        return refused("md", "ethanol.xyz", "--model", model, *arguments)

    assert md("--timestep", "-1") == "expected a positive timestep, got -1.0\n"
    assert "no folder absent to write md.traj into" in md("--trajectory", "absent/md.traj")
    assert md("--temperature", "inf") == "expected --temperature of at least 0, got inf\n"
    write("charged.xyz", molecule("NH3"))
    message = refused("md", "charged.xyz", "--model", model)
    assert "expected the elements H, C, O" in message
    assert "no model 'absent'" in refused("md", "ethanol.xyz", "--model", "absent")
    assert list(here.glob("*-md.png")) == []


def test_events_of_a_run(model: Path, here: Path) -> None:
    options = ("--model", model, "--steps", 60, "--temperature", 1500, "--seed", 3)
    assert run("md", "ethanol.xyz", *options).exit_code == 0
    printed = run("events", "ethanol-md.events.jsonl")
    assert printed.exit_code == 0, printed.output
    log = read_events(here / "ethanol-md.events.jsonl")
    n_formed = sum(e.kind == "bond formed" for e in log.events)
    assert n_formed > 0
    assert f"{n_formed} bond formed" in printed.stdout
    assert "reach gained" not in printed.stdout
    options = ("--kinds", "all", "--residence", 1000, "--plot", "some.png")
    few = run("events", "ethanol-md.events.jsonl", *options)
    assert (here / "some.png").read_bytes().startswith(b"\x89PNG")
    message = refused("events", "ethanol-md.events.jsonl", "--kinds", "atoms")
    assert message == "expected kinds out of bonds, fragments, reach or all, got 'atoms'\n"
    assert "some.png exists" in refused("events", "ethanol-md.events.jsonl", "--plot", "some.png")
    left = lasting(log.events, log.times, 1000.0)
    assert 0 < len(left) < len(log.events)
    assert sum(int(n) for n in re.findall(r"(\d+) (?:bond|fragments|reach)", few.stdout)) == len(
        left
    )

    arguments = ["relax", "ethanol.xyz", "--model", model, "--steps", 3]
    assert run(*arguments).exit_code == UNFINISHED
    assert run("events", "ethanol-relax.events.jsonl").exit_code == 0
    assert "no file none.jsonl" in refused("events", "none.jsonl")
    (here / "bad.jsonl").write_text('{"kind": "bond formed"}\n')
    assert "bad.jsonl, line 1: expected an event" in refused("events", "bad.jsonl")


def test_unknown_optimizer(model: Path, here: Path) -> None:
    message = refused("relax", "ethanol.xyz", "-m", model, "--optimizer", "Newton")
    names = "BFGS or LBFGS or BFGSLineSearch or FIRE or FIRE2 or MDMin or GPMin"
    assert message == f"expected --optimizer {names}, got 'Newton'\n"


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        ("relax", ("-o", "a.foo"), "expected a file name with a format that ASE writes"),
        ("relax", ("--trajectory", "a.foo"), "expected a file name with a format that ASE writes"),
        ("md", ("--trajectory", "a.foo"), "expected a file name with a format that ASE writes"),
        ("md", ("--plot", "a.foo"), "expected the file name of a picture"),
        (
            "md",
            ("--plot", "a.png", "--table", "a.png"),
            "expected a different name for each output",
        ),
    ],
)
def test_names_of_outputs_are_checked_before_the_run(
    model: Path, here: Path, command: str, options: tuple[str, ...], message: str
) -> None:
    assert refused(command, "ethanol.xyz", "-m", model, *options).startswith(message)
    assert [path.name for path in here.iterdir()] == ["ethanol.xyz"]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_finished_steps(model: Path, here: Path, sent: signal.Signals) -> None:
    """A real signal to a running process: Ctrl-C, and SIGTERM from queueing systems."""
    # Processes of a shell in the background ignore SIGINT by default.
    restore = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{restore}; from se3set_ase.cli import app; app()", "md"]
    options = ["ethanol.xyz", "--model", str(model), "--steps", "1000000", "--interval", "1"]
    process = subprocess.Popen(
        command + options,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        deadline = time.monotonic() + 60
        trajectory = Path("ethanol-md.traj")
        while not (trajectory.exists() and trajectory.stat().st_size > 20_000):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(sent)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == INTERRUPTED, (out, err)
    assert "Traceback" not in err
    assert "(interrupted)" in out
    rows = Path("ethanol-md.csv").read_text().splitlines()[1:]
    assert len(rows) > 3
    assert abs(len(read("ethanol-md.traj", ":")) - len(rows)) <= 1
    assert Path("ethanol-md.png").exists()


# --- fragments and train ---------------------------------------------------------------------


def test_fragments_with_and_without_a_model(model: Path, here: Path) -> None:
    printed = run("fragments", "ethanol.xyz").stdout
    assert printed.startswith("C2H6O: 9 atoms, 3 fragments, ")
    assert run("fragments", "ethanol.xyz", "--model", model).exit_code == 0
    write("fused.xyz", Atoms("HH", positions=[[0, 0, 0], [0, 0, 0]]))
    assert "expected atoms apart from each other" in refused("fragments", "fused.xyz")
    assert refused("fragments", "absent.xyz") == "no file absent.xyz\n"


def test_train_bad_input(here: Path) -> None:
    assert refused("train", "absent.yaml") == "no file absent.yaml\n"
    Path("train.yaml").write_text("name: [")
    assert "expected YAML" in refused("train", "train.yaml")
    Path("train.yaml").write_text("name: x\n")
    message = refused("train", "train.yaml")
    assert "train.yaml: expected a training run" in message
    assert "data" in message


TRAINING = """
name: small
seed: 1
data: {train: data.xyz, validation: 2, level_of_theory: none}
network: {channels: 8, blocks: 1, heads: 2}
training: {epochs: 1, batch_size: 2, compile: false, device: cpu}
"""


def test_train_then_evaluate(here: Path) -> None:
    write("data.xyz", labelled(6))
    Path("train.yaml").write_text(TRAINING)
    result = run("train", "train.yaml")
    assert result.exit_code == 0, result.output
    folder = result.stdout.strip().removeprefix("written: ")
    result = run("evaluate", folder, "data.xyz")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("6 frames")


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (FloatingPointError("training diverged"), BAD_INPUT, "error: training diverged"),
        (
            KeyboardInterrupt(),
            INTERRUPTED,
            "run the same command to resume from the last validation",
        ),
    ],
)
def test_training_that_stops(
    here: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, text: str
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("se3set_ase.train.run.train", stop)
    Path("train.yaml").write_text(TRAINING)
    result = run("train", "train.yaml")
    assert result.exit_code == code
    assert result.stderr.startswith(text)


def test_training_without_its_packages(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*sys.modules]:
        if name.startswith(("se3set_ase.train.", "lightning_fabric")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    Path("train.yaml").write_text(TRAINING)
    message = refused("train", "train.yaml")
    assert message == (
        "training needs the package 'lightning_fabric': pip install 'se3set-ase[train]'\n"
    )


def test_label_then_evaluate(model: Path, here: Path) -> None:
    result = run("label", "ethanol.xyz", "-m", "GFN2-xTB", "--option", "accuracy=0.1")
    assert result.exit_code == 0, result.output
    assert "1 of 1 geometries labelled, 0 by an earlier run" in result.output
    settings = json.loads((here / "ethanol-labelled.xyz.json").read_text())["settings"]
    assert settings["arguments"]["accuracy"] == 0.1
    message = refused("evaluate", model, "ethanol-labelled.xyz")
    assert message == (
        "ethanol-labelled.xyz, frame 0: expected labels of PBE-D3/def2-SVP, the level of theory of "
        "model 'tiny', got GFN2-xTB; --other-level align fits energies of the elements first, "
        "--other-level compare takes the labels as they are\n"
    )
    compared = run("evaluate", model, "ethanol-labelled.xyz", "--other-level", "compare")
    assert compared.exit_code == 0, compared.output
    assert compared.stdout.startswith("1 frame, labels of GFN2-xTB")
    assert "note: the labels are of GFN2-xTB, the model is of PBE-D3/def2-SVP" in compared.stdout
    again = run("label", "ethanol.xyz", "-m", "GFN2-xTB", "--option", "accuracy=0.1")
    assert "1 by an earlier run" in again.output
    bad = read("ethanol.xyz")
    bad.positions[1] = bad.positions[0]
    write("two.xyz", [read("ethanol.xyz"), bad])
    result = run("label", "two.xyz", "-m", "GFN2-xTB")
    assert result.exit_code == UNFINISHED, result.output
    assert "1 of 2 geometries labelled" in result.output
    assert "frame 1 failed: " in result.output


def test_label_bad_input(here: Path) -> None:
    for arguments, message in (
        (("none.xyz", "-m", "GFN2-xTB"), "no file none.xyz"),
        (("ethanol.xyz", "-m", "magic"), "expected wB97X-3c, FUNCTIONAL/BASIS"),
        (("ethanol.xyz", "-m", "GFN2-xTB", "--option", "accuracy"), "--option NAME=VALUE"),
    ):
        assert message in refused("label", *arguments)


def test_traceback_on_demand(here: Path) -> None:
    result = run("--traceback", "fragments", "absent.xyz")
    assert isinstance(result.exception, FileNotFoundError)


def test_bugs_keep_their_traceback(
    model: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: an unexpected error is not reported as invalid input."""

    def broken(*_: object, **__: object) -> None:
        raise AssertionError("a bug")

    monkeypatch.setattr("se3set_ase.cli.report.describe_fragments", broken)
    assert isinstance(run("fragments", "ethanol.xyz").exception, AssertionError)
