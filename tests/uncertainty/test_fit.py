"""Factors and floors of a committee."""

from __future__ import annotations

import numpy as np
import pytest

from se3set_ase.uncertainty.fit import likeliest

#: Relative tolerance of factor and floor, and number of errors.
FITTED, ERRORS = 0.1, 40_000


def test_factor_and_floor_of_random_errors_are_recovered() -> None:
    rng = np.random.default_rng(0)
    spread = rng.lognormal(-3.0, 1.0, ERRORS)
    for factor, floor in ((2.0, 0.05), (0.5, 0.2)):
        scale = np.hypot(factor * spread, floor)
        lengths = np.linalg.norm(rng.normal(size=(ERRORS, 3)), axis=1) * scale / np.sqrt(3)
        for error in (rng.normal(scale=scale), lengths):
            found = likeliest(spread, error)
            assert found == pytest.approx((factor, floor), rel=FITTED)


def test_members_that_agree_leave_the_floor() -> None:
    error = np.array([0.3, -0.4])
    factor, floor = likeliest(np.zeros(2), error)
    assert (factor, floor) == (1.0, pytest.approx(np.sqrt(0.125)))
