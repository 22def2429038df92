"""How probable outcomes of many ambiguous bonds are, see :mod:`se3set_ase.hypergraph.outcomes`."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from se3set_ase.hypergraph.structure import EXACT_BONDS, RANK, SHARPNESS
from se3set_ase.nn.smooth import switch

#: Limit to the pairs of bonds that are compared at once, which take some tens of MB.
LARGEST_COMPARISON = 2_000_000


def likelihood(factors: Tensor) -> Tensor:
    """Damping factor of each outcome, 0 to 1, see :mod:`se3set_ase.hypergraph.outcomes`.

    Parameters
    ----------
    factors : (T, K) probability of the state of each bond; 1 for an outcome with fewer bonds.

    Returns
    -------
    (T,), exactly 1 for outcomes of at most EXACT_BONDS bonds.
    """
    n_terms, n_bonds = factors.shape
    rows = max(1, LARGEST_COMPARISON // n_bonds**2)
    if n_terms > rows:
        again = partial(checkpoint, likelihood, use_reentrant=False, preserve_rng_state=False)
        return torch.cat([again(part) for part in factors.split(rows)])
    y = 4.0 * factors * (1.0 - factors)
    other, own = y[:, None, :], y[:, :, None]  # t, a, c
    outranks = other / (other + SHARPNESS * own + torch.finfo(y.dtype).tiny)
    itself = y / (y + SHARPNESS * y + torch.finfo(y.dtype).tiny)
    excess = 1.0 - switch(outranks.sum(2) - itself, EXACT_BONDS - 1, RANK)  # t, a
    return (1.0 - excess * switch(factors, 0.5, 1.0)).prod(1)
