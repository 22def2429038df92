"""Labelled geometries: read, checked frame by frame, turned into padded batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


def read_frames(path: Path, config: HypergraphConfig, *, source: str = "") -> list[Frame]:
    """All frames of an extended XYZ file.

    Raises
    ------
    FileNotFoundError : says where to get the data (``source``).
    DataError : a frame without energy or forces, with values that are not finite, periodic, or a
        geometry that is none; named by its number, counted from 0.
    """
    if not path.is_file():
        where = f" ({source})" if source else ""
        raise FileNotFoundError(f"expected training data at {path}{where}, got no such file")
    mixer = FragmentMixer()
    frames = []
    try:
        for index, atoms in enumerate(iread(path, index=":", format="extxyz")):
            try:
                frames.append(_frame(atoms, config, mixer))
            except ValueError as error:
                raise DataError(f"{path}, frame {index}: {error}") from error
    except DataError:
        raise
    except (ValueError, KeyError, OSError, StopIteration) as error:
        raise DataError(f"{path}, frame {len(frames)}: cannot be read: {error}") from error
    if not frames:
        raise DataError(f"{path}: expected at least one frame, got none")
    return frames


def _frame(atoms: Atoms, config: HypergraphConfig, mixer: FragmentMixer) -> Frame:
    if atoms.pbc.any():
        raise ValueError("expected an isolated molecule, got a periodic cell")
    results = atoms.calc.results if atoms.calc is not None else {}
    for label in ("energy", "forces"):
        if label not in results:
            raise ValueError(f"expected a label {label!r}, got none")
        if not np.isfinite(results[label]).all():
            raise ValueError(f"expected finite {label}, got NaN or infinite values")
    return Frame(
        numbers=atoms.numbers.astype(np.int64),
        positions=atoms.positions.copy(),
        energy=float(results["energy"]),
        forces=np.asarray(results["forces"], dtype=np.float64),
        hypergraph=build_hypergraph(atoms.numbers, atoms.positions, config, mixer=mixer),
    )


def split(data: DataConfig, config: HypergraphConfig, seed: int) -> tuple[list[Frame], list[Frame]]:
    """Training and validation frames."""
    frames = read_frames(data.train, config, source=data.source)
    if isinstance(data.validation, Path):
        validation = read_frames(data.validation, config, source=data.source)
        order = np.arange(len(frames))
    else:
        if not 0 < data.validation < len(frames):
            raise DataError(
                f"expected 1 to {len(frames) - 1} frames for validation, got {data.validation}"
            )
        order = np.random.default_rng(seed).permutation(len(frames))
        validation = [frames[i] for i in order[: data.validation]]
        order = order[data.validation :]
    if data.n_train is not None:
        if data.n_train > len(order):
            raise DataError(f"expected at least {data.n_train} frames, got {len(order)}")
        order = order[: data.n_train]
    return [frames[i] for i in order], validation


def read_atomic_energies(path: Path, *, source: str = "") -> dict[int, float]:
    """Energy in eV by atomic number, from one-atom frames."""
    if not path.is_file():
        where = f" ({source})" if source else ""
        raise FileNotFoundError(f"expected isolated atoms at {path}{where}, got no such file")
    energies: dict[int, float] = {}
    for index, atoms in enumerate(iread(path, index=":", format="extxyz")):
        energy = atoms.calc.results.get("energy") if atoms.calc is not None else None
        if len(atoms) != 1 or energy is None or not np.isfinite(energy):
            raise DataError(f"{path}, frame {index}: expected one atom with its energy")
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
        symbols = ", ".join(chemical_symbols[z] for z in missing)
        raise DataError(f"expected an isolated atom of every element, got none of {symbols}")
    counts = np.array([[int((f.numbers == z).sum()) for z in elements] for f in frames])
    target = np.array([f.energy for f in frames])
    if atomic is not None:
        target = target - counts @ np.array([atomic[z] for z in elements])
    # One composition only has no unique solution: lstsq takes the shortest.
    fit = np.linalg.lstsq(counts.astype(float), target, rcond=None)[0]
    scale = float(np.sqrt(np.mean(np.concatenate([f.forces for f in frames]) ** 2)))
    zeros = np.zeros(len(elements))
    e0 = np.array([atomic[z] for z in elements]) if atomic is not None else fit
    return Normalisation(
        elements=elements,
        atomic_energies=tuple(e0.tolist()),
        shifts=tuple((fit if atomic is not None else zeros).tolist()),
        scale=max(scale, 1e-3),
    )


class Batches:
    """Batches of one set of frames, all of one padded shape (so that one compiled step fits)."""

    def __init__(
        self,
        frames: Sequence[Frame],
        species_of: dict[int, int],
        config: HypergraphConfig,
        *,
        batch_size: int,
        dtype: torch.dtype,
        device: torch.device | str,
    ):
        self._frames = frames
        self._species_of = species_of
        self._config = config
        self._batch_size = min(batch_size, len(frames))
        self._dtype = dtype
        self._device = device
        each = np.array([sizes_of([f.hypergraph]) for f in frames])
        # The largest batch that could be drawn, and a spare bond for padded terms to refer to.
        largest = np.sort(each, axis=0)[-self._batch_size :]
        full = largest.sum(axis=0) + np.array([0, 1, 0, 0, 0, 0, 0])
        full[Sizes._fields.index("factors")] = max(each[:, Sizes._fields.index("factors")].max(), 1)
        self.sizes = Sizes(*full.tolist())

    def __len__(self) -> int:
        return len(self._frames) // self._batch_size

    def epoch(self, seed: int, epoch: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """Every frame at most once, in an order that depends on seed and epoch alone.

        With several processes each takes every ``world``-th batch.
        """
        order = np.random.default_rng([seed, epoch]).permutation(len(self._frames))
        for index in range(rank, len(self) - len(self) % world, world):
            yield self._batch(order[index * self._batch_size : (index + 1) * self._batch_size])

    def _batch(self, indices: np.ndarray) -> Batch:
        frames = [self._frames[i] for i in indices.tolist()]
        graph = collate(
            [f.hypergraph for f in frames],
            self._species_of,
            self._config,
            dtype=self._dtype,
            device=self._device,
            pad_to=self.sizes,
        )
        padding = np.zeros((self.sizes.atoms - sum(len(f.numbers) for f in frames), 3))

        def tensor(values: np.ndarray) -> Tensor:
            return torch.as_tensor(values, dtype=torch.float64, device=self._device)

        return Batch(
            positions=tensor(np.concatenate([f.positions for f in frames] + [padding])),
            graph=graph,
            energy=tensor(np.array([f.energy for f in frames])),
            forces=tensor(np.concatenate([f.forces for f in frames] + [padding])),
        )
