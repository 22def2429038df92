"""Calibration of the uncertainty of a committee."""

from __future__ import annotations

from research.organic import calibrate


def test_neighbourhoods_of_a_molecule_are_those_of_its_geometry() -> None:
    assert calibrate.neighbourhoods("C=CO") == {
        "C(C,H,H)",
        "C(C,H,O)",
        "O(C,H)",
        "H(C)",
        "H(O)",
    }
    assert "C(C,C)*" in calibrate.neighbourhoods("C[C]C")
