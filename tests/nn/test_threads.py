"""Threads of torch: as many as a graph needs, and afterwards as many as before."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.calculators.calculator import InputError
from untrained import Make

from se3set_ase.nn import threads
from se3set_ase.nn.model import SE3Set


@pytest.fixture(autouse=True)
def four_threads() -> Iterator[None]:
    """Torch as on a computer with four cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of threads in each pass of a model."""
    numbers = []
    original = SE3Set.energies

    def counted(self: SE3Set, *args: object) -> torch.Tensor:
        numbers.append(torch.get_num_threads())
        return original(self, *args)

    monkeypatch.setattr(SE3Set, "energies", counted)
    return numbers


def test_a_small_molecule_has_one_thread(make: Make, seen: list[int]) -> None:
    atoms = molecule("CH3CH2OH")
    atoms.calc = make()
    atoms.get_forces()
    atoms.calc.get_hessian(atoms)
    assert set(seen) == {1}
    assert len(seen) == 2
    assert torch.get_num_threads() == 4


def test_large_ones_have_more_up_to_those_of_torch(
    make: Make, seen: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    potential = make().potential
    expected = {}
    ethanol = molecule("CH3CH2OH")
    (prediction,) = potential.predict([ethanol])
    n_edges = len(prediction.hypergraph.structure.edge_atom)
    seen.clear()
    for copies, n in {1: 1, 2: 2, 3: 3, 9: 4}.items():
        monkeypatch.setattr(threads, "EDGES_PER_THREAD", n_edges)
        potential.predict([ethanol] * copies)
        expected[copies] = n
    assert seen == list(expected.values())
    assert torch.get_num_threads() == 4


def test_an_error_changes_no_number(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    atoms = molecule("CH3CH2OH")
    atoms.calc = make()

    def fail(*_: object) -> None:
        assert torch.get_num_threads() == 1
        raise RuntimeError("in the pass")

    with monkeypatch.context() as patch:
        patch.setattr(SE3Set, "energies", fail)
        with pytest.raises(RuntimeError, match="in the pass"):
            atoms.get_forces()
    assert torch.get_num_threads() == 4
    atoms.positions[0] = np.nan
    with pytest.raises(InputError):
        atoms.get_forces()
    assert torch.get_num_threads() == 4
