"""Calibration of the uncertainty of a committee."""

from __future__ import annotations

import numpy as np
import pytest

from research.organic import calibrate

#: Relative tolerance of factor and floor, and number of errors.
FITTED, ERRORS = 0.1, 40_000


def test_factor_and_floor_of_random_errors_are_recovered() -> None:
    rng = np.random.default_rng(0)
    spread = rng.lognormal(-3.0, 1.0, ERRORS)
    for factor, floor in ((2.0, 0.05), (0.5, 0.2)):
        scale = np.hypot(factor * spread, floor)
        lengths = np.linalg.norm(rng.normal(size=(ERRORS, 3)), axis=1) * scale / np.sqrt(3)
        for error in (rng.normal(scale=scale), lengths):
            found = calibrate.likeliest(spread, error)
            assert found == pytest.approx((factor, floor), rel=FITTED)


def test_neighbourhoods_of_a_molecule_are_those_of_its_geometry() -> None:
    assert calibrate.neighbourhoods("C=CO") == {
        "C(C,H,H)",
        "C(C,H,O)",
        "O(C,H)",
        "H(C)",
        "H(O)",
    }
    assert "C(C,C)*" in calibrate.neighbourhoods("C[C]C")
