"""What cannot be learnt is refused in words, before anything is computed or written."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import Any

import dask
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import write
from tiny_learning import LOG, METHOD, WATER, options
from typer.testing import CliRunner, Result

from se3set_ase import learn
from se3set_ase.cli import app
from se3set_ase.cli.learn import learn as command_of_learning
from se3set_ase.label.labellers import make_labeller
from se3set_ase.learning.cost import measured
from se3set_ase.learning.prepare import Prepared, prepare
from se3set_ase.learning.start import read_start

STRETCHED = Atoms("OH2", [[0.0, 0.0, 0.0], [1.7, 0.0, 0.0], [0.6, 1.04, 0.0]])
HYDROXIDE = Atoms("OH", [[0.0, 0.0, 0.0], [0.0, 0.0, 0.97]])


@pytest.fixture(autouse=True)
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A line for each label."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(LOG, str(tmp_path / "labels.log"))
    return tmp_path / "labels.log"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["learn", *arguments, "-o", "model", "-m", METHOD])


def checked(start: Any, **others: Any) -> Prepared:
    """A run with the defaults, or these options."""
    values = options(Path("model"), Path()) | others
    named = signature(prepare).parameters.keys() - {"given"}
    defaults = {k: p.default for k, p in signature(learn).parameters.items() if k in named}
    return prepare([start], **defaults | {k: v for k, v in values.items() if k in named})


def test_kinds_of_starts() -> None:
    assert read_start([WATER]).reaction is False
    assert read_start([WATER, STRETCHED]).reaction is True
    assert read_start([[WATER, STRETCHED]]).reaction is True
    assert read_start([[WATER, STRETCHED]], reaction=False).reaction is False
    assert read_start([[WATER, STRETCHED, WATER]]).reaction is False
    assert read_start(["[OH-]"]).charge == -1
    assert read_start([HYDROXIDE], charge=-1).frames[0].info["charge"] == -1


@pytest.mark.parametrize(
    ("given", "others", "message"),
    [
        ([WATER, molecule("CH4")], {}, "same atoms in the same order in reactant and product, got"),
        ([WATER, WATER[[1, 0, 2]]], {}, "got another order in geometry 1"),
        ([WATER, WATER], {}, "expected different geometries of reactant and product"),
        ([WATER, STRETCHED, WATER], {"reaction": True}, "expected two geometries for a reaction"),
        (["O", "O"], {}, "expected files of reactant and product, got SMILES"),
        ([HYDROXIDE], {}, "expected an even number of electrons"),
        ([WATER], {"charge": 1}, "expected an even number of electrons"),
        (["[CH3]"], {}, "expected a closed shell, got spin multiplicity 2"),
        (["[OH-]"], {"charge": 1}, "declares -1"),
        ([Atoms("OH2", [[0, 0, 0], [0.3, 0, 0], [0, 1, 0]])], {}, "expected no overlapping atoms"),
        ([Atoms("H2", [[0, 0, 0], [0, 0, 0.8]], cell=[5] * 3, pbc=True)], {}, "a periodic cell"),
        ([[]], {}, "expected a molecule to learn, got none"),
    ],
)
@pytest.mark.filterwarnings("ignore:the SMILES .* is a radical")
def test_refuses_starts(given: list[Any], others: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_start(given, **others)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.xyz"], "no file nothing.xyz"),
        (["water.xyz", "--method", "GFN3-xTB"], "expected wB97X-3c, FUNCTIONAL/BASIS"),
        (["water.xyz", "--method", "nowhere:Nothing"], "expected MODULE:CLASS"),
        (["gold.xyz"], "expected the elements H, C, N, O, F, S, Cl of the initial model 'organic'"),
        (["francium.xyz", "--initial", "none", "--method", "GFN2-xTB"], "elements up to Rn"),
        (["water.xyz", "--initial", "organix"], "no model 'organix'"),
        (["hydroxide.xyz", "--charge", "-1"], "give it as --option charge=..."),
        (["water.xyz", "--baseline", "GFN3-xTB"], "expected a baseline among GFN1-xTB, GFN2-xTB"),
        (
            ["water.xyz", "--baseline", "GFN2-xTB", "--method", "GFN2-xTB"],
            "a baseline that is not the method itself",
        ),
        (["water.xyz", "--temperature", "0"], "expected temperatures above 0 K"),
        (["water.xyz", "--committee", "1", "--choice", "committee"], "expected a choice by"),
        (["water.xyz", "--labels", "3"], "expected at least 8 labels"),
        (["water.xyz", "--hours", "0"], "expected hours above 0"),
        (["water.xyz", "--forces", "0"], "expected a target above 0 meV/A"),
        (["water.xyz", "stretched.xyz", "--dimers"], "expected a neutral molecule for contacts"),
        (["water.xyz", "--output", "missing/model"], "no folder missing"),
        (["water.xyz", "--output", "others"], "others exists already, and no run of learn"),
        (["water.xyz", "--overwrite", "--output", "others"], "others exists already, and no run"),
    ],
)
def test_refuses_before_anything_is_computed(log: Path, arguments: list[str], message: str) -> None:
    write("water.xyz", WATER)
    write("stretched.xyz", STRETCHED)
    write("hydroxide.xyz", HYDROXIDE)
    write("gold.xyz", Atoms("Au2", [[0, 0, 0], [0, 0, 2.6]]))
    write("francium.xyz", Atoms("FrH", [[0, 0, 0], [0, 0, 3.0]]))
    Path("others").mkdir()
    Path("others/thesis.tex").touch()
    defaults = [] if "--method" in arguments else ["--method", METHOD]
    defaults += [] if "--output" in arguments else ["--output", "model"]
    result = CliRunner().invoke(app, ["learn", *arguments, *defaults])
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert not log.exists()
    assert not Path("model").exists()
    assert [path.name for path in Path("others").iterdir()] == ["thesis.tex"]


def test_refuses_an_unreachable_cluster(log: Path) -> None:
    write("water.xyz", WATER)
    with dask.config.set({"distributed.comm.timeouts.connect": "0.5s"}):
        result = run("water.xyz", "--scheduler", "tcp://127.0.0.1:9")
    assert result.exit_code == 2
    assert "127.0.0.1:9" in result.stderr
    assert not log.exists()
    assert not Path("model").exists()


def test_refuses_a_run_with_other_settings(initial: Path) -> None:
    settings = Path("model/learning/settings.json")
    settings.parent.mkdir(parents=True)
    settings.write_text('{"seed": 1, "labels_per_round": 6}')
    with pytest.raises(ValueError, match=r"with other settings: .*seed 1 instead of 0"):
        learn(WATER, **options(Path("model"), initial))


def test_a_dry_run_computes_one_label(log: Path) -> None:
    write("water.xyz", WATER)
    result = run("water.xyz", "--dry-run", "--labels", "40")
    assert result.exit_code == 0, result.output
    assert "learn H2O: tiny_learning:LoggedMorse from organic" in result.stdout
    assert "one label: 0." in result.stdout
    assert "40 labels, with 1 process: " in result.stdout
    assert "training: " in result.stdout
    assert len(log.read_text().splitlines()) == 1
    assert not Path("model").exists()


def test_the_cost_of_training_counts_all_rounds(initial: Path) -> None:
    prepared = checked(WATER, initial=initial, labels=40, per_round=5, training_frames=100)
    cost = measured(prepared.job)
    assert 1e-3 < cost.frame < 1.0
    # Seven rounds, and the final training of three times as many geometries.
    expected = 2 * 100 * (7 + 3) * cost.frame
    assert cost.training(prepared.job, prepared.budget) == pytest.approx(expected)


def test_the_charge_of_an_ion_reaches_the_method() -> None:
    """Against the program itself."""
    tblite = pytest.importorskip("tblite.ase")
    prepared = checked("[OH-]", method="GFN2-xTB", initial="none")
    frame = prepared.job.start.frames[0]
    energies = {}
    for charge in (-1, 1):
        atoms = frame.copy()
        atoms.calc = tblite.TBLite(method="GFN2-xTB", charge=charge, verbosity=0)
        energies[charge] = atoms.get_potential_energy()
    assert prepared.job.labeller(frame).energy == pytest.approx(energies[-1], abs=1e-6)
    assert abs(energies[-1] - energies[1]) > 1.0  # the control
    assert prepared.job.recipe.charge == -1
    same = make_labeller("GFN2-xTB", charge=-1)
    assert same(frame).energy == pytest.approx(energies[-1], abs=1e-6)


def test_the_command_has_the_defaults_of_python() -> None:
    ours = signature(learn).parameters
    command = signature(command_of_learning).parameters
    shared = (ours.keys() & command.keys()) - {"start", "method", "output"}
    assert len(shared) > 15
    for name in shared:
        assert command[name].default == ours[name].default, name
    named_otherwise = {"option": "options", "temperature": "temperatures_K", "dry_run": ""}
    assert command.keys() - ours.keys() == named_otherwise.keys()
    assert ours.keys() - command.keys() <= {
        "more",
        "options",
        "temperatures_K",
        "executor",
        "progress",
    }
