"""Equivariant features up to l = 2 in Cartesian form, and their products.

Per channel a scalar, a vector and a symmetric traceless tensor. For natural parity (every l
carries parity (-1)^l) the products below are those of e3nn's tensor product, up to one factor per
path, without Clebsch-Gordan sums. Index letters: n item, x y z Cartesian axes, c channel.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

#: Weights per channel of :func:`edge_product` with full and with scalar-only features.
EDGE_PATHS, FIRST_EDGE_PATHS = 9, 3
#: With all harmonics up to l = 4, as in models of the first days.
ALL_EDGE_PATHS = 14
#: Weights per channel of :func:`square`.
PRODUCT_PATHS = 11


class Features(NamedTuple):
    """Scalars (n, c), vectors (n, x, c), symmetric traceless tensors (n, x, y, c)."""

    scalar: Tensor
    vector: Tensor
    tensor: Tensor

    def at(self, index: Tensor) -> Features:
        """Gather items."""
        return Features(*(x.index_select(0, index) for x in self))

    def plus(self, other: Features) -> Features:
        """Sum, item by item."""
        return Features(
            self.scalar + other.scalar, self.vector + other.vector, self.tensor + other.tensor
        )

    def scaled(self, factor: Tensor) -> Features:
        """Times a factor per item and channel (n, c)."""
        return Features(
            self.scalar * factor,
            self.vector * factor[:, None],
            self.tensor * factor[:, None, None],
        )


def symmetric_traceless(tensor: Tensor) -> Tensor:
    """Symmetric traceless part of (n, x, y, c)."""
    return traceless(0.5 * (tensor + tensor.transpose(1, 2)))


def traceless(tensor: Tensor) -> Tensor:
    """Traceless part of a symmetric (n, x, y, c)."""
    # One slice: the gradients of three selections make compiled code a fifth slower.
    trace = tensor.flatten(1, 2)[:, ::4].sum(1) / 3.0  # n, c
    identity = torch.eye(3, dtype=tensor.dtype, device=tensor.device)[..., None]  # x, y, 1
    return tensor - identity * trace[:, None, None]


def times(tensor: Tensor, vector: Tensor) -> Tensor:
    """sum_y T[n, x, y, c] v[n, y, c] -> (n, x, c); v may have one channel."""
    return (tensor * vector[:, None]).sum(2)


def dot(first: Tensor, second: Tensor) -> Tensor:
    """sum_x a[n, x, c] b[n, x, c] -> (n, c)."""
    return (first * second).sum(1)


def contract(first: Tensor, second: Tensor) -> Tensor:
    """sum_xy A[n, x, y, c] B[n, x, y, c] -> (n, c)."""
    return (first * second).sum((1, 2))


def matmul(first: Tensor, second: Tensor) -> Tensor:
    """sum_y A[n, x, y, c] B[n, y, z, c] -> (n, x, z, c)."""
    return (first[:, :, :, None] * second[:, None]).sum(2)


def outer(first: Tensor, second: Tensor) -> Tensor:
    """a[n, x, c] b[n, y, c] -> (n, x, y, c)."""
    return first[:, :, None] * second[:, None]


def edge_product(features: Features, unit: Tensor, weight: Tensor) -> Features:
    """Depthwise product of a member's features with the harmonics (l <= 2) of an edge.

    Of each l of the member to each l of the output one path, with the lowest harmonic that there
    is. Those with l up to 4 make five more, which cost a quarter of the time and change nothing:
    products of sums contract with the edges again.

    Parameters
    ----------
    features : of the member at the end of each edge. unit : (n, x) direction of the edge.
    weight : (n, 9, c), one weight per path, or (n, 14, c) for all of them.

    Returns
    -------
    Features whose tensors are not yet symmetric and traceless: that part is linear, so it is
    taken once for each hyperedge, after the sum.
    """
    s, v, t = features
    w = weight.unbind(1)
    r = unit[..., None]  # n, x, 1
    b = times(t, r)
    if len(w) == ALL_EDGE_PATHS:
        a, c = dot(v, r), dot(b, r)
        scalar = w[0] * s + w[1] * a + w[2] * c
        vector = r * (w[3] * s + w[4] * a + w[5] * c)[:, None]
        vector = vector + w[6][:, None] * v + w[7][:, None] * b
        row = r * (w[8] * s + w[9] * a + w[10] * c)[:, None]
        row = row + w[11][:, None] * v + w[12][:, None] * b
        return Features(scalar, vector, outer(r.expand_as(row), row) + w[13][:, None, None] * t)
    scalar = w[0] * s + w[1] * dot(v, r) + w[2] * dot(b, r)
    vector = r * (w[3] * s)[:, None] + w[4][:, None] * v + w[5][:, None] * b
    row = r * (w[6] * s)[:, None] + w[7][:, None] * v
    tensor = outer(r.expand_as(row), row) + w[8][:, None, None] * t
    return Features(scalar, vector, tensor)


def first_edge_product(scalar: Tensor, unit: Tensor, weight: Tensor) -> Features:
    """:func:`edge_product` for members that have scalars only; weight is (n, 3, c)."""
    w = weight * scalar[:, None]
    r = unit[..., None]
    vector = r * w[:, 1][:, None]
    return Features(w[:, 0], vector, outer(r.expand_as(vector), r * w[:, 2][:, None]))


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
    scalar = w[0] * s * s + w[1] * dot(v, v) + w[2] * contract(t, t)
    vector = ((w[3] + w[4]) * s)[:, None] * v + (w[5] + w[6])[:, None] * times(t, v)
    both = outer(w[9][:, None] * v, v) + w[10][:, None, None] * matmul(t, t)
    tensor = ((w[7] + w[8]) * s)[:, None, None] * t + traceless(both)
    return Features(scalar, vector, tensor)


def saturate(features: Features, size: float) -> Features:
    """Shorten each channel smoothly, f / sqrt(1 + |f|^2 / size^2), to less than ``size``.

    |f|^2 takes scalar, vector and tensor together.
    """
    s, v, t = features
    square = s * s + dot(v, v) + contract(t, t)  # n, c
    return features.scaled((1.0 + square / size**2).rsqrt())


class FeatureLinear(nn.Module):
    """Mixes channels, each l with its own matrix (c -> d); no bias."""

    def __init__(self, channels: int, gain: float = 1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, channels, channels) * gain / channels**0.5)

    def forward(self, features: Features) -> Features:
        """(n, ..., c) @ (c, d) -> (n, ..., d)."""
        scalar, vector, tensor = features
        return Features(scalar @ self.weight[0], vector @ self.weight[1], tensor @ self.weight[2])
