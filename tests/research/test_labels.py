"""The data set of labels: leaks from test sets, order of labelling, resumed runs."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from scipy.spatial.transform import Rotation

from research.labels.choose import spread
from research.labels.leaks import Leaks
from research.labels.reorder import interleaved
from research.labels.shards import is_labelled, is_waiting, read_all, rounded, write_shard
from research.labels.work import work_on
from se3set_ase.io.extended_xyz import frames_of_file


def test_near_copies_are_found_whatever_their_orientation_and_order() -> None:
    known = molecule("CH3CH2OH")
    known.info["name"] = "known"
    leaks = Leaks([known, Atoms("Cl", info={"charge": -1, "name": "chloride"})])
    turned = known[np.random.default_rng(0).permutation(len(known))]
    turned.positions = Rotation.random(random_state=1).apply(turned.positions) + 3.0
    turned.rattle(0.02, seed=1)
    assert leaks.copied(turned) == "known"
    assert leaks.copied(Atoms("Cl", info={"charge": -1})) == "chloride"
    turned.info["charge"] = 1
    other = turned.copy()
    other.info["charge"] = 0
    other.rattle(0.3, seed=2)
    for different in (turned, other, molecule("CH3OCH3"), Atoms("Cl")):
        assert leaks.copied(different) is None


def candidates() -> list[Atoms]:
    """Many of one family, few of another; a reaction with its saddle."""
    frames = [
        Atoms("He", [[0, 0, i]], info={"family": "a", "kind": f"k{i % 2}", "smiles": f"m{i % 4}"})
        for i in range(40)
    ]
    for i in range(6):
        info = {"family": "b", "kind": "r", "smiles": "x>>y", "reaction": f"R{i // 3}"}
        frames.append(Atoms("Ne", [[0, 0, i]], info=info | {"saddle": i % 3 == 1}))
    return frames


def test_families_kinds_and_molecules_alternate() -> None:
    chosen = spread(candidates(), [], 8, np.random.default_rng(0))
    assert Counter(a.info["family"] for a in chosen) == {"a": 4, "b": 4}
    assert len({a.info["smiles"] for a in chosen if a.info["family"] == "a"}) == 4
    reactions = [a for a in chosen if a.info["family"] == "b"]
    assert [a.info["saddle"] for a in reactions[:2]] == [True, True]
    assert {a.info["reaction"] for a in reactions[:2]} == {"R0", "R1"}
    heavy = spread(candidates(), [], 8, np.random.default_rng(0), {"a": 3.0})
    assert Counter(a.info["family"] for a in heavy) == {"a": 6, "b": 2}
    more = spread(candidates(), chosen, 2, np.random.default_rng(0))
    assert Counter(a.info["family"] for a in more) == {"a": 1, "b": 1}


def test_a_run_resumes_and_failures_do_not_affect_others(tmp_path: Path) -> None:
    path = tmp_path / "0001.xyz.gz"
    water = molecule("H2O")
    frames = [water.copy() for _ in range(3)]
    for i, atoms in enumerate(frames):
        atoms.rattle(0.02, seed=i)
        atoms.info = {"family": "molecules", "kind": "water", "smiles": "O", "charge": 0}
    del frames[1][2]  # a radical
    write_shard(path, map(rounded, frames))
    with ProcessPoolExecutor(1) as executor:
        work_on(path, executor, 1, end=0.0)
        assert sum(map(is_waiting, frames_of_file(path))) == 3
        work_on(path, executor, 2, end=np.inf)
    found = list(read_all(tmp_path))
    assert [is_labelled(atoms) for atoms in found] == [True, False, True]
    assert "number of electrons" in found[1].info["failure"]
    assert not any(map(is_waiting, found))
    for atoms, given in zip(found, frames, strict=True):
        np.testing.assert_allclose(atoms.positions, given.positions, atol=1e-5)
    assert found[0].get_potential_energy() != found[2].get_potential_energy()
    assert found[0].get_dipole_moment().shape == (3,)
    assert found[0].get_charges().sum() == pytest.approx(0.0, abs=1e-3)


def test_disagreement_comes_first_and_families_take_turns() -> None:
    frames = [
        Atoms("He", info={"family": f, "smiles": s})
        for f, s in (("a", "x"), ("a", "x"), ("a", "y"), ("b", "z"), ("b", "w"))
    ]
    scores = np.array([1.0, 0.9, 0.7, 0.1, 0.2])
    # The second frame of x counts 0.6 times: less than y.
    assert interleaved(frames, scores, {}).tolist() == [0, 4, 2, 3, 1]
    assert interleaved(frames, scores, {"a": 3.0}).tolist()[:3] == [0, 2, 4]
