"""A trained model that predicts energies and forces of molecules.

:class:`se3set_ase.SE3SetCalculator` is built on it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
import torch
from ase import Atoms

from se3set_ase.baseline import Baseline, CalculatorFactory
from se3set_ase.checkpoint.metadata import ModelMetadata
from se3set_ase.checkpoint.registry import resolve_model
from se3set_ase.checkpoint.store import load_checkpoint
from se3set_ase.compilation import Compilation
from se3set_ase.hypergraph.mixing import FragmentMixer
from se3set_ase.hypergraph.structure import Hypergraph
from se3set_ase.io.text import warn_each_time
from se3set_ase.nn.cells import Cells, InCells, outputs_in_cells
from se3set_ase.nn.compiled import compiled, padded
from se3set_ase.nn.context import plain_torch_context
from se3set_ase.nn.dipole import dipole_derivatives
from se3set_ase.nn.graph import Graph, Sizes, collate, sizes_of
from se3set_ase.nn.hessian import hessian
from se3set_ase.nn.model import SE3Set
from se3set_ase.nn.outputs import Outputs, outputs
from se3set_ase.nn.threads import threads_for
from se3set_ase.pipeline import Batch, Replica, same_objects
from se3set_ase.prediction import Prediction, predictions_of, stress_of
from se3set_ase.supported import check_supported
from se3set_ase.system import UnsupportedSystem, declared_charge_and_spin
from se3set_ase.uncertainty.committee import Committee, committee_of
from se3set_ase.uncertainty.doubt import untrained

__all__ = ["Potential", "Prediction", "UnsupportedSystem"]

#: Largest number of edges in a pass: about 500 MB, or 3 GB on another device. Compiled code on a
#: CPU is fastest if its arrays stay in the cache (research/benchmarks/batches.py).
EDGES, EDGES_COMPILED, EDGES_ON_DEVICE = 2**14, 2**10, 2**18
#: Number of edges whose tensors are kept for the next step, about 100 bytes each.
EDGES_KEPT = 2**20

Evaluate = Callable[[torch.Tensor, Graph], Outputs]
Refragment = Literal["smooth", "hard"]
Scatter = Literal["native", "torch_scatter"]


class Potential:
    """A trained model, ready to predict.

    Parameters
    ----------
    model : name of a bundled model, or path of a model folder or file.
    device : ``"auto"`` (CUDA if there is one, else CPU) or a torch device.
    dtype : precision of the network, ``"float64"`` or ``"float32"``. Positions, sums of energies
        and results are always float64.
    refragment : ``"smooth"``, or ``"hard"`` to decide each bond and reach in the middle of its
        switching range. Hard energies jump; for comparison only.
    scatter : ``"native"``, or ``"torch_scatter"`` to sum over members with torch-scatter (extra
        ``scatter``). Energies are equal. It is not faster than native, which has hand-written
        gradients, and cannot be compiled.
    compile : compile the model, see :func:`se3set_ase.nn.compiled.compiled`: from 1.5 times (1000
        atoms) to 6 times (10 atoms) faster, with equal results to rounding. Takes a minute or two,
        once for each model and dtype on a computer. ``"background"`` does it in another process,
        and the potential answers at once, at the usual speed until then.
    baseline : for a model that corrects a method other than those in
        :data:`se3set_ase.baseline.KNOWN`: the class of an ASE calculator, or a function that
        returns one for the recorded options.

    Raises
    ------
    FileNotFoundError, CheckpointError : the model does not exist or is damaged.
    CompilationError : no compiler, or a network that cannot be compiled.
    ValueError : an unknown option.
    ImportError : torch-scatter, or the program of the baseline, is not installed.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        device: str | torch.device = "auto",
        dtype: Literal["float64", "float32"] = "float64",
        refragment: Refragment = "smooth",
        scatter: Scatter = "native",
        compile: bool | Literal["background"] = False,
        baseline: CalculatorFactory | None = None,
    ):
        if compile and scatter != "native":
            raise ValueError(f"expected scatter 'native' with compile=True, got {scatter!r}")
        if dtype not in ("float64", "float32"):
            raise ValueError(f"expected dtype 'float64' or 'float32', got {dtype!r}")
        if scatter not in get_args(Scatter):
            raise ValueError(f"expected scatter 'native' or 'torch_scatter', got {scatter!r}")
        if refragment not in ("smooth", "hard"):
            raise ValueError(
                "expected refragment 'smooth' or 'hard' (a calculator also takes 'frozen'), "
                f"got {refragment!r}"
            )
        if compile not in (False, True, "background"):
            raise ValueError(f"expected compile True, False or 'background', got {compile!r}")
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model: SE3Set
        self.metadata: ModelMetadata
        self.path = resolve_model(model)
        with plain_torch_context():
            self.model, self.metadata = load_checkpoint(
                self.path,
                dtype=getattr(torch, dtype),
                device=device,
                backend="by_hand" if scatter == "native" else scatter,
                hard=refragment == "hard",
            )
        self.baseline = self._baseline(baseline)
        with plain_torch_context(self.model.device):
            later = compile == "background"
            self._compiled = compiled(self.model) if compile and not later else None
            self._compilation = Compilation(self.path, self.model) if later else None
        self._mixer = FragmentMixer()
        self._reported: set[bytes] = set()
        self._last: dict[int, tuple[Sequence[Hypergraph], list[int], tuple[Evaluate, Graph]]] = {}

    def _baseline(self, make: CalculatorFactory | None) -> Baseline | None:
        if self.metadata.baseline is not None:
            return Baseline(self.metadata.baseline, make)
        if make is not None:
            raise ValueError(
                f"expected no baseline for {self.metadata.name!r}, which is not a correction"
            )
        return None

    def check(self, atoms: Atoms, *, charge: int = 0, spin_multiplicity: int = 1) -> None:
        """Raise :class:`UnsupportedSystem` unless the model supports the system."""
        without = {"compile=True": self._compiled or self._compilation, "a baseline": self.baseline}
        if atoms.pbc.any() and (why := [w for w, it in without.items() if it is not None]):
            raise UnsupportedSystem(
                f"expected an isolated molecule, got periodic boundaries {atoms.pbc.tolist()}: "
                f"cells are not possible with {why[0]}; set atoms.pbc = False"
            )
        check_supported(self.metadata, atoms, charge, spin_multiplicity)

    def check_declared(self, atoms: Atoms, charge: int, spin_multiplicity: int) -> tuple[int, int]:
        """Like :meth:`check`, but declared charges and spins take precedence; they are returned.

        Warns once about each molecule other than the few in the training data.
        """
        wanted = {"charge": charge, "spin_multiplicity": spin_multiplicity}
        state = {**wanted, **declared_charge_and_spin(atoms)}
        self.check(atoms, **state)
        self._warn_of_other_formula(atoms)
        return state["charge"], state["spin_multiplicity"]

    def _warn_of_other_formula(self, atoms: Atoms) -> None:
        if (numbers := np.sort(atoms.numbers).tobytes()) in self._reported:
            return
        self._reported.add(numbers)
        for reason in untrained(self.metadata, atoms.numbers):
            warn_each_time(reason)

    @cached_property
    def committee(self) -> Committee | None:
        """Further models that estimate the error of this one; None if it has none.

        Raises
        ------
        CheckpointError : the committee is damaged.
        """
        return committee_of(self.path, self)

    def like(self, model: str | os.PathLike[str]) -> Potential:
        """Another model with the same options, but not compiled."""
        return Potential(
            model,
            device=self.model.device,
            dtype="float64" if self.model.dtype == torch.float64 else "float32",
            refragment="hard" if self.model.hypergraph.hard else "smooth",
            baseline=None if self.baseline is None else self.baseline.make,
        )

    def predict(
        self,
        molecules: Sequence[Atoms],
        *,
        charge: int = 0,
        spin_multiplicity: int = 1,
        warn: bool = True,
    ) -> list[Prediction]:
        """Energies and forces of several independent molecules in one pass, and stress of cells.

        Declared charges and spins (see :func:`declared_charge_and_spin`) take precedence over the
        arguments.

        Parameters
        ----------
        warn : warn about molecules unlike the training data, if the model has a committee, whose
            members then evaluate each molecule as well.

        Raises
        ------
        TypeError : not a list of molecules.
        UnsupportedSystem, ValueError : see :meth:`check`, and for invalid geometries; the text
            starts with the number of the molecule if there are several.
        """
        molecules = check_several(molecules)
        options: dict[str, Any] = {"charge": charge, "spin_multiplicity": spin_multiplicity}
        options |= {"watched": warn, "skin": 0.0, "mixer": self._mixer}
        return Batch([Replica(self, **options) for _ in molecules]).follow(molecules)

    def evaluate(
        self,
        hypergraphs: Sequence[Hypergraph],
        positions: Sequence[np.ndarray],
        charges: Sequence[int],
        cells: Sequence[np.ndarray | None] | None = None,
    ) -> list[Prediction]:
        """Results of the network for existing hypergraphs, at positions (N, 3) each.

        ``charges`` are the total charges, and cells are (3, 3) Angstrom, or None if not periodic.

        A pass includes as many as fit into memory, or into the cache if compiled. The tensors of
        a pass are reused if its hypergraphs are the same objects as last time.
        """
        if not hypergraphs:
            return []
        cells = [None] * len(hypergraphs) if cells is None else cells
        if self._compilation is not None and not self._compilation.running():
            self._compiled, self._compilation, self._last = self._compilation.result(), None, {}
        most = EDGES_COMPILED if self._compiled else EDGES
        if self.model.device.type != "cpu":
            most = EDGES_ON_DEVICE
        before = np.cumsum([0] + [len(h.edge_atom) for h in hypergraphs[:-1]])
        starts = np.unique(before // most, return_index=True)[1].tolist()
        self._last = {n: kept for n, kept in self._last.items() if n < len(starts)}
        found = []
        for number, (start, end) in enumerate(pairwise([*starts, len(hypergraphs)])):
            at = slice(start, end)
            keep = number if before[start] < EDGES_KEPT else None
            found += self._evaluate(hypergraphs[at], positions[at], charges[at], cells[at], keep)
        return found

    def _evaluate(
        self,
        hypergraphs: Sequence[Hypergraph],
        positions: Sequence[np.ndarray],
        charges: Sequence[int],
        cells: Sequence[np.ndarray | None],
        number: int | None,
    ) -> list[Prediction]:
        """Evaluate hypergraphs in one pass; ``number`` is that under which its tensors are kept."""
        stresses: list[np.ndarray | None] = [None] * len(hypergraphs)
        n_edges = sum(len(h.edge_atom) for h in hypergraphs)
        with plain_torch_context(self.model.device), threads_for(n_edges):
            model, graph = self._collated(hypergraphs, charges, number)
            joined = np.concatenate(positions)  # a copy, because the atoms will move
            where = torch.as_tensor(joined, dtype=torch.float64, device=self.model.device)
            if all(cell is None for cell in cells):
                found = model(where, graph)._asdict()
            else:
                inside = self._cells(hypergraphs, positions, cells)
                results, virials = outputs_in_cells(self.model, where, graph, inside)
                found, stresses = results._asdict(), stress_of(virials.cpu().numpy(), cells)
            found = {name: t.double().cpu().numpy() for name, t in found.items()}
        if not self.model.has_charges:
            del found["charges"]
        return predictions_of(found | {"positions": joined}, hypergraphs, charges, cells, stresses)

    def hessian(
        self,
        hypergraph: Hypergraph,
        positions: np.ndarray,
        charge: int = 0,
        cell: np.ndarray | None = None,
    ) -> np.ndarray:
        """Second derivatives (3N, 3N) of the network, see :func:`se3set_ase.nn.hessian.hessian`."""
        with plain_torch_context(self.model.device):
            graph = self._collate([hypergraph], [charge], None)
            where = torch.as_tensor(positions, dtype=torch.float64, device=self.model.device)
            inside = None
            if cell is not None:
                inside = InCells(self.model, self._cells([hypergraph], [positions], [cell]))
            found: np.ndarray = hessian(inside or self.model, where, graph).cpu().numpy()
        return found

    def _cells(
        self,
        hypergraphs: Sequence[Hypergraph],
        positions: Sequence[np.ndarray],
        cells: Sequence[np.ndarray | None],
    ) -> Cells:
        pairs = self.model.long_range is not None
        return Cells.of(hypergraphs, positions, cells, pairs=pairs, device=self.model.device)

    def dipole_derivatives(
        self, hypergraph: Hypergraph, positions: np.ndarray, charge: int
    ) -> np.ndarray:
        """Derivatives (3N, 3) e of the dipole, see :mod:`se3set_ase.nn.dipole`."""
        with plain_torch_context(self.model.device):
            graph = self._collate([hypergraph], [charge], None)
            where = torch.as_tensor(positions, dtype=torch.float64, device=self.model.device)
            found: np.ndarray = dipole_derivatives(self.model, where, graph).cpu().numpy()
        return found

    def _collated(
        self, hypergraphs: Sequence[Hypergraph], charges: Sequence[int], number: int | None
    ) -> tuple[Evaluate, Graph]:
        """The function to evaluate, and its graph."""
        last = None if number is None else self._last.get(number)
        if last and same_objects(hypergraphs, last[0]) and list(charges) == last[1]:
            return last[2]
        pairs = self.model.long_range is not None
        sizes = padded(sizes_of(hypergraphs, pairs=pairs)) if self._compiled else None
        graph = self._collate(hypergraphs, charges, sizes)
        function = self._compiled if self._compiled and sizes else partial(outputs, self.model)
        if number is not None:
            self._last[number] = tuple(hypergraphs), list(charges), (function, graph)
        return function, graph

    def _collate(
        self, hypergraphs: Sequence[Hypergraph], charges: Sequence[int], sizes: Sizes | None
    ) -> Graph:
        return collate(
            hypergraphs,
            self.model.species_of,
            self.model.hypergraph,
            dtype=self.model.dtype,
            device=self.model.device,
            pad_to=sizes,
            charges=charges,
            # In cells, pairs depend on the positions.
            pairs=self.model.long_range is not None
            and not any(any(h.periodic) for h in hypergraphs),
        )


def check_several(molecules: Iterable[Atoms]) -> list[Atoms]:
    """The molecules as a list; TypeError for a single molecule, which is a sequence of atoms."""
    if isinstance(molecules, Atoms):
        raise TypeError("expected a list of Atoms, got a single Atoms object: use [atoms]")
    for index, atoms in enumerate(several := list(molecules)):
        if not isinstance(atoms, Atoms):
            raise TypeError(f"expected a list of Atoms, got {atoms!r} at {index}")
    return several
