"""The model as machine code: energy and forces in one call, compiled once and cached on disk.

Energies and their gradient are traced together (``make_fx``) with symbolic sizes, so that one
library serves all molecules and hypergraphs, and compiled ahead of time by the inductor of torch.
The library is in the cache folder of the user, where other processes find it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import secrets
import time
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from platformdirs import user_cache_path
from torch import Tensor
from torch.nn.functional import pad

from se3set_ase.hypergraph.structure import EXACT_BONDS, Counts
from se3set_ase.io.files import replace, sha256_of
from se3set_ase.nn.graph import FIELDS, Graph, Sizes
from se3set_ase.nn.light.network import LightNetwork
from se3set_ase.nn.model import SE3Set
from se3set_ase.nn.outputs import Outputs, outputs

_LOGGER = logging.getLogger(__name__)

#: Environment variable for the folder of compiled models.
CACHE_VARIABLE = "SE3SET_ASE_CACHE"
#: Number of compiled models that are kept, about 5 MB each.
KEPT = 32
#: Packages whose functions and constants are in the traced code.
TRACED = ("hypergraph", "nn")
#: Largest number of factors of a term; others are evaluated by the model itself.
FACTORS = EXACT_BONDS


class CompiledModel:
    """A function of positions (N, 3), float64, and a :func:`padded` graph of these atoms.

    Results are padded as the graph, except for energies, forces and charges.

    Parameters
    ----------
    path : library made by :func:`compiled`. A copy or a pickle loads it again.
    """

    def __init__(self, path: Path):
        self.path = path
        self._run = torch._inductor.aoti_load_package(str(path)).loader.run

    def __call__(self, positions: Tensor, graph: Graph) -> Outputs:
        n_atoms, n_molecules = len(positions), len(graph.n_atoms)
        more = len(graph.species) - n_atoms
        # An additional molecule without atoms: sizes 0 and 1 are special for the compiler.
        n_atoms_each, charge = pad(graph.n_atoms, (0, 1)), pad(graph.charge, (0, 1))
        graph = graph._replace(n_atoms=n_atoms_each, charge=charge)
        found = Outputs(*self._run([pad(positions, (0, 0, 0, more)), *graph]))
        return found._replace(
            energy=found.energy[:n_molecules],
            forces=found.forces[:n_atoms],
            energies=found.energies[:n_atoms],
            charges=found.charges[:n_atoms],
        )

    def __reduce__(self) -> tuple[type, tuple[Path]]:
        return CompiledModel, (self.path,)


class CompilationError(ValueError):
    """``compile=True`` is not possible here or with this model; the text says why."""


def compiled(model: SE3Set) -> CompiledModel:
    """:func:`se3set_ase.nn.model.outputs` of this model, compiled for its device and dtype.

    It is loaded from the cache folder if any process has compiled it for the same weights, version
    of torch and type of processor. Otherwise compilation takes minutes; the logger
    ``se3set_ase.nn.compiled`` says when it starts and when it is done. It uses one thread.

    Raises
    ------
    CompilationError : no compiler, an old torch, an unsupported network, or a cache folder that
        is not writable.
    """
    if not isinstance(model.network, LightNetwork):
        raise CompilationError(
            f"expected the light network to compile, got {model.architecture!r}: use compile=False"
        )
    folder = cache_folder()
    path = folder / f"{_digest(model)}.pt2"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = _acquired(FileLock(path.with_suffix(".lock")))
    except OSError as error:
        raise CompilationError(
            f"expected a folder for compiled models that can be written, got {folder} "
            f"({error}): set {CACHE_VARIABLE}"
        ) from error
    with lock:
        if path.exists():
            try:
                os.utime(path)  # recently used: the last to be removed
                return CompiledModel(path)
            except (RuntimeError, OSError, ValueError) as error:
                _LOGGER.warning("%s cannot be loaded (%s): compiling again", path, error)
                path.unlink(missing_ok=True)
        # Warnings, because nobody sees less by default, and a program that is silent for minutes
        # looks as if it hung.
        _LOGGER.warning("compiling the model, which takes a minute or two, once on this computer")
        started = time.monotonic()
        _compile(model, path)
        seconds = time.monotonic() - started
        _LOGGER.warning("compiled the model in %.0f s; it is kept in %s", seconds, folder)
        for old in sorted(folder.glob("[!.]*.pt2"), key=_last_used)[:-KEPT]:
            old.unlink(missing_ok=True)
            old.with_suffix(".lock").unlink(missing_ok=True)
        return CompiledModel(path)


def is_compiled(model: SE3Set) -> bool:
    """Whether :func:`compiled` finds this model in the cache folder."""
    return (cache_folder() / f"{_digest(model)}.pt2").exists()


def _acquired(lock: FileLock) -> Any:
    """The lock, as soon as no other process compiles the same model."""
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        _LOGGER.warning("another process is compiling the same model: waiting for it")
        return lock.acquire()


def _last_used(path: Path) -> float:
    """Time of last use, seconds; another process may have removed the file."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def cache_folder() -> Path:
    """The folder of compiled models. It must contain only code that you compiled.

    A relative path starts at the home folder, so that each process finds the same folder, whatever
    its working folder is.
    """
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path.home() / Path(given).expanduser()
    return user_cache_path("se3set-ase") / "compiled"


def padded(sizes: Sizes) -> Sizes | None:
    """Lengths that a graph needs for compiled code, or None if it has too many factors."""
    if sizes.factors > FACTORS:
        return None
    least = {k: max(v, 2) for k, v in sizes._asdict().items()}
    return Sizes(**{**least, "bonds": max(sizes.bonds + 1, 2), "factors": FACTORS})


def _processor() -> str:
    """Instruction set of this processor, because several types may share a home folder."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _sources() -> list[Path]:
    """Source files that affect the machine code, including subfolders."""
    package = Path(__file__).parents[1]
    return sorted(path for room in TRACED for path in (package / room).rglob("*.py"))


def _digest(model: SE3Set) -> str:
    """Hash of everything that affects the machine code: weights, sources, environment."""
    device = model.device
    # Not the choice of the inductor, which compiles and loads test programs in every process.
    capability = torch.backends.cpu.get_cpu_capability()
    about: dict[str, Any] = {
        "model": model.to_config(),
        "dtype": str(model.dtype),
        "torch": torch.__version__,
        "machine": [platform.system(), platform.machine(), capability, _processor()],
        "device": device.type,
        "source": [sha256_of(path) for path in _sources()],
    }
    if device.type == "cuda":
        about["gpu"] = [torch.cuda.get_device_name(device), torch.version.cuda]
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    # Constants are part of the machine code, including radii, which no checkpoint has.
    for name, tensor in {**model.state_dict(), **dict(model.named_buffers())}.items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


def _compile(model: SE3Set, path: Path) -> None:
    """Trace, compile and write atomically."""
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
        get_cpp_compiler()  # otherwise a missing compiler is found after a minute
        with torch.no_grad():
            traced, inputs = _trace(model.with_backend("native"))
            _LOGGER.info("traced the model; generating and compiling machine code")
            files = aot_compile(
                traced,
                inputs,
                options={
                    "aot_inductor.package": True,
                    # The wrapper only calls kernels, so optimising it has no benefit.
                    "aot_inductor.compile_wrapper_opt_level": "O0",
                    # Graphs come from this package, so their indices are valid.
                    "assert_indirect_indexing": False,
                    # Otherwise the number of threads at compilation is part of the code. With
                    # more than one, sums need atomic additions, which are slower.
                    "cpp.threads": 1,
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

    All lengths are different, because equal lengths would share a symbol.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx
    from torch.fx.experimental.symbolic_shapes import (
        DimDynamic,
        ShapeEnv,
        StatelessSymbolicContext,
    )

    lengths = dict(zip(Counts._fields, (13, 31, 7, 29, 23, 11, 53, 97, 41), strict=True))
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
