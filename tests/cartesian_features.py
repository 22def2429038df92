"""Cartesian features for tests, and the same as e3nn has them."""

from __future__ import annotations

import torch
from e3nn import o3
from torch import Tensor

from se3set_ase.nn.light.cartesian import Features

N, C = 40, 3

#: (first l, second l, l of the output) of each weight of square.
PRODUCT_L = [(0, 0, 0), (1, 1, 0), (2, 2, 0), (0, 1, 1), (1, 0, 1), (2, 1, 1), (1, 2, 1),
             (0, 2, 2), (2, 0, 2), (1, 1, 2), (2, 2, 2)]  # fmt: skip


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def features(seed: int = 0) -> Features:
    return Features(
        random(N, C, seed=seed),
        random(N, 3, C, seed=seed + 1),
        random(N, 5, C, seed=seed + 2),
    )


R2, R6 = 0.5**0.5, 6.0**-0.5
#: (m, x, y) orthonormal symmetric traceless matrices.
BASIS = torch.tensor(
    [
        [[0.0, R2, 0.0], [R2, 0.0, 0.0], [0.0, 0.0, 0.0]],
        [[0.0, 0.0, 0.0], [0.0, 0.0, R2], [0.0, R2, 0.0]],
        [[0.0, 0.0, R2], [0.0, 0.0, 0.0], [R2, 0.0, 0.0]],
        [[R2, 0.0, 0.0], [0.0, -R2, 0.0], [0.0, 0.0, 0.0]],
        [[-R6, 0.0, 0.0], [0.0, -R6, 0.0], [0.0, 0.0, 2.0 * R6]],
    ],
    dtype=torch.float64,
)


def full(tensor: Tensor) -> Tensor:
    """As matrices (n, x, y, c)."""
    return torch.einsum("nmc,mxy->nxyc", tensor, BASIS)


def projected(matrices: Tensor) -> Tensor:
    """Components (n, m, c) of the symmetric traceless part of matrices (n, x, y, c)."""
    return torch.einsum("nxyc,mxy->nmc", matrices, BASIS)


def units(seed: int = 3) -> Tensor:
    vectors = random(N, 3, seed=seed)
    return vectors / vectors.norm(dim=1, keepdim=True)


def turn() -> Tensor:
    q, _ = torch.linalg.qr(random(3, 3, seed=4))
    return q * torch.linalg.det(q)


def only(paths: int, path: int) -> Tensor:
    weight = torch.zeros(N, paths, C, dtype=torch.float64)
    weight[:, path] = 1.0
    return weight


def spherical(f: Features) -> list[Tensor]:
    """As e3nn has them: (n, c, 1), (n, c, 3), (n, c, 5)."""
    # e3nn's coupling of two vectors to l = 2 is an orthogonal basis of symmetric traceless tensors.
    basis = 5**0.5 * o3.wigner_3j(1, 1, 2, dtype=torch.float64)
    return [
        f.scalar[..., None],
        f.vector.transpose(1, 2),
        torch.einsum("nxyc,xym->ncm", full(f.tensor), basis),
    ]


def by_e3nn(first: Tensor, second: Tensor, l_out: int) -> Tensor:
    """e3nn's product of (n, c, 2 l1 + 1) and (n, c or 1, 2 l2 + 1)."""
    l1, l2 = (first.shape[-1] - 1) // 2, (second.shape[-1] - 1) // 2
    w3j = o3.wigner_3j(l1, l2, l_out, dtype=torch.float64)
    return torch.einsum("nci,ncj,ijk->nck", first, second.expand(-1, first.shape[1], -1), w3j)


def outside(vectors: list[Tensor], span: list[Tensor]) -> float:
    """Largest part of the vectors that is no linear combination of the span."""
    columns = torch.stack([v.flatten() for v in span], dim=1)
    wanted = torch.stack([v.flatten() for v in vectors], dim=1)
    fit = torch.linalg.lstsq(columns, wanted).solution
    return float((columns @ fit - wanted).abs().max())


def turned(f: Features, rotation: Tensor) -> Features:
    """Under a rotation, or a reflection: natural parity, so tensors do not change sign."""
    return Features(
        f.scalar,
        torch.einsum("xy,nyc->nxc", rotation, f.vector),
        projected(torch.einsum("xy,zw,nywc->nxzc", rotation, rotation, full(f.tensor))),
    )
