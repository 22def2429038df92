"""Labelled geometries: read, checked frame by frame, turned into padded batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols
from ase.io import iread
from torch import Tensor

from se3set_ase.hypergraph import Hypergraph, HypergraphConfig, build_hypergraph
from se3set_ase.mixing import FragmentMixer
from se3set_ase.nn.graph import Graph, Sizes, collate, sizes_of
from se3set_ase.train.config import DataConfig


class DataError(ValueError):
    """Data that cannot be trained on; the text names the file and the frame."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One labelled geometry with its hypergraph. eV, Angstrom."""

    origin: str
    """File and number, for messages."""
    numbers: np.ndarray
    positions: np.ndarray
    energy: float
    forces: np.ndarray
    hypergraph: Hypergraph


class Batch(NamedTuple):
    """Some frames as tensors, padded."""

    positions: Tensor
    graph: Graph
    energy: Tensor
    forces: Tensor
    atoms_per_process: Tensor
    """Atoms of all processes' shares of the batch over the number of processes: what sums over
    atoms are divided by, so that the mean over processes is the mean over the whole batch."""


def read_frames(path: Path, config: HypergraphConfig, *, source: str = "") -> list[Frame]:
    """All frames of an extended XYZ file.

    Raises
    ------
    FileNotFoundError : says where to get the data (``source``).
    DataError : a frame without energy or forces, with values that are not finite, periodic, or a
        geometry that is none; named by its number, counted from 0.
    """
    mixer = FragmentMixer()
    frames = []
    for origin, atoms in _read(path, "training data", source):
        try:
            frames.append(_frame(atoms, origin, config, mixer))
        except ValueError as error:
            raise DataError(f"{origin}: {error}") from error
    return frames


def _read(path: Path, what: str, source: str) -> Iterator[tuple[str, Atoms]]:
    """Each frame of an extended XYZ file, after its name in messages."""
    if not path.is_file():
        where = f" ({source})" if source else ""
        raise FileNotFoundError(f"expected {what} at {path}{where}, got no such file")
    origin = f"{path}, frame 0"
    images = iread(path, index=":", format="extxyz", do_not_split_by_at_sign=True)
    for index in itertools.count():
        origin = f"{path}, frame {index}"
        try:
            atoms = next(images, None)
        # What ASE's reader raises on lines that it cannot make sense of.
        except (ValueError, LookupError, OSError, RuntimeError, AssertionError) as error:
            raise DataError(f"{origin}: cannot be read as extended XYZ: {error}") from error
        if atoms is None:
            break
        yield origin, atoms
    if index == 0:
        raise DataError(f"{path}: expected at least one frame, got none")


def _frame(atoms: Atoms, origin: str, config: HypergraphConfig, mixer: FragmentMixer) -> Frame:
    if len(atoms) == 0:
        raise ValueError("expected at least one atom, got none")
    if atoms.pbc.any():
        raise ValueError(
            'expected an isolated molecule (pbc="F F F" where there is a Lattice), '
            "got a periodic cell"
        )
    results = atoms.calc.results if atoms.calc is not None else {}
    for label in ("energy", "forces"):
        if label not in results:
            raise ValueError(f"expected a label {label!r}, got none")
        if not np.isfinite(results[label]).all():
            raise ValueError(f"expected finite {label}, got NaN or infinite values")
    return Frame(
        origin=origin,
        numbers=atoms.numbers.astype(np.int64),
        positions=atoms.positions.copy(),
        energy=float(results["energy"]),
        forces=np.asarray(results["forces"], dtype=np.float64),
        hypergraph=build_hypergraph(atoms.numbers, atoms.positions, config, mixer=mixer),
    )


def split(data: DataConfig, config: HypergraphConfig, seed: int) -> tuple[list[Frame], list[Frame]]:
    """Training and validation frames.

    Raises
    ------
    FileNotFoundError, DataError : see :func:`read_frames`; more frames asked for than there are;
        an element in the validation frames that no training frame has.
    """
    frames = read_frames(data.train, config, source=data.source)
    if isinstance(data.validation, Path):
        validation = read_frames(data.validation, config, source=data.source)
        order = np.arange(len(frames))
    else:
        if not 0 < data.validation < len(frames):
            raise DataError(
                f"{data.train}: expected fewer frames for validation than the {len(frames)} "
                f"there are, and at least 1, got {data.validation}"
            )
        order = np.random.default_rng(seed).permutation(len(frames))
        validation = [frames[i] for i in order[: data.validation]]
        order = order[data.validation :]
    if data.n_train is not None:
        if data.n_train > len(order):
            raise DataError(
                f"{data.train}: expected at least {data.n_train} frames for training, "
                f"got {len(order)}"
            )
        order = order[: data.n_train]
    training = [frames[i] for i in order]
    known = {z for f in training for z in f.numbers.tolist()}
    for frame in validation:
        if foreign := sorted(set(frame.numbers.tolist()) - known):
            raise DataError(
                f"{frame.origin}: expected elements of the training frames ({_symbols(known)}), "
                f"got {_symbols(foreign)}"
            )
    return training, validation


def _symbols(numbers: Iterable[int]) -> str:
    return ", ".join(chemical_symbols[z] for z in sorted(numbers))


def read_atomic_energies(path: Path, *, source: str = "") -> dict[int, float]:
    """Energy in eV by atomic number, from one-atom frames."""
    energies: dict[int, float] = {}
    for origin, atoms in _read(path, "isolated atoms", source):
        energy = atoms.calc.results.get("energy") if atoms.calc is not None else None
        if len(atoms) != 1 or energy is None or not np.isfinite(energy):
            raise DataError(f"{origin}: expected one atom with its energy")
        energies[int(atoms.numbers[0])] = float(energy)
    return energies


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """Constants of the model that come from the training data; eV."""

    elements: tuple[int, ...]
    atomic_energies: tuple[float, ...]
    shifts: tuple[float, ...]
    scale: float


def normalise(frames: Sequence[Frame], atomic: dict[int, float] | None) -> Normalisation:
    """Elements, atomic energies, shifts per bonded atom (least squares) and the scale.

    Without energies of isolated atoms the fit stands in for them, and shifts are zero.
    """
    elements = tuple(sorted({int(z) for f in frames for z in f.numbers}))
    if atomic is not None and (missing := [z for z in elements if z not in atomic]):
        raise DataError(
            f"expected an isolated atom of every element, got none of {_symbols(missing)}"
        )
    counts = count_elements(frames, elements)
    target = np.array([f.energy for f in frames])
    if atomic is not None:
        target = target - counts @ np.array([atomic[z] for z in elements])
    fit = fit_elements(counts, target, lone=atomic is None)
    scale = float(np.sqrt(np.mean(np.concatenate([f.forces for f in frames]) ** 2)))
    zeros = np.zeros(len(elements))
    e0 = np.array([atomic[z] for z in elements]) if atomic is not None else fit
    return Normalisation(
        elements=elements,
        atomic_energies=tuple(e0.tolist()),
        shifts=tuple((fit if atomic is not None else zeros).tolist()),
        scale=max(scale, 1e-3),
    )


def count_elements(frames: Sequence[Frame], elements: Sequence[int]) -> np.ndarray:
    """(frames, elements) atoms of each element in each frame."""
    return np.array([[int((f.numbers == z).sum()) for z in elements] for f in frames])


def fit_elements(counts: np.ndarray, target: np.ndarray, *, lone: bool) -> np.ndarray:
    """Energies per atom of each element that add up to the target (eV, one per frame) best.

    ``lone`` atoms count too, or not: they have their atomic energy and no shift. One composition
    only has no unique solution: the shortest is taken.
    """
    used = counts.sum(axis=1) > (0 if lone else 1)
    return np.linalg.lstsq(counts[used].astype(float), target[used], rcond=None)[0]


class Batches:
    """Batches of one set of frames, all of one padded shape (so that one compiled step fits).

    Parameters
    ----------
    batch_size : frames of a batch, at most all there are. world : processes that share it.
    """

    def __init__(
        self,
        frames: Sequence[Frame],
        species_of: Mapping[int, int],
        config: HypergraphConfig,
        *,
        batch_size: int,
        dtype: torch.dtype,
        device: torch.device | str,
        world: int = 1,
    ):
        self._frames = frames
        self._species_of = species_of
        self._config = config
        self._world = world
        self._share = min(batch_size, len(frames)) // world  # frames per process and batch
        if self._share == 0:
            raise DataError(f"expected at least one frame per process ({world}), got {len(frames)}")
        self._dtype = dtype
        self._device = device
        each = np.array([sizes_of([f.hypergraph]) for f in frames])
        self._by_size = np.argsort(-each[:, Sizes._fields.index("edges")], kind="stable")
        self.sizes = self._largest(each[self._by_size])

    def _largest(self, each: np.ndarray) -> Sizes:
        """Of any batch that :meth:`epoch` may draw; sizes of the frames (n, 7), largest first."""
        n_batches, n_strata = len(self), self._share * self._world
        dropped = len(each) - n_batches * n_strata  # each may shift the strata by one frame
        strata = np.array(
            [
                each[j * n_batches : (j + 1) * n_batches + dropped].max(axis=0)
                for j in range(n_strata)
            ]
        )
        shares = [strata[rank :: self._world].sum(axis=0) for rank in range(self._world)]
        largest = Sizes(*np.max(shares, axis=0).tolist())
        return largest._replace(
            bonds=largest.bonds + 1,  # padded terms refer to it
            factors=max(int(each[:, Sizes._fields.index("factors")].max()), 1),
        )

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self._frames) // (self._share * self._world)

    def epoch(self, seed: int, epoch: int, rank: int = 0) -> Iterator[Batch]:
        """Every frame at most once, in an order that depends on seed and epoch alone.

        Each batch has one frame of each stratum of size: the few frames with several hypergraphs
        mixed are so spread over the batches, and the common padded shape is little larger than
        an average batch. With several processes, the share of process ``rank`` of each batch.
        """
        rng = np.random.default_rng([seed, epoch])
        n_batches, n_strata = len(self), self._share * self._world
        drawn = np.sort(rng.permutation(len(self._frames))[: n_batches * n_strata])
        strata = rng.permuted(self._by_size[drawn].reshape(n_strata, n_batches), axis=1)
        for batch in strata.T:
            n_atoms = sum(len(self._frames[i].numbers) for i in batch.tolist())
            yield self._batch(batch[rank :: self._world], self.sizes, n_atoms / self._world)

    def every_frame(self) -> Iterator[Batch]:
        """Each frame once, in order, not padded; the last batch may be smaller."""
        indices = np.arange(len(self._frames))
        for start in range(0, len(indices), self._share):
            yield self._batch(indices[start : start + self._share])

    def _batch(
        self,
        indices: np.ndarray,
        pad_to: Sizes | None = None,
        atoms_per_process: float | None = None,
    ) -> Batch:
        frames = [self._frames[i] for i in indices.tolist()]
        graph = collate(
            [f.hypergraph for f in frames],
            self._species_of,
            self._config,
            dtype=self._dtype,
            device=self._device,
            pad_to=pad_to,
        )
        n_atoms = sum(len(f.numbers) for f in frames)
        padding = np.zeros((len(graph.species) - n_atoms, 3))

        def tensor(values: np.ndarray | float) -> Tensor:
            # In C order: a compiled step takes one layout only.
            values = np.asarray(values, order="C")
            return torch.as_tensor(values, dtype=torch.float64, device=self._device)

        return Batch(
            positions=tensor(np.concatenate([f.positions for f in frames] + [padding])),
            graph=graph,
            energy=tensor(np.array([f.energy for f in frames])),
            forces=tensor(np.concatenate([f.forces for f in frames] + [padding])),
            atoms_per_process=tensor(n_atoms if atoms_per_process is None else atoms_per_process),
        )
