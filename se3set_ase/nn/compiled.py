"""The model as machine code: energy and forces in one call, compiled once and kept on disk.

Energies and their gradient are traced together (``make_fx``) with symbolic sizes, so that one
library serves every molecule and every hypergraph, and compiled ahead of time by torch's
inductor. It lies in the user's cache folder, where other processes find it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import secrets
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from platformdirs import user_cache_path
from torch import Tensor
from torch.nn.functional import pad

from se3set_ase.hypergraph.structure import EXACT_BONDS
from se3set_ase.io.files import replace, sha256_of
from se3set_ase.nn.graph import COUNTS, FIELDS, Graph, Sizes
from se3set_ase.nn.light.network import LightNetwork
from se3set_ase.nn.model import Outputs, SE3Set, outputs

_LOGGER = logging.getLogger(__name__)

#: Environment variable: where to keep compiled models instead of the user's cache folder.
CACHE_VARIABLE = "SE3SET_ASE_CACHE"
#: Compiled models that the folder keeps, the latest ones: some 5 MB each.
KEPT = 32
#: Packages that the traced code takes functions and constants from.
TRACED = ("hypergraph", "nn")
#: Factors of a term; terms of more ambiguous bonds than this are for the model itself.
FACTORS = EXACT_BONDS


class CompiledModel:
    """A function of positions (N, 3), float64, and a :func:`padded` graph of these atoms, any one.

    What it returns is padded as the graph is, but for energies and forces.

    Parameters
    ----------
    path : of a library that :func:`compiled` made. A copy, or a pickle, loads it again.
    """

    def __init__(self, path: Path):
        self.path = path
        self._run = torch._inductor.aoti_load_package(str(path)).loader.run

    def __call__(self, positions: Tensor, graph: Graph) -> Outputs:
        n_atoms, n_molecules = len(positions), len(graph.n_atoms)
        more = len(graph.species) - n_atoms
        # One more molecule, of no atoms: sizes 0 and 1 are special to the compiler.
        graph = graph._replace(n_atoms=pad(graph.n_atoms, (0, 1)))
        found = Outputs(*self._run([pad(positions, (0, 0, 0, more)), *graph]))
        return found._replace(
            energy=found.energy[:n_molecules],
            forces=found.forces[:n_atoms],
            energies=found.energies[:n_atoms],
        )

    def __reduce__(self) -> tuple[type, tuple[Path]]:
        return CompiledModel, (self.path,)


class CompilationError(ValueError):
    """``compile=True`` cannot be had here, or not with this model; the text says why."""


def compiled(model: SE3Set) -> CompiledModel:
    """:func:`se3set_ase.nn.model.outputs` of this model, compiled for its device and dtype.

    From the cache folder if it was compiled before, in any process: for the same weights,
    version of torch, kind of processor and number of threads. Minutes otherwise, once.

    Raises
    ------
    CompilationError : no compiler, an old torch, a network that this is not made for, or a cache
        folder that cannot be written.
    """
    if not isinstance(model.network, LightNetwork):
        raise CompilationError(
            f"expected the light network to compile, got {model.architecture!r}: use compile=False"
        )
    folder = cache_folder()
    path = folder / f"{_digest(model)}.pt2"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = FileLock(path.with_suffix(".lock")).acquire()  # others who want the same wait
    except OSError as error:
        raise CompilationError(
            f"expected a folder for compiled models that can be written, got {folder} "
            f"({error}): set {CACHE_VARIABLE}"
        ) from error
    with lock:
        if path.exists():
            try:
                os.utime(path)  # used: the last to go
                return CompiledModel(path)
            except (RuntimeError, OSError, ValueError) as error:
                _LOGGER.warning("%s cannot be loaded (%s): compiling anew", path, error)
                path.unlink(missing_ok=True)
        _LOGGER.info("compiling the model, once, to %s", path)
        _compile(model, path)
        for old in sorted(folder.glob("[!.]*.pt2"), key=_last_used)[:-KEPT]:
            old.unlink(missing_ok=True)
            old.with_suffix(".lock").unlink(missing_ok=True)
        return CompiledModel(path)


def _last_used(path: Path) -> float:
    """Seconds; another process may have removed it meanwhile."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def cache_folder() -> Path:
    """Where compiled models are kept: nothing but code of your own making belongs there."""
    given = os.environ.get(CACHE_VARIABLE)
    return Path(given) if given else user_cache_path("se3set-ase") / "compiled"


def padded(sizes: Sizes) -> Sizes | None:
    """Lengths that a graph needs for compiled code, or None if it has too many factors."""
    if sizes.factors > FACTORS:
        return None
    least = {k: max(v, 2) for k, v in sizes._asdict().items()}
    return Sizes(**{**least, "bonds": max(sizes.bonds + 1, 2), "factors": FACTORS})


def _processor() -> str:
    """What code made for this very processor may use; a home folder is seen by several kinds."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _sources() -> list[Path]:
    """Files that decide the machine code, in subfolders too."""
    package = Path(__file__).parents[1]
    return sorted(path for room in TRACED for path in (package / room).rglob("*.py"))


def _digest(model: SE3Set) -> str:
    """Of all that the machine code depends on, beside the weights its own source."""
    from torch._inductor.cpu_vec_isa import pick_vec_isa

    device = model.device
    about: dict[str, Any] = {
        "model": model.to_config(),
        "dtype": str(model.dtype),
        "torch": torch.__version__,
        "machine": [platform.system(), platform.machine(), str(pick_vec_isa()), _processor()],
        "threads": torch.get_num_threads(),
        "device": device.type,
        "source": [sha256_of(path) for path in _sources()],
    }
    if device.type == "cuda":
        about["gpu"] = [torch.cuda.get_device_name(device), torch.version.cuda]
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    # Constants are part of the machine code, those that no checkpoint has (radii) too.
    for name, tensor in {**model.state_dict(), **dict(model.named_buffers())}.items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


def _compile(model: SE3Set, path: Path) -> None:
    """Trace, compile, write; the file appears whole or not at all."""
    try:
        from torch._inductor import aot_compile
        from torch._inductor.cpp_builder import get_cpp_compiler
        from torch._inductor.exc import InvalidCxxCompiler
        from torch._inductor.package.package import package_aoti
    except ImportError as error:
        raise CompilationError(
            f"expected torch 2.6 or newer to compile, got {torch.__version__}: use compile=False"
        ) from error
    temporary = path.with_name(f".{secrets.token_hex(6)}.pt2")
    try:
        get_cpp_compiler()  # or its absence is found out after a minute
        with torch.no_grad():
            traced, inputs = _trace(model.with_backend("native"))
            files = aot_compile(
                traced,
                inputs,
                options={
                    "aot_inductor.package": True,
                    # The wrapper only calls kernels: optimising it gains nothing.
                    "aot_inductor.compile_wrapper_opt_level": "O0",
                    # Graphs are this package's own: their indices lie within.
                    "assert_indirect_indexing": False,
                },
            )
        package_aoti(str(temporary), {"model": files})  # type: ignore[dict-item]
        replace(temporary, path)
    except InvalidCxxCompiler as error:
        raise CompilationError(
            "expected a C++ compiler to compile the model, found none (set CXX, or install g++ "
            "or clang++): use compile=False"
        ) from error
    except RuntimeError as error:
        raise CompilationError(
            f"the model cannot be compiled here, use compile=False: {error}"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _trace(model: SE3Set) -> tuple[torch.fx.GraphModule, tuple[Tensor, ...]]:
    """The plain operations behind :func:`outputs`, with a symbol for each length.

    Lengths that coincide would share a symbol: these are all different.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx
    from torch.fx.experimental.symbolic_shapes import (
        DimDynamic,
        ShapeEnv,
        StatelessSymbolicContext,
    )

    lengths = dict(zip(COUNTS, (13, 31, 7, 29, 23, 11, 53, 97), strict=True))
    fake = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)

    def symbolic(length: int, width: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        context: Any = StatelessSymbolicContext(
            dynamic_sizes=[DimDynamic.DUCK, *(DimDynamic.STATIC for _ in width)]
        )
        example = torch.zeros((length, *width), dtype=dtype, device=model.device)
        return fake.from_tensor(example, symbolic_context=context)

    inputs = (
        symbolic(lengths["atoms"], (3,), torch.float64),
        *(
            symbolic(lengths[field.per], field.width, model.dtype if field.real else torch.int64)
            for field in FIELDS.values()
        ),
    )

    def call(positions: Tensor, *graph: Tensor) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            return tuple(outputs(model, positions, Graph(*graph)))

    return make_fx(call)(*inputs), inputs
