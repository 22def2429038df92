"""Padded batches of frames with one shape, in a seeded order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.nn.graph import Graph, Sizes, collate, sizes_of
from se3set_ase.train.data import DataError, Frame


class Batch(NamedTuple):
    """A padded batch of frames as tensors."""

    positions: Tensor
    graph: Graph
    energy: Tensor
    forces: Tensor
    dipole: Tensor
    """(M, 3) e Angstrom; zero where it is not known."""
    has_dipole: Tensor
    """(M,) 1 or 0."""
    dipoles_per_process: Tensor
    """Number of dipoles of the batch, counted as :attr:`atoms_per_process`."""
    atoms_per_process: Tensor
    """Number of atoms of the batch on all processes, divided by the number of processes. Sums over
    atoms are divided by it, so that the mean over processes is the mean over the whole batch."""


class Batches:
    """Batches of a set of frames with one padded shape, which one compiled step can process.

    Parameters
    ----------
    batch_size : frames of a batch, at most the number of frames.
    world : number of processes that share a batch.
    seed : seed of the order.
    epochs : number of epochs, whose batches share a shape.
    epoch_frames : frames of an epoch, all by default.
    pairs : list the pairs of atoms at any distance, for models with energies of pairs.
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
        seed: int = 0,
        epochs: int = 1,
        epoch_frames: int | None = None,
        pairs: bool = False,
    ):
        self._frames = frames
        self._epoch_frames = min(epoch_frames or len(frames), len(frames))
        self._species_of = species_of
        self._config = config
        self._world = world
        self._share = min(batch_size, self._epoch_frames) // world  # frames per process and batch
        if self._share == 0:
            raise DataError(
                f"expected at least one frame per process ({world}), got {self._epoch_frames}"
            )
        self._dtype = dtype
        self._device = device
        self._seed = seed
        self._pairs = pairs
        each = np.array([sizes_of([f.hypergraph], pairs=pairs) for f in frames])
        self._by_size = np.argsort(-each[:, Sizes._fields.index("edges")], kind="stable")
        self.sizes = self._largest(each, epochs)

    def _largest(self, each: np.ndarray, epochs: int) -> Sizes:
        """Padded sizes of all batches, from the sizes of the frames (n, 9)."""
        sums = [
            each[self._drawn(epoch)[rank :: self._world]].sum(axis=0).max(axis=0)
            for epoch in range(epochs)
            for rank in range(self._world)
        ]
        largest = Sizes(*np.max(sums, axis=0).tolist())
        return largest._replace(
            bonds=largest.bonds + 1,  # padded terms refer to it
            factors=max(int(each[:, Sizes._fields.index("factors")].max()), 1),
        )

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self._epoch_frames // (self._share * self._world)

    def _drawn(self, epoch: int) -> np.ndarray:
        """Frames of an epoch: (frames of a batch, batches), each row of one stratum of size."""
        rng = np.random.default_rng([self._seed, epoch])
        n_batches, n_strata = len(self), self._share * self._world
        drawn = np.sort(rng.permutation(len(self._frames))[: n_batches * n_strata])
        strata: np.ndarray = rng.permuted(self._by_size[drawn].reshape(n_strata, n_batches), axis=1)
        return strata

    def epoch(self, epoch: int, rank: int = 0) -> Iterator[Batch]:
        """Yield batches of an epoch, in an order that depends only on seed and epoch.

        Each frame is used at most once. Each batch has one frame of each stratum of size, so the
        few large frames are distributed over the batches, and the common padded shape is little
        larger than an average batch. With several processes, the share of process ``rank``.
        """
        for batch in self._drawn(epoch).T:
            yield self._batch(batch[rank :: self._world], self.sizes, batch)

    def every_frame(self) -> Iterator[Batch]:
        """Yield all frames in order, not padded; the last batch may be smaller."""
        indices = np.arange(len(self._frames))
        for start in range(0, len(indices), self._share):
            yield self._batch(indices[start : start + self._share])

    def _batch(
        self,
        indices: np.ndarray,
        pad_to: Sizes | None = None,
        of_all: np.ndarray | None = None,
    ) -> Batch:
        """Frames of this process; ``of_all`` are those of all processes."""
        frames = [self._frames[i] for i in indices.tolist()]
        graph = collate(
            [f.hypergraph for f in frames],
            self._species_of,
            self._config,
            dtype=self._dtype,
            device=self._device,
            pad_to=pad_to,
            charges=[f.charge for f in frames],
            pairs=self._pairs,
        )
        n_atoms = sum(len(f.numbers) for f in frames)
        every = [self._frames[i] for i in (indices if of_all is None else of_all).tolist()]
        share = len(frames) / len(every)
        n_dipoles = share * sum(f.dipole is not None for f in every)
        padding = np.zeros((len(graph.species) - n_atoms, 3))

        def tensor(values: np.ndarray | float) -> Tensor:
            # In C order, because a compiled step accepts one memory layout only.
            values = np.asarray(values, order="C")
            return torch.as_tensor(values, dtype=torch.float64, device=self._device)

        return Batch(
            positions=tensor(np.concatenate([f.positions for f in frames] + [padding])),
            graph=graph,
            energy=tensor(np.array([f.energy for f in frames])),
            forces=tensor(np.concatenate([f.forces for f in frames] + [padding])),
            dipole=tensor(
                np.array([np.zeros(3) if f.dipole is None else f.dipole for f in frames])
            ),
            has_dipole=tensor(np.array([float(f.dipole is not None) for f in frames])),
            dipoles_per_process=tensor(max(n_dipoles, 1e-9)),
            atoms_per_process=tensor(share * sum(len(f.numbers) for f in every)),
        )
