"""Compiles a model in another process, while the model itself answers."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import torch

from se3set_ase.checkpoint.store import load_checkpoint
from se3set_ase.io.text import warn_each_time
from se3set_ase.nn.compiled import CompiledModel, compiled, is_compiled
from se3set_ase.nn.context import plain_torch_context
from se3set_ase.nn.model import SE3Set


class Compilation:
    """A compilation in another process, at most one at a time for each model on a computer.

    It continues if this process ends, so that the compiled model is there next time.

    Parameters
    ----------
    path : model folder or file.
    model : the same, loaded; its device, dtype and way of refragmentation are those to compile for.
    """

    def __init__(self, path: Path, model: SE3Set):
        self._path, self._model = path, model
        self._ended: subprocess.CompletedProcess[str] | None = None
        self._waiting = threading.Thread(target=self._run, daemon=True)
        if not is_compiled(model):
            self._waiting.start()

    def _run(self) -> None:
        """Wait for the other process."""
        path, model = self._path, self._model
        dtype = str(model.dtype).removeprefix("torch.")
        arguments = [str(path.resolve()), str(model.device), dtype, str(int(model.hypergraph.hard))]
        package = str(Path(__file__).parents[1])
        search = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        self._ended = subprocess.run(
            [sys.executable, "-m", __name__, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env={**os.environ, "PYTHONPATH": search},
            check=False,
        )

    def running(self) -> bool:
        """Whether there is no result yet."""
        return self._waiting.is_alive()

    def result(self) -> CompiledModel | None:
        """The compiled model; None, with a warning, if compilation failed."""
        if self._ended is not None and self._ended.returncode != 0:
            lines = self._ended.stderr.strip().splitlines()
            reason = lines[-1] if lines else f"exit status {self._ended.returncode}"
            warn_each_time(f"the model runs without compilation, which failed: {reason}")
            return None
        with plain_torch_context(self._model.device):
            return compiled(self._model)

    def __reduce__(self) -> tuple[type, tuple[Path, SE3Set]]:
        return Compilation, (self._path, self._model)


def main() -> None:
    """Compile the model of the command line: path, device, dtype, and whether it is hard."""
    path, device, dtype, hard = sys.argv[1:]
    with plain_torch_context():
        model, _ = load_checkpoint(
            Path(path), dtype=getattr(torch, dtype), device=device, hard=bool(int(hard))
        )
    with plain_torch_context(model.device):
        compiled(model)


if __name__ == "__main__":
    main()
