"""Equivariant features up to l = 2 in Cartesian form, and their products.

Per channel a scalar, a vector and a symmetric traceless tensor, kept as its five components in an
orthonormal basis of such matrices. For natural parity (every l carries parity (-1)^l) the products
below are those of e3nn's tensor product, up to one factor per path, without Clebsch-Gordan sums.
Index letters: n item, x y z Cartesian axes, m component of a tensor, c channel.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

#: Weights per channel of :func:`edge_product` with full and with scalar-only features.
EDGE_PATHS, FIRST_EDGE_PATHS = 9, 3
#: Weights per channel of :func:`square`.
PRODUCT_PATHS = 11

#: The basis of tensors: (xy + yx) / sqrt 2, (yz + zy) / sqrt 2, (xz + zx) / sqrt 2,
#: (xx - yy) / sqrt 2, (2 zz - xx - yy) / sqrt 6.
_R2, _R6 = 0.5**0.5, 6.0**-0.5


class Features(NamedTuple):
    """Scalars (n, c), vectors (n, x, c), symmetric traceless tensors (n, m, c)."""

    scalar: Tensor
    vector: Tensor
    tensor: Tensor

    def at(self, index: Tensor) -> Features:
        """Gather items."""
        return Features(*(x.index_select(0, index) for x in self))

    def plus(self, other: Features) -> Features:
        """Sum of two sets of features."""
        return Features(
            self.scalar + other.scalar, self.vector + other.vector, self.tensor + other.tensor
        )

    def scaled(self, factor: Tensor) -> Features:
        """Multiply by a factor per item and channel (n, c)."""
        more = factor[:, None]
        return Features(self.scalar * factor, self.vector * more, self.tensor * more)


class Direction(NamedTuple):
    """Direction of an edge, prepared for products."""

    unit: Tensor
    """(n, x)"""
    slope: Tensor
    """(n, m, x), sum_y B[m, x, y] unit[n, y] with the basis B of tensors: takes a tensor to its
    product with the direction, and a vector to the tensor that it makes with the direction."""

    @classmethod
    def of(cls, unit: Tensor) -> Direction:
        """A linear function of the direction."""
        x, y, z = unit.unbind(1)
        a, b, c = (_R2 * unit).unbind(1)
        d, e, f = (_R6 * unit).unbind(1)
        o = torch.zeros_like(x)
        # Including the unit vector; otherwise a compiler divides by the length again for each
        # channel.
        rows = [x, y, z, b, a, o, o, c, b, c, o, a, a, -b, o, -d, -e, 2.0 * f]
        both = torch.stack(rows, dim=1).view(-1, 6, 3)
        return cls(both[:, 0], both[:, 1:])


def dot(first: Tensor, second: Tensor) -> Tensor:
    """Sum over components: a[n, m, c] b[n, m, c] -> (n, c), of vectors or of tensors."""
    return (first * second).sum(1)


def times(tensor: Tensor, slope: Tensor) -> Tensor:
    """Tensor times direction: sum_m T[n, m, c] slope[n, m, x] -> (n, x, c)."""
    return (tensor[:, :, None] * slope[..., None]).sum(1)


def spread(slope: Tensor, vector: Tensor) -> Tensor:
    """Tensor of direction and vector: sum_x slope[n, m, x] v[n, x, c] -> (n, m, c)."""
    return (slope[..., None] * vector[:, None]).sum(2)


def matrix(tensor: Tensor) -> tuple[Tensor, ...]:
    """xx, yy, zz, xy, yz, xz, each (n, c)."""
    xy, yz, xz, d, e = tensor.unbind(1)
    d, e = _R2 * d, _R6 * e
    return d - e, -d - e, 2.0 * e, _R2 * xy, _R2 * yz, _R2 * xz


def contracted(tensor: Tensor, vector: Tensor) -> Tensor:
    """Tensor times vector (n, x, c), channel by channel."""
    xx, yy, zz, xy, yz, xz = matrix(tensor)
    x, y, z = vector.unbind(1)
    return torch.stack(
        [xx * x + xy * y + xz * z, xy * x + yy * y + yz * z, xz * x + yz * y + zz * z], dim=1
    )


def coupled(first: Tensor, second: Tensor) -> Tensor:
    """Symmetric traceless part of the product of two vectors (n, x, c) -> (n, m, c)."""
    x, y, z = first.unbind(1)
    u, v, w = second.unbind(1)
    xu, yv = x * u, y * v
    return torch.stack(
        [
            _R2 * (x * v + y * u), _R2 * (y * w + z * v), _R2 * (x * w + z * u),
            _R2 * (xu - yv), _R6 * (2.0 * z * w - xu - yv),
        ],
        dim=1,
    )  # fmt: skip


def multiplied(first: Tensor, second: Tensor) -> Tensor:
    """Symmetric traceless part of the product of two tensors (n, m, c)."""
    xx, yy, zz, xy, yz, xz = matrix(first)
    XX, YY, ZZ, XY, YZ, XZ = matrix(second)
    a, b, c = xy * XY, yz * YZ, xz * XZ
    return torch.stack(
        [
            _R2 * (yz * XZ + xz * YZ - xy * ZZ - zz * XY),
            _R2 * (xy * XZ + xz * XY - yz * XX - xx * YZ),
            _R2 * (xy * YZ + yz * XY - xz * YY - yy * XZ),
            _R2 * (xx * XX - yy * YY + c - b),
            _R6 * (2.0 * zz * ZZ - xx * XX - yy * YY + b + c - 2.0 * a),
        ],
        dim=1,
    )  # fmt: skip


def edge_product(features: Features, direction: Direction, weight: Tensor) -> Features:
    """Depthwise product of a member's features with the harmonics (l <= 2) of an edge.

    One path from each l of the member to each l of the output, with the lowest possible harmonic.
    Harmonics up to l = 4 give five more paths, which cost a quarter of the time and do not improve
    results, because products of sums contract with the edges again.

    Parameters
    ----------
    features : of the member at the end of each edge. direction : of each edge.
    weight : (n, 9, c), one weight per path.
    """
    s, v, t = features
    w = weight.unbind(1)
    r, slope = direction.unit[..., None], direction.slope  # n, x, 1
    b = times(t, slope)
    scalar = w[0] * s + w[1] * dot(v, r) + w[2] * dot(b, r)
    vector = r * (w[3] * s)[:, None] + w[4][:, None] * v + w[5][:, None] * b
    row = r * (w[6] * s)[:, None] + w[7][:, None] * v
    return Features(scalar, vector, spread(slope, row) + w[8][:, None] * t)


def first_edge_product(scalar: Tensor, direction: Direction, weight: Tensor) -> Features:
    """:func:`edge_product` for members that have scalars only; weight is (n, 3, c)."""
    w = (weight * scalar[:, None]).unbind(1)
    r = direction.unit[..., None]
    return Features(w[0], r * w[1][:, None], spread(direction.slope, r) * w[2][:, None])


def weighed(radial: Tensor, attention: Tensor) -> Tensor:
    """radial[e, p, c] attention[e, head of c] -> (e, p, c)."""
    each = radial.shape[2] // attention.shape[1]
    return radial * attention.repeat_interleave(each, dim=1)[:, None]


def square(features: Features, weight: Tensor) -> Features:
    """Channel-wise product of features with themselves; weight is (n or 1, 11, c).

    One weight per path of e3nn's product of two sets of features. Those of s v and v s add up, and
    those of v t and t v, s t and t s.
    """
    w = weight.unbind(1)
    s, v, t = features
    scalar = w[0] * s * s + w[1] * dot(v, v) + w[2] * dot(t, t)
    vector = ((w[3] + w[4]) * s)[:, None] * v + (w[5] + w[6])[:, None] * contracted(t, v)
    both = w[9][:, None] * coupled(v, v) + w[10][:, None] * multiplied(t, t)
    return Features(scalar, vector, ((w[7] + w[8]) * s)[:, None] * t + both)


def product(first: Features, second: Features, weight: Tensor) -> Features:
    """Channel-wise product of two sets of features; weight is (n or 1, 11, c).

    Paths in the order of :func:`square`, which is this product of features with themselves.
    """
    w = weight.unbind(1)
    s, v, t = first
    S, V, T = second
    scalar = w[0] * s * S + w[1] * dot(v, V) + w[2] * dot(t, T)
    vector = (w[3] * s)[:, None] * V + (w[4] * S)[:, None] * v
    vector = vector + w[5][:, None] * contracted(t, V) + w[6][:, None] * contracted(T, v)
    tensor = (w[7] * s)[:, None] * T + (w[8] * S)[:, None] * t
    both = w[9][:, None] * coupled(v, V) + w[10][:, None] * multiplied(t, T)
    return Features(scalar, vector, tensor + both)


def saturate(features: Features, size: float) -> Features:
    """Limit the length of each channel smoothly to ``size``, f / sqrt(1 + |f|^2 / size^2).

    |f|^2 includes scalar, vector and tensor.
    """
    return features.scaled((1.0 + square_norm(features) / size**2).rsqrt())


def square_norm(features: Features) -> Tensor:
    """|f|^2 (n, c) of scalar, vector and tensor together."""
    s, v, t = features
    return s * s + dot(v, v) + dot(t, t)


class FeatureLinear(nn.Module):
    """Mixes channels, each l with its own matrix (c -> d); no bias."""

    def __init__(self, channels: int, gain: float = 1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, channels, channels) * gain / channels**0.5)

    def forward(self, features: Features) -> Features:
        """(n, ..., c) @ (c, d) -> (n, ..., d)."""
        scalar, vector, tensor = features
        return Features(scalar @ self.weight[0], vector @ self.weight[1], tensor @ self.weight[2])
