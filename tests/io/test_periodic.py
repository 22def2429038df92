"""Molecules that a periodic boundary cuts are made whole."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from se3set_ase.io.periodic import without_cell


def test_molecules_are_made_whole() -> None:
    ethanol = molecule("CH3CH2OH")
    ethanol.center(vacuum=4.0)
    ethanol.pbc = True
    expected = ethanol.get_all_distances()
    ethanol.positions += [0.0, 0.0, 4.0]
    ethanol.wrap()
    assert not np.allclose(ethanol.get_all_distances(), expected)  # it is cut
    before = ethanol.positions.copy()
    whole = without_cell(ethanol)
    np.testing.assert_allclose(whole.get_all_distances(), expected, atol=1e-10)
    assert not whole.pbc.any()
    assert not whole.cell.any()
    np.testing.assert_array_equal(ethanol.positions, before)


def test_distances_between_molecules_are_those_of_the_file() -> None:
    pair = Atoms("Ne2", [[1, 1, 1], [1, 1, 9]], cell=[10, 10, 10], pbc=True)
    np.testing.assert_array_equal(without_cell(pair).positions, pair.positions)


@pytest.mark.parametrize("crystal", [bulk("C", cubic=True), bulk("Cu")])
def test_crystals_are_refused(crystal: Atoms) -> None:
    with pytest.raises(ValueError, match="bonds that extend through all cells"):
        without_cell(crystal)
