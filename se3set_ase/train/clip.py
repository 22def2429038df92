"""Gradients much longer than usual, shortened.

One batch with a rare geometry would outweigh all others in the optimiser's momentum for twenty
steps, and for good in AMSGrad's largest squares. How long is usual, the run itself shows; a limit
known beforehand would have to follow the gradients over orders of magnitude. After Seetharaman et
al., "AutoClip", arXiv:2007.14469, with a running mean for the percentile.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor
from torch.nn.utils import clip_grad_norm_

#: Of the running mean of lengths: it remembers some hundred steps.
DECAY = 0.99


def clip_unusual(parameters: Iterable[Tensor], usual: float, times: float) -> float:
    """Shorten all gradients together, in place, to at most ``times`` their usual length.

    Parameters
    ----------
    usual : what the last call returned; 0 at first, when nothing is shortened.

    Returns
    -------
    The running mean of the lengths so far, as shortened.
    """
    limit = times * usual if usual else float("inf")
    length = min(float(clip_grad_norm_(parameters, limit)), limit)
    return DECAY * usual + (1.0 - DECAY) * length if usual else length
