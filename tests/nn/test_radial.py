"""The radial basis against its formula and integrals, the repulsion against published numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.polynomial.legendre import leggauss
from torch import Tensor

from se3set_ase.nn.radial import COULOMB, BesselBasis, Repulsion
from se3set_ase.nn.smooth import envelope, switch

CUTOFF = 5.0
FLOAT64 = 1e-12
ELEMENTS = (1, 6, 8, 92)
RADII = (0.31, 0.76, 0.66, 1.96)


def float64(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_bessel_is_its_formula() -> None:
    d = np.linspace(0.1, 6.0, 50)
    expected = np.stack(
        [math.sqrt(2 / CUTOFF) * np.sin(n * np.pi * d / CUTOFF) / d for n in range(1, 9)], axis=1
    )
    got = BesselBasis(8, CUTOFF).double()(torch.from_numpy(d)).numpy()
    np.testing.assert_allclose(got, expected, rtol=0, atol=FLOAT64)


def test_bessel_functions_are_orthonormal_in_the_ball_of_the_cutoff() -> None:
    """integral of j_n j_m d^2 dd = delta_nm, by Gauss-Legendre quadrature."""
    points, quadrature = leggauss(64)
    d = 0.5 * CUTOFF * (points + 1.0)
    basis = BesselBasis(8, CUTOFF).double()(torch.from_numpy(d)).numpy()
    overlap = np.einsum("qn,qm,q->nm", basis, basis, quadrature * d**2) * 0.5 * CUTOFF
    np.testing.assert_allclose(overlap, np.eye(8), rtol=0, atol=FLOAT64)


def test_bessel_constants_survive_conversions() -> None:
    exact = BesselBasis(8, CUTOFF).double().frequencies.clone()
    basis = BesselBasis(8, CUTOFF).float().double().float().double()
    assert torch.equal(basis.frequencies, exact)
    assert exact[7] == 8 * math.pi / CUTOFF
    assert "frequencies" not in basis.state_dict()


def zbl(z1: int, z2: int, d: float) -> float:
    """Ziegler, Biersack, Littmark 1985, from its published constants, in eV and Angstrom."""
    length = 0.8854 * 0.529177 / (z1**0.23 + z2**0.23)
    x = d / length
    phi = (
        0.18175 * math.exp(-3.19980 * x)
        + 0.50986 * math.exp(-0.94229 * x)
        + 0.28022 * math.exp(-0.40290 * x)
        + 0.02817 * math.exp(-0.20162 * x)
    )
    return 14.399645 * z1 * z2 / d * phi


def repulsion() -> Repulsion:
    return Repulsion(ELEMENTS, RADII, cutoff=10.0).double()


@pytest.mark.parametrize(("a", "b"), [(0, 0), (0, 1), (1, 2), (2, 3)])
def test_repulsion_is_zbl_times_an_envelope(a: int, b: int) -> None:
    reach = Repulsion.RANGE * (RADII[a] + RADII[b])
    for d in (0.01, 0.1, 0.3, 0.9 * reach):
        (got,) = repulsion()(float64(d), torch.tensor([a]), torch.tensor([b]))
        x = d / reach
        taper = 1.0 - 28.0 * x**6 + 48.0 * x**7 - 21.0 * x**8
        # The published length is given to four digits.
        assert float(got) == pytest.approx(zbl(ELEMENTS[a], ELEMENTS[b], d) * taper, rel=1e-3)


def test_repulsion_of_two_protons_close_together_is_coulombs() -> None:
    assert pytest.approx(1.602176634e-19 / (4e-10 * math.pi * 8.8541878128e-12), rel=1e-9) == (
        COULOMB
    )
    d = 1e-5
    (got,) = repulsion()(float64(d), torch.tensor([0]), torch.tensor([0]))
    assert float(got) == pytest.approx(COULOMB / d, rel=1e-4)


def test_repulsion_is_symmetric_falls_steadily_and_ends() -> None:
    module = repulsion()
    for a in range(4):
        for b in range(a, 4):
            reach = Repulsion.RANGE * (RADII[a] + RADII[b])
            d = torch.linspace(0.05, 1.2 * reach, 400, dtype=torch.float64)
            first, second = torch.full((400,), a), torch.full((400,), b)
            energy = module(d, first, second)
            torch.testing.assert_close(energy, module(d, second, first), rtol=FLOAT64, atol=0)
            assert (energy[d >= reach] == 0).all()
            inside = energy[d < reach]
            assert (inside[1:] < inside[:-1]).all()
            assert energy[0] > 50.0


def derivatives(function: Callable[[Tensor], Tensor], at: float) -> list[float]:
    x = float64(at).requires_grad_(True)
    values, y = [], function(x).sum()
    for _ in range(3):
        values.append(float(y.detach()))
        (y,) = torch.autograd.grad(y, x, create_graph=True)
        y = y.sum()
    return values


@pytest.mark.parametrize(
    ("function", "end", "value"),
    [
        (lambda d: switch(d, 1.0, 2.0), 1.0, 1.0),
        (lambda d: switch(d, 1.0, 2.0), 2.0, 0.0),
        (lambda d: envelope(d, 5.0), 5.0, 0.0),
    ],
)
def test_switches_are_twice_differentiable_at_their_ends(
    function: Callable[[Tensor], Tensor], end: float, value: float
) -> None:
    for side in (-1e-7, 1e-7):
        assert derivatives(function, end + side) == pytest.approx([value, 0.0, 0.0], abs=1e-4)
    middle = derivatives(function, 1.6 if end < 3 else 4.0)
    assert abs(middle[1]) > 1e-2
