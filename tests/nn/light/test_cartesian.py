"""Cartesian features against e3nn's couplings, and under rotations and reflections."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from cartesian_features import (
    BASIS,
    PRODUCT_L,
    C,
    N,
    by_e3nn,
    features,
    full,
    only,
    outside,
    projected,
    random,
    spherical,
    turn,
    turned,
    units,
)
from e3nn import o3
from torch import Tensor

from se3set_ase.nn.light.cartesian import (
    EDGE_PATHS,
    FIRST_EDGE_PATHS,
    PRODUCT_PATHS,
    Direction,
    FeatureLinear,
    Features,
    contracted,
    coupled,
    dot,
    edge_product,
    first_edge_product,
    multiplied,
    saturate,
    spread,
    square,
    times,
)

TOLERANCE = 1e-12
CONTROL = 1e-2

#: (l of the member, l of the output) of each weight of edge_product.
EDGE_L = [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (0, 2), (1, 2), (2, 2)]


def test_the_change_of_basis_is_orthogonal_and_turns_with_e3nn() -> None:
    f, rotation = features(), turn()
    before, after = spherical(f), spherical(turned(f, rotation))
    for degree, (a, b) in enumerate(zip(before, after, strict=True)):
        # e3nn's Wigner matrices go through angles and single precision.
        wigner = o3.Irrep(degree, (-1) ** degree).D_from_matrix(rotation.float()).double()
        torch.testing.assert_close(b, a @ wigner.T, rtol=0, atol=1e-4)
    torch.testing.assert_close(
        before[2].square().sum(-1), f.tensor.square().sum(1), rtol=0, atol=TOLERANCE
    )


@pytest.mark.parametrize("path", range(EDGE_PATHS))
def test_edge_product_is_that_of_e3nn_with_the_lowest_harmonic(path: int) -> None:
    l_in, l_out = EDGE_L[path]
    f, unit = features(), units()
    ours = spherical(edge_product(f, Direction.of(unit), only(EDGE_PATHS, path)))[l_out]

    def theirs(degree: int) -> Tensor:
        harmonics = o3.spherical_harmonics(degree, unit, normalize=True)[:, None]
        return by_e3nn(spherical(f)[l_in], harmonics, l_out)

    lowest = abs(l_in - l_out)
    assert outside([ours], [theirs(lowest)]) < TOLERANCE
    assert outside([theirs(lowest)], [ours]) < TOLERANCE
    for degree in range(lowest + 1, l_in + l_out + 1):  # of either parity
        assert outside([ours], [theirs(degree)]) > CONTROL
    assert len(set(EDGE_L)) == EDGE_PATHS == 9


def test_each_weight_of_edge_product_affects_one_l_only() -> None:
    f, unit = features(), units()
    for path, (l_in, l_out) in enumerate(EDGE_L):
        out = spherical(edge_product(f, Direction.of(unit), only(EDGE_PATHS, path)))
        assert [bool(o.abs().max() > 0) for o in out] == [degree == l_out for degree in range(3)]
        parts = list(f)
        parts[l_in] = torch.zeros_like(parts[l_in])
        out = spherical(edge_product(Features(*parts), Direction.of(unit), only(EDGE_PATHS, path)))
        assert all(o.abs().max() == 0 for o in out)


def test_square_is_the_product_of_e3nn_path_by_path() -> None:
    f = features()
    a = spherical(f)
    for path, (l1, l2, l_out) in enumerate(PRODUCT_L):
        out = spherical(square(f, only(PRODUCT_PATHS, path)))
        assert [bool(o.abs().max() > 0) for o in out] == [degree == l_out for degree in range(3)]
        expected = by_e3nn(a[l1], a[l2], l_out)
        factor = (out[l_out] * expected).sum() / expected.square().sum()
        torch.testing.assert_close(out[l_out], factor * expected, rtol=0, atol=TOLERANCE)
        assert factor.abs() > 0.1


def test_products_are_linear_in_their_weights() -> None:
    f, unit = features(), units()
    weight = random(N, PRODUCT_PATHS, C, seed=7)
    for paths, call in (
        (EDGE_PATHS, lambda w: edge_product(f, Direction.of(unit), w)),
        (PRODUCT_PATHS, lambda w: square(f, w)),
    ):
        parts = [call(weight[:, :paths] * only(paths, p)) for p in range(paths)]
        for whole, *each in zip(call(weight[:, :paths]), *parts, strict=True):
            torch.testing.assert_close(whole, sum(each), rtol=0, atol=TOLERANCE)


def test_first_edge_product_is_the_case_of_scalars_only() -> None:
    f, direction = features(), Direction.of(units())
    alone = Features(f.scalar, torch.zeros_like(f.vector), torch.zeros_like(f.tensor))
    weight = random(N, FIRST_EDGE_PATHS, C, seed=7)
    every = torch.zeros(N, EDGE_PATHS, C, dtype=torch.float64)
    for index, path in enumerate((0, 3, 6)):
        every[:, path] = weight[:, index]
    for a, b in zip(
        first_edge_product(f.scalar, direction, weight),
        edge_product(alone, direction, every),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=TOLERANCE)
        assert a.abs().max() > CONTROL


def applied(f: Features, unit: Tensor) -> Features:
    linear_weight = random(3, C, C, seed=8)
    linear = FeatureLinear(C).double()
    linear.weight.data = linear_weight
    out = edge_product(linear(f), Direction.of(unit), random(N, EDGE_PATHS, C, seed=5))
    return square(out, random(N, PRODUCT_PATHS, C, seed=6))


@pytest.mark.parametrize("determinant", [1.0, -1.0])
def test_equivariance_and_a_control_that_breaks_it(determinant: float) -> None:
    rotation = determinant * turn()
    f, unit = features(), units()
    expected = turned(applied(f, unit), rotation)
    got = applied(turned(f, rotation), unit @ rotation.T)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-11)
    broken = applied(turned(f, rotation), unit)  # the edges stay behind
    assert all((a - b).abs().max() > CONTROL for a, b in zip(broken, expected, strict=True))


def test_the_basis_is_orthonormal_symmetric_and_traceless() -> None:
    torch.testing.assert_close(
        torch.einsum("mxy,nxy->mn", BASIS, BASIS), torch.eye(5).double(), rtol=0, atol=TOLERANCE
    )
    assert torch.equal(BASIS, BASIS.transpose(1, 2))
    assert torch.einsum("mxx->m", BASIS).abs().max() == 0.0


def test_direction_is_its_formula() -> None:
    unit = units()
    expected = torch.einsum("mxy,ny->nmx", BASIS, unit)
    direction = Direction.of(unit)
    torch.testing.assert_close(direction.slope, expected, rtol=0, atol=TOLERANCE)
    assert torch.equal(direction.unit, unit)
    assert Direction.of(unit.float()).slope.dtype == torch.float32


@pytest.mark.parametrize(
    ("function", "formula", "ranks", "rank"),
    [
        (dot, "nxc,nxc->nc", (1, 1), 0),
        (dot, "nxyc,nxyc->nc", (2, 2), 0),
        (contracted, "nxyc,nyc->nxc", (2, 1), 1),
        (coupled, "nxc,nyc->nxyc", (1, 1), 2),
        (multiplied, "nxyc,nyzc->nxzc", (2, 2), 2),
    ],
)
def test_contractions_are_their_formulas(
    function: Callable[[Tensor, Tensor], Tensor], formula: str, ranks: tuple[int, int], rank: int
) -> None:
    """Of different features, not only of one with itself."""
    components = (1, 3, 5)
    a, b = (random(N, components[r], C, seed=seed) for seed, r in enumerate(ranks))
    expected = torch.einsum(
        formula, *(full(x) if r == 2 else x for x, r in zip((a, b), ranks, strict=True))
    )
    expected = projected(expected) if rank == 2 else expected
    assert expected.abs().max() > CONTROL
    torch.testing.assert_close(function(a, b), expected, rtol=0, atol=TOLERANCE)


def test_tensors_and_vectors_with_a_direction() -> None:
    f, unit = features(), units()
    slope = Direction.of(unit).slope
    torch.testing.assert_close(
        times(f.tensor, slope),
        torch.einsum("nxyc,ny->nxc", full(f.tensor), unit),
        rtol=0,
        atol=TOLERANCE,
    )
    torch.testing.assert_close(
        spread(slope, f.vector),
        projected(torch.einsum("nx,nyc->nxyc", unit, f.vector)),
        rtol=0,
        atol=TOLERANCE,
    )


def test_saturation_is_its_formula() -> None:
    f, size = features(), 1.5
    square_norm = f.scalar**2 + (f.vector**2).sum(1) + (full(f.tensor) ** 2).sum((1, 2))
    short = saturate(f, size)
    expected = f.tensor / torch.sqrt(1.0 + square_norm / size**2)[:, None]
    torch.testing.assert_close(short.tensor, expected, rtol=0, atol=TOLERANCE)
    length = short.scalar**2 + (short.vector**2).sum(1) + (short.tensor**2).sum(1)
    assert length.max() < size**2 < square_norm.max()


def test_features_gather_items() -> None:
    f = features()
    index = torch.tensor([3, 3, 0])
    assert torch.equal(f.at(index).tensor, f.tensor[index])
    assert f[0] is f.scalar
    scalar, vector, tensor = f.scaled(torch.full((N, C), 2.0, dtype=torch.float64))
    assert torch.equal(vector, 2.0 * f.vector)
    assert torch.equal(f.plus(f).tensor, tensor)
    assert torch.equal(scalar, f.scalar + f.scalar)
