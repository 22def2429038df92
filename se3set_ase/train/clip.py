"""Clip gradients that are much longer than usual.

A single batch with a rare geometry would dominate the optimiser's momentum for twenty steps, and
AMSGrad's maxima for ever. The usual length is measured during the run, because gradients change by
orders of magnitude. After Seetharaman et al., "AutoClip", arXiv:2007.14469, with a running mean
instead of the percentile.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor
from torch.nn.utils import clip_grad_norm_

#: Decay of the running mean of lengths, which averages over some hundred steps.
DECAY = 0.99


def clip_unusual(parameters: Iterable[Tensor], usual: float, times: float) -> float:
    """Shorten all gradients together, in place, to at most ``times`` their usual length.

    Parameters
    ----------
    usual : result of the last call; 0 at first, when nothing is clipped.

    Returns
    -------
    The running mean of the clipped lengths.
    """
    limit = times * usual if usual else float("inf")
    length = min(float(clip_grad_norm_(parameters, limit)), limit)
    return DECAY * usual + (1.0 - DECAY) * length if usual else length
