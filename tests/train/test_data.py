"""Labelled data: bad frames are refused by number; what becomes of good ones."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from made_up_data import HYDROGEN, PEROXIDE, WATER, frames, labelled

from se3set_ase.cli import console
from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.train.config import DataConfig
from se3set_ase.train.data import (
    DataError,
    read_atomic_energies,
    read_frames,
    split,
)
from se3set_ase.train.normalisation import normalise

CONFIG = HypergraphConfig()
SPECIES = {1: 0, 8: 1}
LSTSQ_TOLERANCE = 1e-8  # eV


def with_labels(atoms: Atoms, **labels: object) -> Atoms:
    atoms = atoms.copy()
    atoms.calc = SinglePointCalculator(atoms, **labels)
    return atoms


def no_forces(a: Atoms) -> Atoms:
    return with_labels(a, energy=-1.0)


def no_energy(a: Atoms) -> Atoms:
    return with_labels(a, forces=np.zeros((3, 3)))


def no_labels(a: Atoms) -> Atoms:
    return a.copy()


def nan_energy(a: Atoms) -> Atoms:
    return with_labels(a, energy=np.nan, forces=np.zeros((3, 3)))


def word_energy(a: Atoms) -> Atoms:
    return with_labels(a, energy="one", forces=np.zeros((3, 3)))


def true_energy(a: Atoms) -> Atoms:
    return with_labels(a, energy=True, forces=np.zeros((3, 3)))


def two_energies(a: Atoms) -> Atoms:
    return with_labels(a, energy=np.zeros(2), forces=np.zeros((3, 3)))


def infinite_force(a: Atoms) -> Atoms:
    return with_labels(a, energy=-1.0, forces=np.full((3, 3), np.inf))


def periodic(a: Atoms) -> Atoms:
    a = a.copy()
    a.cell, a.pbc = [9.0, 9.0, 9.0], [False, False, True]
    return with_labels(a, energy=-1.0, forces=np.zeros((3, 3)))


def coincident(a: Atoms) -> Atoms:
    a = a.copy()
    a.positions[1] = a.positions[2]
    return with_labels(a, energy=-1.0, forces=np.zeros((3, 3)))


def charged(a: Atoms) -> Atoms:
    a = with_labels(a, energy=-1.0, forces=np.zeros((3, 3)))
    a.info["charge"] = -1
    return a


def radical(a: Atoms) -> Atoms:
    return with_labels(a[:2], energy=-1.0, forces=np.zeros((2, 3)))


def nan_position(a: Atoms) -> Atoms:
    a = a.copy()
    a.positions[1, 1] = np.nan
    return with_labels(a, energy=-1.0, forces=np.zeros((3, 3)))


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (no_forces, "expected a label 'forces', got none"),
        (no_energy, "expected a label 'energy', got none"),
        (no_labels, "expected a label 'energy', got none"),
        (nan_energy, "expected finite energy, got NaN or infinite values"),
        (word_energy, "expected numbers as energy, got 'one'"),
        (true_energy, "expected numbers as energy, got True"),
        (two_energies, r"expected one energy, got an array of shape \(2,\)"),
        (infinite_force, "expected finite forces, got NaN or infinite values"),
        (periodic, "expected an isolated molecule .* got a periodic cell"),
        (coincident, "got atoms 1 and 2 at a distance of 0 Angstrom"),
        (charged, "expected charge 0, as of the model, got -1"),
        (radical, "expected an even number of electrons .* got 9 of HO"),
        (nan_position, r"got NaN or infinite ones for atoms \[1\]"),
    ],
)
def test_refuses_a_bad_frame_by_its_number(
    tmp_path: Path, spoil: Callable[[Atoms], Atoms], text: str
) -> None:
    path = tmp_path / "a.xyz"
    good = frames(4)
    write(path, good, format="extxyz")
    assert len(read_frames(path, CONFIG)) == 4
    write(path, [*good[:2], spoil(good[2]), good[3]], format="extxyz")
    with pytest.raises(DataError, match=rf"a\.xyz, frame 2: .*{text}"):
        read_frames(path, CONFIG)


@pytest.mark.parametrize(
    "cut",
    [
        lambda text: text[: text.rindex("\nH")],  # the last line is missing
        lambda text: text[: text.rindex(" ")],  # the last number is missing
        lambda text: text + "\n3\n",  # a frame that only begins
        lambda text: text + "\nthree\n\n",
    ],
)
def test_refuses_a_truncated_file(tmp_path: Path, cut: Callable[[str], str]) -> None:
    path = tmp_path / "a.xyz"
    write(path, frames(3), format="extxyz")
    path.write_text(cut(path.read_text().rstrip("\n")))
    with pytest.raises(DataError, match=r"cannot read frame \d of .*a\.xyz"):
        read_frames(path, CONFIG)


def test_refuses_an_unknown_element_symbol(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    write(path, frames(2), format="extxyz")
    path.write_text(path.read_text().replace("O ", "Qq", 1))
    with pytest.raises(DataError, match="cannot read frame 0 of "):
        read_frames(path, CONFIG)


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_refuses_an_empty_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.xyz"
    path.write_text(content)
    with pytest.raises(DataError, match=r"a\.xyz.*"):
        read_frames(path, CONFIG)


def test_refuses_a_frame_without_atoms(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    empty = '0\nProperties=species:S:1:pos:R:3:forces:R:3 energy=0.0 pbc="F F F"\n'
    path.write_text(empty)
    with pytest.raises(DataError, match=r"frame 0: "):
        read_frames(path, CONFIG)


def test_a_missing_file_names_its_source(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"none\.xyz \(at the library\), found no such file"
    ):
        read_frames(tmp_path / "none.xyz", CONFIG, source="at the library")
    with pytest.raises(
        FileNotFoundError, match=r"none\.xyz \(at the library\), found no such file"
    ):
        read_atomic_energies(tmp_path / "none.xyz", source="at the library")


def test_a_name_with_an_at_sign_is_a_file_name(tmp_path: Path) -> None:
    path = tmp_path / "acac@300.xyz"
    write(tmp_path / "plain.xyz", frames(2), format="extxyz")
    (tmp_path / "plain.xyz").rename(path)
    assert len(read_frames(path, CONFIG)) == 2


def test_labels_survive_exactly(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    made = frames(2)
    write(path, made, format="extxyz")
    for frame, atoms in zip(read_frames(path, CONFIG), made, strict=True):
        assert frame.energy == atoms.get_potential_energy()
        np.testing.assert_allclose(frame.forces, atoms.get_forces(), rtol=0, atol=1e-8)
        np.testing.assert_array_equal(frame.numbers, atoms.numbers)


def data_config(tmp_path: Path, made: list[Atoms], **others: object) -> DataConfig:
    write(tmp_path / "train.xyz", made, format="extxyz")
    values = {"train": tmp_path / "train.xyz", "validation": 3, "level_of_theory": "Morse"}
    return DataConfig(**{**values, **others})  # type: ignore[arg-type]


def test_split_is_seeded_disjoint_and_complete(tmp_path: Path) -> None:
    data = data_config(tmp_path, frames(10))
    training, validation = split(data, CONFIG, seed=1)
    energies = [f.energy for f in training], [f.energy for f in validation]
    assert (len(training), len(validation)) == (7, 3)
    assert len({*energies[0], *energies[1]}) == 10
    again = split(data, CONFIG, seed=1)
    assert [f.energy for f in again[0]] == energies[0]
    assert [f.energy for f in split(data, CONFIG, seed=2)[1]] != energies[1]
    fewer, same = split(data.model_copy(update={"n_train": 2}), CONFIG, seed=1)
    assert [f.energy for f in fewer] == energies[0][:2]
    assert [f.energy for f in same] == energies[1]


@pytest.mark.parametrize("number", [0, 10, 11])
def test_split_needs_frames_on_both_sides(tmp_path: Path, number: int) -> None:
    data = data_config(tmp_path, frames(10), validation=number)
    with pytest.raises(DataError, match=f"between 1 and 9 frames for validation, got {number}"):
        split(data, CONFIG, seed=0)


def test_split_needs_the_requested_number_of_frames(tmp_path: Path) -> None:
    data = data_config(tmp_path, frames(10), n_train=8)
    with pytest.raises(DataError, match="at least 8 frames for training, got 7"):
        split(data, CONFIG, seed=0)


def test_refuses_an_element_of_the_validation_that_training_lacks(tmp_path: Path) -> None:
    other = Atoms("CH4", 1.1 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0]]))
    write(tmp_path / "v.xyz", [*frames(1), *frames(1, [other])], format="extxyz")
    data = data_config(tmp_path, frames(3), validation=tmp_path / "v.xyz")
    with pytest.raises(DataError, match=r"v\.xyz, frame 1: .*training frames \(H, O\), got C$"):
        split(data, CONFIG, seed=0)


#: A chain whose bonds are all in between: hundreds of ways to be fragments.
EXPLODING = Atoms("C14", np.outer(np.arange(14), [1.8, 0.0, 0.0]))


def test_a_frame_that_explodes_is_left_out_with_a_message(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = frames(59)
    made.insert(3, labelled(EXPLODING))
    data = data_config(tmp_path, made, validation=1)
    training, validation = split(data, CONFIG, seed=0)
    assert len(training) + len(validation) == 59
    assert "1 of 59 training frames are left out" in caplog.text
    caplog.clear()
    data_config(tmp_path, frames(60))
    assert len(split(data, CONFIG, seed=0)[0]) == 59
    assert not caplog.text


@pytest.mark.parametrize(("number", "large"), [(59, molecule("C6H6")), (8, EXPLODING)])
def test_frames_are_not_left_out_for_being_large_or_where_many_explode(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, number: int, large: Atoms
) -> None:
    data = data_config(tmp_path, [*frames(number), labelled(large)], validation=1)
    edges = [
        len(frame.hypergraph.edge_atom) for part in split(data, CONFIG, seed=0) for frame in part
    ]
    assert len(edges) == number + 1
    assert max(edges) / len(large) > 3 * np.median(edges) / 3  # water has three atoms
    assert not caplog.text


def read(tmp_path: Path, made: list[Atoms]) -> list:
    write(tmp_path / "a.xyz", made, format="extxyz")
    return read_frames(tmp_path / "a.xyz", CONFIG)


def additive(molecules: list[Atoms], per_atom: dict[int, float]) -> list[Atoms]:
    """Frames whose energies are sums over their atoms."""
    return [
        with_labels(a, energy=sum(per_atom[z] for z in a.numbers), forces=np.full((len(a), 3), 0.5))
        for a in molecules
    ]


def test_atomic_energies_are_fitted_without_isolated_atoms(tmp_path: Path) -> None:
    made = additive([WATER, HYDROGEN, PEROXIDE], {1: -13.5, 8: -2040.0})
    result = normalise(read(tmp_path, made), None)
    assert result.elements == (1, 8)
    np.testing.assert_allclose(result.atomic_energies, [-13.5, -2040.0], atol=LSTSQ_TOLERANCE)
    assert result.shifts == (0.0, 0.0)
    assert result.scale == pytest.approx(0.5)


def test_shifts_are_fitted_with_isolated_atoms_and_isolated_atoms_do_not_count(
    tmp_path: Path,
) -> None:
    atomic = {1: -13.0, 8: -2038.0, 6: -1000.0}
    made = additive([WATER, HYDROGEN, PEROXIDE], {1: -13.5, 8: -2040.0})
    lone = additive([Atoms("H"), Atoms("O")], atomic)
    result = normalise(read(tmp_path, [*made, *lone]), atomic)
    assert result.atomic_energies == (-13.0, -2038.0)
    np.testing.assert_allclose(result.shifts, [-0.5, -2.0], atol=LSTSQ_TOLERANCE)


def test_isolated_atoms_alone_have_no_shift(tmp_path: Path) -> None:
    lone = additive([Atoms("H"), Atoms("O")], {1: -13.0, 8: -2038.0})
    assert normalise(read(tmp_path, lone), {1: -13.0, 8: -2038.0}).shifts == (0.0, 0.0)


def test_names_the_elements_without_isolated_atoms(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="got none of O"):
        normalise(read(tmp_path, frames(1)), {1: -13.0})


def test_isolated_atoms(tmp_path: Path) -> None:
    path = tmp_path / "atoms.xyz"
    lone = additive([Atoms("H"), Atoms("O")], {1: -13.0, 8: -2038.0})
    write(path, lone, format="extxyz")
    assert read_atomic_energies(path) == {1: -13.0, 8: -2038.0}
    write(path, [lone[0], frames(1)[0]], format="extxyz")
    with pytest.raises(DataError, match=r"atoms\.xyz, frame 1: expected one atom with an energy"):
        read_atomic_energies(path)


def test_a_compressed_file_is_unpacked_once(tmp_path: Path) -> None:
    made = frames(5)
    write(tmp_path / "a.xyz", made, format="extxyz")
    with gzip.open(tmp_path / "a.xyz.gz", "wb") as file:
        file.write((tmp_path / "a.xyz").read_bytes())
    plain, packed = (read_frames(tmp_path / name, CONFIG) for name in ("a.xyz", "a.xyz.gz"))
    assert [f.energy for f in packed] == [f.energy for f in plain]
    assert len(list(console.read_frames(tmp_path / "a.xyz.gz"))) == 5
    (tmp_path / "a.xyz.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match=r"a\.xyz\.gz: expected a complete compressed file"):
        read_frames(tmp_path / "a.xyz.gz", CONFIG)
