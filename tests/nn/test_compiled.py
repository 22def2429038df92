"""Compiled models: the numbers of the model itself, compiled once for whatever comes."""

from __future__ import annotations

import logging
import pickle
import re
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import CalculatorSetupError
from ase.io import read, write
from filelock import FileLock
from paths import CROWDED
from torch._dynamo.utils import counters
from typer.testing import CliRunner
from untrained import METADATA, Make, tiny_model

from se3set_ase import compilation
from se3set_ase.checkpoint.store import save_checkpoint
from se3set_ase.cli import app
from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.io import progress
from se3set_ase.nn import compiled
from se3set_ase.nn.compiled import CompilationError
from se3set_ase.nn.graph import sizes_of
from se3set_ase.nn.longrange.config import LongRangeConfig
from se3set_ase.nn.model import SE3Set
from se3set_ase.nn.published.config import PublishedConfig
from se3set_ase.potential import Potential, UnsupportedSystem
from se3set_ase.simulate.dynamics import md

ACETYLACETONE = Path(__file__).parents[2] / "examples" / "acetylacetone.xyz"
#: eV and eV/Angstrom, between compiled and eager: other orders of the same sums.
TOLERANCE = {"float64": 1e-9, "float32": 5e-4}

# torch warns about itself: what it compiles with is deprecated by other parts of it.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec.:FutureWarning"),
]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache folder for all processes of this session."""
    return tmp_path_factory.getbasetemp().parent / "compiled"


@pytest.fixture(autouse=True)
def cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test compiles into, or finds, the same folder."""
    monkeypatch.setenv(compiled.CACHE_VARIABLE, str(folder))
    return folder


def ten_molecules() -> list[Atoms]:
    names = ["CH4", "H2", "H2O", "CH3CH2OH", "C6H6", "HCOOH", "CO2", "C3H8"]
    rng = np.random.default_rng(5)
    found = [Atoms("H"), read(ACETYLACETONE), *(molecule(name) for name in names)]
    for atoms in found:
        atoms.rattle(0.05, rng=rng)
    return found


def forbid(*args: Any) -> None:
    raise AssertionError("compiled again")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_ten_molecules_in_a_row_and_at_once(
    make: Make, saved: Path, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast, slow = make(dtype=dtype, compile=True), make(dtype=dtype)
    monkeypatch.setattr(compiled, "_compile", forbid)
    before = {k: dict(v) for k, v in counters.items()}
    together = Potential(saved, dtype=dtype, compile=True).predict(ten_molecules())
    for atoms, among_others in zip(ten_molecules(), together, strict=True):
        expected = slow.get_property("energy", atoms), slow.get_property("forces", atoms)
        got = fast.get_property("energy", atoms), fast.get_property("forces", atoms)
        for energy, forces in (got, (among_others.energy, among_others.forces)):
            assert energy == pytest.approx(expected[0], abs=TOLERANCE[dtype])
            np.testing.assert_allclose(forces, expected[1], atol=TOLERANCE[dtype])
        assert dict(fast.hypergraph.bonds) == pytest.approx(dict(slow.hypergraph.bonds))
        assert fast.hypergraph.n_hyperedges == slow.hypergraph.n_hyperedges
        assert np.abs(expected[1]).max() > 100 * TOLERANCE[dtype] or len(atoms) == 1
    assert {k: dict(v) for k, v in counters.items()} == before  # torch compiled nothing either


def test_charges_and_energies_of_pairs(tmp_path: Path) -> None:
    model = tiny_model(long_range=LongRangeConfig(dispersion=True, charges=True))
    save_checkpoint(tmp_path, model, replace(METADATA, charges=(0, 1)))
    fast, slow = Potential(tmp_path, compile=True), Potential(tmp_path)
    hydronium = Atoms("OH3", [[0, 0, 0.1], [0.9, 0, 0], [-0.5, 0.8, 0], [-0.5, -0.8, 0]])
    hydronium.info["charge"] = 1
    molecules = [hydronium, *ten_molecules()]
    for several in (molecules, [hydronium], [Atoms("H")], [molecules[2]]):
        for got, expected in zip(fast.predict(several), slow.predict(several), strict=True):
            assert got.energy == pytest.approx(expected.energy, abs=TOLERANCE["float64"])
            for name in ("forces", "charges"):
                one, other = getattr(got, name), getattr(expected, name)
                np.testing.assert_allclose(one, other, atol=TOLERANCE["float64"])
    assert got.charges is not None
    assert np.ptp(got.charges) > 0.01


def test_dynamics_with_refragmentation_compile_nothing(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    atoms = read(ACETYLACETONE)
    atoms.calc = make(compile=True)
    monkeypatch.setattr(compiled, "_compile", forbid)
    before = {k: dict(v) for k, v in counters.items()}
    frames: list[Atoms] = []
    for _ in range(10):
        md(atoms, temperature_K=900, steps=20, velocities="keep" if frames else "maxwell")
        frames.append(atoms.copy())
        frames[-1].info["energy"] = atoms.get_potential_energy()
    assert len(atoms.calc.events) > 20
    assert {k: dict(v) for k, v in counters.items()} == before
    slow = make()
    for frame in frames:
        expected = slow.get_property("energy", frame)
        assert frame.info["energy"] == pytest.approx(expected, abs=TOLERANCE["float64"])


def test_another_process_finds_it(make: Make, saved: Path) -> None:
    expected = make(compile=True).get_property("energy", molecule("CH3CH2OH"))
    code = f"""
from ase.build import molecule
from se3set_ase import SE3SetCalculator
from se3set_ase.nn import compiled
from se3set_ase.cli import app
from se3set_ase.nn.compiled import CompilationError
compiled._compile = None
atoms = molecule("CH3CH2OH")
atoms.calc = SE3SetCalculator({str(saved)!r}, device="cpu", compile=True)
print(atoms.get_potential_energy())
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(ran.stdout) == expected


def test_the_model_answers_until_another_process_has_compiled_it(
    make: Make, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(compile=True)  # so that the other process finds it
    monkeypatch.setattr(compilation, "is_compiled", lambda _: False)
    potential = Potential(saved, compile="background")
    monkeypatch.setattr(compiled, "_compile", forbid)
    molecules = ten_molecules()
    first = potential.predict(molecules)  # the other process imports torch meanwhile
    assert potential._compiled is None
    with pytest.raises(UnsupportedSystem, match="cells are not possible with compile"):
        potential.check(Atoms("OH2", cell=[9, 9, 9], pbc=True))
    started = potential._compilation
    assert started is not None
    while started.running():
        time.sleep(0.1)
    second = potential.predict(molecules)
    assert isinstance(potential._compiled, compiled.CompiledModel)
    for one, other in zip(first, second, strict=True):
        assert one.energy == pytest.approx(other.energy, abs=TOLERANCE["float64"])
        np.testing.assert_allclose(one.forces, other.forces, atol=TOLERANCE["float64"])
    assert Potential(saved, compile=np.True_)._compiled is not None  # any true value compiles
    at_once = Potential(saved, compile="background")
    monkeypatch.undo()
    assert at_once.predict([molecules[0]])[0].energy == pytest.approx(first[0].energy, abs=1e-9)


def test_a_compilation_that_fails_in_the_background_warns(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(compiled.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setenv("CXX", str(tmp_path / "no-compiler"))
    potential = Potential(saved, compile="background")
    assert potential._compilation is not None
    while potential._compilation.running():
        time.sleep(0.1)
    with pytest.warns(UserWarning, match=r"without compilation, which failed: .*C\+\+ compiler"):
        found = potential.predict([molecule("H2O")])
    assert found[0].energy == Potential(saved).predict([molecule("H2O")])[0].energy
    with pytest.raises(ValueError, match="expected compile True, False or 'background', got 'now'"):
        Potential(saved, compile="now")  # type: ignore[arg-type]


def test_more_bonds_than_can_be_mixed_are_left_to_the_model(make: Make) -> None:
    fast, slow = make(compile=True), make()
    factors = []
    for scan in CROWDED.values():
        atoms, path, (start, end) = scan()
        for t in np.linspace(start, end, 12):
            atoms.positions = path(t)
            expected = slow.get_property("forces", atoms)
            np.testing.assert_allclose(fast.get_property("forces", atoms), expected, atol=1e-9)
            assert slow.hypergraph is not None
            factors.append(sizes_of([slow.hypergraph.structure]).factors)
    assert min(factors) <= compiled.FACTORS < max(factors)


@pytest.mark.parametrize("command", ["relax", "md", "evaluate"])
def test_the_commands_compile(
    make: Make, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    make(compile=True)  # so that it is there
    monkeypatch.setattr(compiled, "_compile", forbid)
    loaded: list[Path] = []

    class Watched(compiled.CompiledModel):
        def __init__(self, path: Path):
            loaded.append(path)
            super().__init__(path)

    monkeypatch.setattr(compiled, "CompiledModel", Watched)
    monkeypatch.chdir(tmp_path)
    atoms = molecule("CH3CH2OH")
    atoms.calc = make()
    atoms.get_forces()
    write("ethanol.xyz", atoms, format="extxyz")
    arguments = {
        "relax": ["ethanol.xyz", "--model", saved, "--steps", 3],
        "md": ["ethanol.xyz", "--model", saved, "--steps", 3],
        "evaluate": [saved, "ethanol.xyz"],
    }[command]
    for options in ([], ["--compile"]):
        line = [command, *arguments, *options, *(["--overwrite"] if command != "evaluate" else [])]
        result = CliRunner().invoke(app, [str(word) for word in line])
        assert result.exit_code in (0, 1), result.output  # 1: not converged after three steps
        assert len(loaded) == bool(options)


def test_a_copy_and_a_pickle_give_the_same(make: Make) -> None:
    calculator = make(compile=True)
    expected = calculator.get_property("energy", molecule("H2O"))
    for copy in (deepcopy(calculator), pickle.loads(pickle.dumps(calculator))):
        copy.reset()
        assert copy.get_property("energy", molecule("H2O")) == expected


def fake_compile(content: bytes) -> Callable[[SE3Set, Path], None]:
    return lambda model, path: path.write_bytes(content) and None


def test_a_damaged_file_is_compiled_again(
    make: Make, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    atoms = molecule("H2O")
    expected = make(compile=True).get_property("energy", atoms)
    (good,) = (p for p in cache.glob("*.pt2") if p.stem == compiled._digest(make().potential.model))
    content = good.read_bytes()
    monkeypatch.setenv(compiled.CACHE_VARIABLE, str(tmp_path))
    (tmp_path / good.name).write_bytes(content[: len(content) // 2])
    monkeypatch.setattr(compiled, "_compile", fake_compile(content))
    assert make(compile=True).get_property("energy", atoms) == expected
    assert "compiling again" in caplog.text


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SE3Set:
    """A model whose compilation takes no time, with an empty cache."""
    monkeypatch.setenv(compiled.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(compiled, "_compile", fake_compile(b"machine code"))
    monkeypatch.setattr(compiled, "CompiledModel", Path)
    return tiny_model()


def test_compilation_says_when_it_starts_and_when_it_is_kept(
    quick: SE3Set,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In a script or notebook without any settings: logging shows warnings on standard error."""
    with monkeypatch.context() as patch:
        patch.setattr(logging.getLogger(), "handlers", [])  # without those of pytest
        compiled.compiled(quick)
        first, last = capsys.readouterr().err.splitlines()
        assert first.startswith("compiling the model, which takes a minute or two")
        assert re.fullmatch(rf"compiled the model in \d+ s; it is kept in {tmp_path}", last)
        compiled.compiled(quick)
        assert capsys.readouterr().err == ""  # the control: nothing to compile


def test_waiting_for_another_process_is_said(
    quick: SE3Set, caplog: pytest.LogCaptureFixture
) -> None:
    path = Path(str(compiled.compiled(quick)))
    with ThreadPoolExecutor(1) as other:
        with FileLock(path.with_suffix(".lock"), thread_local=False):
            waiting = other.submit(compiled.compiled, quick)
            while "waiting for it" not in caplog.text and not waiting.done():
                time.sleep(0.01)
            assert not waiting.done()
        assert waiting.result() == path
    assert "another process is compiling the same model" in caplog.text


def test_the_commands_show_the_time_of_a_compilation(
    saved: Path, quick: SE3Set, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(model: SE3Set, path: Path) -> None:
        time.sleep(0.3)
        raise CompilationError("expected a C++ compiler")

    monkeypatch.setattr(compiled, "_compile", slow)
    monkeypatch.setattr(progress, "LINES_EVERY", 0.05)
    monkeypatch.chdir(tmp_path)
    write("water.xyz", molecule("H2O"))
    for command in ("relax", "md"):
        arguments = [command, "water.xyz", "-m", str(saved), "--compile"]
        result = CliRunner().invoke(app, arguments)
        lines = result.stderr.splitlines()
        assert any(line.startswith("compiling the model, which takes") for line in lines)
        assert sum(re.fullmatch(r"compiling: \d+ s", line) is not None for line in lines) >= 2
        assert lines[-1] == "error: expected a C++ compiler"


def test_old_files_make_room(make: Make, cache: Path, tmp_path: Path, monkeypatch) -> None:
    make(compile=True)
    name = compiled._digest(make().potential.model) + ".pt2"
    content = (cache / name).read_bytes()
    monkeypatch.setenv(compiled.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(compiled, "_compile", fake_compile(content))
    for index in range(compiled.KEPT + 3):
        (tmp_path / f"{index}.pt2").touch()
    make(compile=True)
    left = {p.name for p in tmp_path.glob("*.pt2")}
    assert len(left) == compiled.KEPT
    assert name in left


def test_what_the_machine_code_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model()
    digest = compiled._digest(model)
    assert compiled._digest(tiny_model()) == digest
    assert compiled._digest(tiny_model(dtype=torch.float64)) != digest
    with monkeypatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: 77)  # is chosen at each call
        assert compiled._digest(tiny_model()) == digest
    with torch.no_grad():
        next(model.parameters())[0] += 1e-6
    assert compiled._digest(model) != digest
    # Covalent radii stand in no checkpoint, but in the machine code.
    other = tiny_model()
    for buffer in other.buffers():
        if buffer.is_floating_point():
            buffer *= 1.001
    assert compiled._digest(other) != digest


LOADED = """
import sys
import se3set_ase.nn.compiled, se3set_ase.nn.light.network
rooms = "se3set_ase.nn", "se3set_ase.hypergraph"
names = [name for name in sys.modules if name.startswith(rooms)]
print("\\n".join(sys.modules[name].__file__ for name in names))
"""


def test_every_source_of_the_machine_code_decides_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True
    )
    traced = {Path(line) for line in done.stdout.splitlines()}
    package = Path(compiled.__file__).parents[1]
    nested = package / "nn" / "light" / "cartesian.py"
    assert {nested, package / "nn" / "graph.py", package / "hypergraph" / "radii.py"} <= traced

    model, changed = tiny_model(), set()
    monkeypatch.setattr(compiled, "sha256_of", lambda path: f"{path} {path in changed}")
    before = compiled._digest(model)
    for path in sorted(traced):
        changed = {path}
        assert compiled._digest(model) != before, path
    changed = {package / "cli" / "main.py"}  # the control
    assert compiled._digest(model) == before


def test_refused_where_it_cannot_be_done(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CalculatorSetupError, match="expected scatter 'native'"):
        make(compile=True, scatter="torch_scatter")
    published = SE3Set(
        elements=(1, 6),
        hypergraph=HypergraphConfig(),
        network=PublishedConfig(blocks=1),
        atomic_energies=(0.0, 0.0),
    )
    with pytest.raises(compiled.CompilationError, match="expected the light network"):
        compiled.compiled(published)
    monkeypatch.setenv(compiled.CACHE_VARIABLE, str(tmp_path))
    # Not by monkeypatch, which would leave torch without this setting.
    with (
        torch._inductor.config.patch({"cpp.cxx": ("/no/such/compiler",)}),
        pytest.raises(CalculatorSetupError, match="expected a C\\+\\+ compiler"),
    ):
        make(compile=True)
    assert torch._inductor.config.cpp.cxx
    assert not list(tmp_path.glob("*.pt2"))


def test_a_cache_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(compiled.CACHE_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(CompilationError, match=r"can be written, got .*: set SE3SET_ASE_CACHE"):
        compiled.compiled(tiny_model())


def test_a_relative_cache_path_is_the_same_in_each_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for given in ("kept", "~/kept", str(tmp_path / "kept")):
        monkeypatch.setenv(compiled.CACHE_VARIABLE, given)
        for working in (tmp_path, Path(__file__).parent):
            monkeypatch.chdir(working)
            assert compiled.cache_folder() == tmp_path / "kept", (given, working)
