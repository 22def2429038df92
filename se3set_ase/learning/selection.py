"""Chooses geometries to label: uncertain ones, different from each other and from known ones."""

from __future__ import annotations

import numpy as np

from se3set_ase.learning.geometry import difference

#: Angstrom. Closer geometries are near-duplicates; atoms vibrate by 0.1 at room temperature.
DUPLICATE = 0.03


def select(
    candidates: np.ndarray,
    known: np.ndarray,
    n: int,
    *,
    uncertainty: np.ndarray | None = None,
) -> list[int]:
    """Indices of at most n candidates, without near-duplicates.

    Parameters
    ----------
    candidates : distances (frames, pairs), see :func:`~se3set_ase.learning.geometry.distances`.
    known : the same of labelled geometries, which are not chosen again.
    uncertainty : (frames,): the most uncertain are chosen first. Without it, those are chosen that
        differ most from all known and chosen ones (farthest point first).
    """
    nearest = np.full(len(candidates), np.inf)
    for one in known:
        nearest = np.minimum(nearest, difference(one, candidates))
    chosen: list[int] = []
    while len(chosen) < n:
        allowed = nearest >= DUPLICATE
        allowed[chosen] = False
        if not allowed.any():
            break
        if uncertainty is not None:
            score = uncertainty
        elif np.isinf(nearest).all():  # nothing is known: begin in the middle
            score = -difference(candidates.mean(axis=0), candidates)
        else:
            score = nearest
        index = int(np.argmax(np.where(allowed, score, -np.inf)))
        chosen.append(index)
        nearest = np.minimum(nearest, difference(candidates[index], candidates))
    return chosen
