"""The rules that keep the package one piece: who imports whom, and what an import may do."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import pytest

import se3set_ase
from se3set_ase.checkpoint import models_folder

ROOT = Path(__file__).parents[1]
PACKAGE = Path(se3set_ase.__file__).parent
RESEARCH = ROOT / "research"
MAX_LINES = 350

# A package (or a module at the root) may import only those of earlier rows.
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"_lazy", "_lock", "system"}),
    frozenset({"io"}),
    frozenset({"pictures"}),
    frozenset({"hypergraph"}),
    frozenset({"nn"}),
    frozenset({"checkpoint", "events"}),
    frozenset({"baseline", "compilation", "supported"}),
    frozenset({"prediction"}),
    frozenset({"uncertainty"}),
    frozenset({"pipeline"}),
    frozenset({"potential"}),
    frozenset({"derivatives"}),
    frozenset({"calculator"}),
    frozenset({"evaluate", "integrations", "simulate"}),
    frozenset({"jobs", "visualize"}),
    frozenset({"label", "train"}),
    frozenset({"learning"}),
    frozenset({"cli"}),
    frozenset({"__main__"}),
)
# The same for the files of one package: from positions to hypergraphs, without a way back.
FILES: dict[str, tuple[frozenset[str], ...]] = {
    "hypergraph": (
        frozenset({"bond_graph", "config", "functional_groups", "radii", "structure", "valences"}),
        frozenset({"lattice"}),
        frozenset({"bonds", "published_recipe", "weighted"}),
        frozenset({"fragments"}),
        frozenset({"outcomes"}),
        frozenset({"polynomials"}),
        frozenset({"wrapping"}),
        frozenset({"mixing"}),
        frozenset({"build"}),
        frozenset({"listing"}),
        frozenset({"refragment"}),
    ),
}

MAY_PRINT = {"cli", "__main__"}

# Calls that change the state of the whole process, or that could run a stranger's code.
FORBIDDEN_CALLS = {
    "set_default_dtype",
    "set_default_device",
    "set_default_tensor_type",
    "basicConfig",
    "simplefilter",
    "filterwarnings",
}
FORBIDDEN_MODULES = {"pickle", "dill", "cloudpickle", "joblib"}

# Run in a fresh interpreter: no import of the package may print, reach for the network, or change
# a default of torch or e3nn.
QUIET_IMPORT = """
import importlib, socket, sys
import e3nn, torch

def refuse(*args, **kwargs):
    raise AssertionError("an import reached for the network")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse

def state():
    return (
        torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled(),
        torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(),
        torch.get_float32_matmul_precision(), torch.initial_seed(),
        torch.get_rng_state().sum().item(), dict(e3nn.get_optimization_defaults()),
    )

before = state()
for name in sys.argv[1:]:
    importlib.import_module(name)
    assert state() == before, f"importing {name} changed {before} to {state()}"
"""


def sources() -> list[Path]:
    """The modules of the package, the bundled models left out."""
    return sorted(p for p in PACKAGE.rglob("*.py") if "models" not in p.relative_to(PACKAGE).parts)


def research() -> list[Path]:
    """The modules that make the data and the models, and measure them."""
    return sorted(RESEARCH.rglob("*.py"))


def label(path: Path) -> str:
    return path.relative_to(PACKAGE if path.is_relative_to(PACKAGE) else ROOT).as_posix()


def dotted(path: Path) -> tuple[str, ...]:
    """``nn/graph.py`` -> ("se3set_ase", "nn", "graph"); a package's own file is the package."""
    parts = (PACKAGE.name, *path.relative_to(PACKAGE).with_suffix("").parts)
    return parts[:-1] if parts[-1] == "__init__" else parts


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(tree: ast.AST, path: Path) -> Iterator[str]:
    """Every module that the file imports, absolute, wherever in the file the import stands."""
    package = dotted(path) if path.name == "__init__.py" else dotted(path)[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from se3set_ase import nn` imports a room just as `import se3set_ase.nn` does.
            yield from (f"{module}.{alias.name}" for alias in node.names)


def wrong_way(tree: ast.AST, path: Path) -> set[str]:
    """What the file imports of its own or a later layer, of the package or of its own folder."""
    here = room_of(path)
    found = later(tree, path, (PACKAGE.name,), here, LAYERS)
    if here in FILES and path.name != "__init__.py":
        found |= later(tree, path, (PACKAGE.name, here), path.stem, FILES[here])
    return found


def later(
    tree: ast.AST, path: Path, inside: tuple[str, ...], here: str, layers: Sequence[frozenset[str]]
) -> set[str]:
    rank = {name: row for row, layer in enumerate(layers) for name in layer}
    split = [tuple(name.split(".")) for name in imports(tree, path)]
    n = len(inside)
    names = {parts[n] for parts in split if parts[:n] == inside and len(parts) > n} & set(rank)
    return {name for name in names if name != here and rank[name] >= rank[here]}


def called_name(node: ast.Call) -> str:
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def broken_rules(tree: ast.AST, path: Path) -> list[str]:
    """Calls and imports that no file of the package may have."""
    found = []
    for name in imports(tree, path):
        if name.split(".")[0] in FORBIDDEN_MODULES:
            found.append(f"imports {name}")
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = called_name(node)
        # `warnings.filterwarnings` inside `with warnings.catch_warnings()` is local: see below.
        if name in FORBIDDEN_CALLS and not inside_catch_warnings(tree, node):
            found.append(f"line {node.lineno} calls {name}")
        if isinstance(node.func, ast.Name) and name == "print" and room_of(path) not in MAY_PRINT:
            found.append(f"line {node.lineno} prints")
        if isinstance(node.func, ast.Attribute) and ast.unparse(node.func) == "torch.load":
            safe = [k for k in node.keywords if k.arg == "weights_only"]
            if not (safe and isinstance(safe[0].value, ast.Constant) and safe[0].value.value):
                found.append(f"line {node.lineno} calls torch.load without weights_only=True")
    return found


def tricks(tree: ast.AST) -> list[str]:
    """Changes of the import path, and patches of other modules."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.path":
            found.append(f"line {node.lineno} uses sys.path")
        if isinstance(node, ast.ImportFrom | ast.Import):
            names = [alias.name for alias in node.names]
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else names
            found += [f"imports {name}" for name in modules if name.startswith("unittest")]
    return found


def inside_catch_warnings(tree: ast.AST, call: ast.Call) -> bool:
    return any(
        isinstance(block, ast.With)
        and any("catch_warnings" in ast.unparse(item) for item in block.items)
        and any(node is call for node in ast.walk(block))
        for block in ast.walk(tree)
    )


@pytest.mark.parametrize("path", sources(), ids=label)
def test_imports_go_one_way(path: Path) -> None:
    if path == PACKAGE / "__init__.py":
        return  # loads its public names when they are first used
    here = room_of(path)
    assert any(here in layer for layer in LAYERS), f"give {here} its place in LAYERS"
    if here in FILES and path.name != "__init__.py":
        placed = any(path.stem in layer for layer in FILES[here])
        assert placed, f"give {label(path)} its place in FILES"
    assert not wrong_way(ast.parse(path.read_text()), path)


@pytest.mark.parametrize("path", sources(), ids=label)
def test_no_forbidden_calls_or_imports(path: Path) -> None:
    assert broken_rules(ast.parse(path.read_text()), path) == []


@pytest.mark.parametrize("path", research(), ids=label)
def test_research_needs_no_tricks(path: Path) -> None:
    assert tricks(ast.parse(path.read_text())) == []


@pytest.mark.parametrize("path", sources(), ids=label)
def test_the_package_does_not_need_research(path: Path) -> None:
    names = {name.split(".")[0] for name in imports(ast.parse(path.read_text()), path)}
    assert not names & {"research", "tests"}


def test_models_are_weights_and_cards_only() -> None:
    folder = models_folder()
    assert folder is not None
    kinds = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert {".safetensors", ".json"} <= kinds <= {".safetensors", ".json", ".md", ".png"}


@pytest.mark.parametrize("path", [*sources(), *research()], ids=label)
def test_file_has_one_purpose(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= MAX_LINES, f"{label(path)} has {lines} lines: split it"


def test_the_walk_from_positions_to_forces_names_files_that_exist() -> None:
    root = Path(__file__).parents[1]
    text = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    stops = re.findall(r"^\d\. `(se3set_ase/[\w/]+\.py)`", text, re.MULTILINE)
    assert 4 <= len(stops) <= 8
    assert [stop for stop in stops if not (root / stop).is_file()] == []


def test_the_rules_catch_what_they_forbid() -> None:
    """The control: each rule, given code that breaks it."""
    inside = PACKAGE / "nn" / "control.py"
    for text, expected in (
        ("from se3set_ase.calculator import X", {"calculator"}),
        ("from se3set_ase import cli", {"cli"}),
        ("from ..potential import Potential", {"potential"}),
        ("from .. import checkpoint", {"checkpoint"}),
        ("def f():\n    import se3set_ase.checkpoint.store", {"checkpoint"}),
        ("from .graph import Graph\nfrom se3set_ase.hypergraph.structure import H", set()),
    ):
        assert wrong_way(ast.parse(text), inside) == expected, text
    bonds = PACKAGE / "hypergraph" / "bonds.py"
    for text, expected in (
        ("from se3set_ase.hypergraph.build import build_hypergraph", {"build"}),
        ("from .mixing import Mixture", {"mixing"}),
        ("from se3set_ase.hypergraph.radii import COVALENT_RADII", set()),
    ):
        assert wrong_way(ast.parse(text), bonds) == expected, text
    for text in (
        "import pickle",
        "print('x')",
        "torch.set_default_dtype(torch.float64)",
        "logging.basicConfig()",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "warnings.simplefilter('ignore')",
    ):
        assert len(broken_rules(ast.parse(text), inside)) == 1, text
    for text in (
        "torch.load(path, weights_only=True)",
        "with warnings.catch_warnings():\n    warnings.simplefilter('ignore')",
        "bar.print('x')",
    ):
        assert broken_rules(ast.parse(text), inside) == [], text


@pytest.mark.parametrize(
    "text",
    [
        "import sys\nsys.path.insert(0, '.')",
        "from unittest.mock import patch",
        "import unittest.mock",
    ],
)
def test_tricks_are_found(text: str) -> None:
    """The control of :func:`test_research_needs_no_tricks`."""
    assert len(tricks(ast.parse(text))) == 1


def faces() -> list[ModuleType]:
    """The package itself, and its packages that load their public names when first used."""
    names = [".".join(dotted(path)) for path in sources() if path.name == "__init__.py"]
    modules = map(importlib.import_module, names)
    return [module for module in modules if hasattr(module, "_HOMES")]


@pytest.mark.parametrize("face", faces(), ids=lambda face: face.__name__)
def test_public_names_are_there(face: ModuleType) -> None:
    assert {*face.__all__} == {*face._HOMES, *({"__version__"} & {*vars(face)})}
    for name in face.__all__:
        assert getattr(face, name) is not None
        assert name in dir(face)
        # A name that is also a module would be one or the other, as imports happen to come.
        assert not (Path(face.__file__).parent / f"{name}.py").exists()
        assert not (Path(face.__file__).parent / name).is_dir()
    with pytest.raises(AttributeError, match=f"module '{face.__name__}' has no attribute"):
        _ = face.nonsense


def test_packages_have_public_names() -> None:
    """The control of :func:`faces`."""
    assert {"se3set_ase", "se3set_ase.simulate"} <= {face.__name__ for face in faces()}


def test_importing_the_package_is_light() -> None:
    heavy = {"torch", "ase", "rdkit", "e3nn", "numpy", "matplotlib"}
    code = "import sys, se3set_ase; print(sorted(set(sys.argv[1:]) & set(sys.modules)))"
    assert run_python(code, *sorted(heavy)).stdout.strip() == "[]"


def test_the_networks_need_no_chemistry() -> None:
    """Any part of `nn` loads torch, and neither ASE, RDKit nor SciPy."""
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "print(sorted({'ase', 'rdkit', 'scipy', 'torch'} & set(sys.modules)))"
    )
    inside = [".".join(dotted(path)) for path in sources() if room_of(path) == "nn"]
    assert {"se3set_ase.nn.graph", "se3set_ase.nn.published.network"} <= {*inside}
    assert run_python(code, *inside).stdout.strip() == "['torch']"
    control = run_python(code, "se3set_ase.hypergraph.build").stdout.strip()
    assert control == "['ase', 'rdkit', 'scipy']"


def test_imports_are_quiet_and_change_nothing() -> None:
    names = [".".join(dotted(path)) for path in sources() if path.stem != "__main__"]
    done = run_python(QUIET_IMPORT, *names)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def run_python(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter, warnings being errors there too."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *args],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_what_no_bundled_model_needs_is_not_loaded() -> None:
    """e3nn takes a second and a half to load, and is of the published network alone."""
    code = "import sys; from se3set_ase import Potential; {}; print('e3nn' in sys.modules)"
    asked = (
        "Potential('organic')",
        "import se3set_ase.nn.published.network",
    )  # the second: the control
    assert [run_python(code.format(what)).stdout.strip() for what in asked] == ["False", "True"]
