"""Labelled geometries: read, checked frame by frame, split."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from ase import Atoms

from se3set_ase.checkpoint.metadata import BaselineMethod
from se3set_ase.hypergraph.bonds import bond_weights
from se3set_ase.hypergraph.build import build_hypergraph
from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.hypergraph.mixing import FragmentMixer
from se3set_ase.hypergraph.structure import Hypergraph
from se3set_ase.io.extended_xyz import frames_of_file
from se3set_ase.io.text import symbol
from se3set_ase.system import (
    check_electrons,
    declared_charge_and_spin,
    declared_dipole,
    declared_labels,
)
from se3set_ase.train.config import DataConfig

_LOGGER = logging.getLogger(__name__)

#: A training frame is left out if it has this many times the edges per atom of other frames
#: (median), and this many times those that it would have without ambiguous bonds. Each batch is
#: padded to the largest frame, and a partially broken bond doubles the edges of its neighbourhood.
SPRAWLING = 3.0
#: Largest share of frames that may be left out: if more are large, they are the purpose.
FEW = 0.02


class DataError(ValueError):
    """Invalid training data; the text names the file and the frame."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One labelled geometry with its hypergraph. eV, Angstrom."""

    origin: str
    """File and number of the frame, for messages."""
    numbers: np.ndarray
    positions: np.ndarray
    energy: float
    forces: np.ndarray
    hypergraph: Hypergraph
    charge: int = 0
    spin_multiplicity: int = 1
    dipole: np.ndarray | None = None
    """(3,) e Angstrom; None if the frame has none."""


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """Data of a training run."""

    train: Sequence[Frame]
    validation: Sequence[Frame]
    """Frames that select the best weights."""
    atomic_energies: Mapping[int, float] | None
    """Energies of isolated atoms (eV) by atomic number; ``None`` to fit them to the frames."""
    baseline: BaselineMethod | None = None
    """What energies and forces are differences to, if anything."""


def read_training_data(data: DataConfig, config: HypergraphConfig, seed: int) -> TrainingData:
    """Read the files of a configuration.

    Raises
    ------
    FileNotFoundError, DataError : see :func:`split` and :func:`read_atomic_energies`.
    """
    train, validation = split(data, config, seed)
    atomic = None
    if data.isolated_atoms is not None:
        atomic = read_atomic_energies(data.isolated_atoms, source=data.source) or None
    return TrainingData(train=train, validation=validation, atomic_energies=atomic)


def read_frames(
    path: Path,
    config: HypergraphConfig,
    *,
    charges: Sequence[int] = (0,),
    spin_multiplicity: int = 1,
    source: str = "",
) -> list[Frame]:
    """All frames of an extended XYZ file.

    A frame that declares no charge has the first of ``charges``.

    Raises
    ------
    FileNotFoundError : no such file; the text has the ``source`` of the data.
    DataError : a frame has no energy or forces, values that are not finite, a periodic cell,
        another charge or spin (declared, or from its number of electrons), or an invalid geometry;
        the text has its number, from 0.
    """
    mixer = FragmentMixer()
    allowed = {"charge": tuple(charges), "spin_multiplicity": (spin_multiplicity,)}
    frames = []
    for origin, atoms in _read(path, "training data", source):
        try:
            frames.append(_frame(atoms, origin, config, mixer, allowed))
        except ValueError as error:
            raise DataError(f"{origin}: {error}") from error
    return frames


def _read(path: Path, what: str, source: str) -> Iterator[tuple[str, Atoms]]:
    """Yield each frame of an extended XYZ file with its name for messages."""
    if not path.is_file():
        where = f" ({source})" if source else ""
        raise FileNotFoundError(f"expected {what} at {path}{where}, found no such file")
    index = -1
    try:
        for index, atoms in enumerate(frames_of_file(path, "extxyz")):
            yield f"{path}, frame {index}", atoms
    except ValueError as error:
        raise DataError(str(error)) from error
    if index < 0:
        raise DataError(f"{path}: expected at least one frame, got none")


def _frame(
    atoms: Atoms,
    origin: str,
    config: HypergraphConfig,
    mixer: FragmentMixer,
    allowed: Mapping[str, Sequence[int]],
) -> Frame:
    if len(atoms) == 0:
        raise ValueError("expected at least one atom, got none")
    if atoms.pbc.any():
        raise ValueError(
            'expected an isolated molecule (with a Lattice set pbc="F F F"), got a periodic cell'
        )
    state = {name: values[0] for name, values in allowed.items()}
    for name, declared in declared_charge_and_spin(atoms).items():
        if declared not in allowed[name]:
            listed = " or ".join(map(str, allowed[name]))
            raise ValueError(f"expected {name} {listed}, as of the model, got {declared}")
        state[name] = declared
    check_electrons(atoms, **state)
    energy, forces = declared_labels(atoms)
    if energy is None or forces is None:
        missing = "energy" if energy is None else "forces"
        raise ValueError(f"expected a label {missing!r}, got none")
    return Frame(
        origin=origin,
        numbers=atoms.numbers.astype(np.int64),
        positions=atoms.positions.copy(),
        energy=energy,
        forces=forces,
        hypergraph=build_hypergraph(atoms.numbers, atoms.positions, config, mixer=mixer),
        dipole=declared_dipole(atoms),
        **state,
    )


def split(data: DataConfig, config: HypergraphConfig, seed: int) -> tuple[list[Frame], list[Frame]]:
    """Training and validation frames.

    Raises
    ------
    FileNotFoundError, DataError : see :func:`read_frames`; too few frames; or validation frames
        have an element that the training frames lack.
    """
    read = partial(
        read_frames,
        config=config,
        charges=data.charges,
        spin_multiplicity=data.spin_multiplicity,
        source=data.source,
    )
    frames = read(data.train)
    if isinstance(data.validation, Path):
        validation = read(data.validation)
        order = np.arange(len(frames))
    else:
        if not 0 < data.validation < len(frames):
            raise DataError(
                f"{data.train}: expected between 1 and {len(frames) - 1} frames for validation, "
                f"got {data.validation}"
            )
        order = np.random.default_rng(seed).permutation(len(frames))
        validation = [frames[i] for i in order[: data.validation]]
        order = order[data.validation :]
    if data.n_train is not None:
        if isinstance(data.validation, Path):  # files may be sorted, by molecule for instance
            order = np.random.default_rng(seed).permutation(len(frames))
        if data.n_train > len(order):
            raise DataError(
                f"{data.train}: expected at least {data.n_train} frames for training, "
                f"got {len(order)}"
            )
        order = order[: data.n_train]
    training = _without_sprawling([frames[i] for i in order], config)
    known = {z for f in training for z in f.numbers.tolist()}
    for frame in validation:
        if foreign := sorted(set(frame.numbers.tolist()) - known):
            raise DataError(
                f"{frame.origin}: expected elements of the training frames ({symbols(known)}), "
                f"got {symbols(foreign)}"
            )
    return training, validation


def _without_sprawling(frames: list[Frame], config: HypergraphConfig) -> list[Frame]:
    """Leave out the few frames that would make every batch several times as large."""
    edges = np.array([len(frame.hypergraph.edge_atom) / len(frame.numbers) for frame in frames])
    many = SPRAWLING * np.median(edges)
    sprawling = [
        n > many and n * len(frame.numbers) > SPRAWLING * _decided_edges(frame, config)
        for n, frame in zip(edges, frames, strict=True)
    ]
    if not 0 < sum(sprawling) <= FEW * len(frames):
        return frames
    _LOGGER.warning(
        "%d of %d training frames are left out, the first is %s: so many of their bonds are "
        "partially broken that their hypergraphs are several times as large as others",
        sum(sprawling),
        len(frames),
        frames[sprawling.index(True)].origin,
    )
    return [frame for frame, out in zip(frames, sprawling, strict=True) if not out]


def _decided_edges(frame: Frame, config: HypergraphConfig) -> int:
    """Number of edges with the bonds of a weight above 1/2 only."""
    h = frame.hypergraph
    vectors = frame.positions[h.bond_atoms[:, 1]] - frame.positions[h.bond_atoms[:, 0]]
    there = bond_weights(np.linalg.norm(vectors, axis=1), h.bond_range) > 0.5
    bonds = np.concatenate([h.sure_bonds, h.bond_atoms[there]])
    return len(build_hypergraph(frame.numbers, frame.positions, config, bonds=bonds).edge_atom)


def symbols(numbers: Iterable[int]) -> str:
    """Chemical symbols of atomic numbers, for messages."""
    return ", ".join(map(symbol, sorted(numbers)))


def read_atomic_energies(path: Path, *, source: str = "") -> dict[int, float]:
    """Atomic energies in eV by atomic number, from one-atom frames."""
    energies: dict[int, float] = {}
    for origin, atoms in _read(path, "isolated atoms", source):
        try:
            energy, _ = declared_labels(atoms)
        except ValueError as error:
            raise DataError(f"{origin}: {error}") from error
        if len(atoms) != 1 or energy is None:
            raise DataError(f"{origin}: expected one atom with an energy")
        energies[int(atoms.numbers[0])] = energy
    return energies
