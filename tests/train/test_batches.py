"""Batches: one padded shape, each frame once, shared by processes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ase import Atoms
from ase.io import write
from made_up_data import HYDROGEN, PEROXIDE, WATER, frames

from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.train.batches import Batches
from se3set_ase.train.data import DataError, read_frames

CONFIG = HypergraphConfig()
SPECIES = {1: 0, 8: 1}


def read(tmp_path: Path, made: list[Atoms]) -> list:
    write(tmp_path / "a.xyz", made, format="extxyz")
    return read_frames(tmp_path / "a.xyz", CONFIG)


def batches(
    made: list,
    size: int,
    world: int = 1,
    seed: int = 0,
    epochs: int = 20,
    epoch_frames: int | None = None,
) -> Batches:
    return Batches(
        made,
        SPECIES,
        CONFIG,
        batch_size=size,
        dtype=torch.float64,
        device="cpu",
        world=world,
        seed=seed,
        epochs=epochs,
        epoch_frames=epoch_frames,
    )


def test_batches_are_of_one_shape_and_take_each_frame_once(tmp_path: Path) -> None:
    made = read(tmp_path, frames(9, [WATER, HYDROGEN, PEROXIDE, Atoms("H")]))
    several = batches(made, 3)
    assert len(several) == 3
    shapes, energies = set(), []
    for batch in several.epoch(5):
        shapes.add(tuple(t.shape for t in (*batch.graph, batch.positions, batch.forces)))
        energies += batch.energy.tolist()
        assert batch.atoms_per_process == batch.graph.n_atoms.sum() == batch.graph.atom_weight.sum()
    assert len(shapes) == 1
    assert sorted(energies) == sorted(f.energy for f in made)
    order = [b.energy.tolist() for b in several.epoch(5)]
    assert order == [b.energy.tolist() for b in several.epoch(5)]
    assert order != [b.energy.tolist() for b in several.epoch(6)]
    assert order != [b.energy.tolist() for b in batches(made, 3, seed=1).epoch(5)]


@pytest.mark.parametrize("world", [1, 2])
def test_large_frames_are_spread_over_the_batches(tmp_path: Path, world: int) -> None:
    # A quarter of the frames are large; what does not fill a batch is left out at random.
    made = read(tmp_path, frames(18, [PEROXIDE, HYDROGEN, HYDROGEN, HYDROGEN]))
    several = batches(made, 4, world)
    largest = several.sizes.atoms * world
    for epoch in range(20):
        for rank in range(world):
            shapes = {b.graph.species.shape for b in several.epoch(epoch, rank)}
            assert shapes == {(several.sizes.atoms,)}
        counts = [b.graph.n_atoms.tolist() for b in batches(made, 4).epoch(epoch)]
        assert len(counts) == 4
        assert all(c.count(4) <= 2 for c in counts)
    assert largest == 4 + 4 + 2 + 2 < 4 * 4  # four large ones never meet


def test_the_shape_is_that_of_the_largest_batch(tmp_path: Path) -> None:
    made = read(tmp_path, frames(9, [WATER, PEROXIDE, Atoms("H")]))
    several = batches(made, 2, epochs=6)
    atoms = [int(b.graph.n_atoms.sum()) for epoch in range(6) for b in several.epoch(epoch)]
    assert several.sizes.atoms == max(atoms) > min(atoms)


def test_an_epoch_may_be_a_part_of_the_frames_another_one_each_time(tmp_path: Path) -> None:
    made = read(tmp_path, frames(12, [WATER, HYDROGEN, PEROXIDE]))
    some = batches(made, 2, epoch_frames=5)
    assert len(some) == 2
    epochs = [[e for b in some.epoch(n) for e in b.energy.tolist()] for n in range(20)]
    assert all(len(set(energies)) == 4 for energies in epochs)
    assert epochs[0] != epochs[1]
    assert {e for energies in epochs for e in energies} == {f.energy for f in made}
    assert len(batches(made, 2, epoch_frames=100)) == 6  # all that there are


def test_every_frame_is_measured_once_though_the_last_batch_is_small(tmp_path: Path) -> None:
    made = read(tmp_path, frames(7, [WATER, HYDROGEN]))
    energies = [e for b in batches(made, 3).every_frame() for e in b.energy.tolist()]
    assert energies == [f.energy for f in made]


def test_fewer_frames_than_a_batch_are_one_batch(tmp_path: Path) -> None:
    made = read(tmp_path, frames(2))
    assert [len(b.energy) for b in batches(made, 5).epoch(0)] == [2]


def test_processes_share_each_batch(tmp_path: Path) -> None:
    made = read(tmp_path, frames(9, [WATER, HYDROGEN, PEROXIDE]))
    whole = list(batches(made, 4).epoch(0))
    shares = [list(batches(made, 4, world=2).epoch(0, rank)) for rank in range(2)]
    assert len(whole) == len(shares[0]) == len(shares[1]) == 2
    for batch, first, second in zip(whole, *shares, strict=True):
        assert batch.energy[0::2].tolist() == first.energy.tolist()
        assert batch.energy[1::2].tolist() == second.energy.tolist()
        assert first.atoms_per_process == second.atoms_per_process
        assert batch.atoms_per_process == 2 * first.atoms_per_process


def test_more_processes_than_frames_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"at least one frame per process \(2\), got 1"):
        batches(read(tmp_path, frames(1)), 2, world=2)
