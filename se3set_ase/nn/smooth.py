"""Smooth functions that are constant outside a range, with two continuous derivatives."""

from __future__ import annotations

import torch
from torch import Tensor


def switch(distance: Tensor, on: Tensor | float, off: Tensor | float) -> Tensor:
    """1 up to ``on``, 0 from ``off``, and a quintic between with two continuous derivatives.

    1 - p(t) = p(1 - t), p(t) = t^3 (10 - 15 t + 6 t^2): from the nearer end, so that rounding makes
    no weight negative.
    """
    t = ((distance - on) / (off - on)).clamp(0.0, 1.0)
    upper = t > 0.5
    u = torch.where(upper, 1.0 - t, t)
    p = u * u * u * (10.0 + u * (6.0 * u - 15.0))
    return torch.where(upper, p, 1.0 - p)


def envelope(distance: Tensor, cutoff: float) -> Tensor:
    """1 at zero, 0 from the cutoff on, C2 there.

    The polynomial of order p = 6 of DimeNet (Gasteiger et al., arXiv:2003.03123, eq. 8).
    """
    x = (distance / cutoff).clamp(max=1.0)
    x6 = x**6
    return 1.0 - 28.0 * x6 + 48.0 * x6 * x - 21.0 * x6 * x * x


def any_of(count: Tensor) -> Tensor:
    """Smooth "at least one" of a weighted count: 0 at 0, 1 from 1 on, C2 there."""
    missing = 1.0 - count.clamp(max=1.0)
    return 1.0 - missing * missing * missing
