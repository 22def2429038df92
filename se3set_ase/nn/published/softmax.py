"""Softmax with a smooth weight for every member, and a sink."""

from __future__ import annotations

import torch
from torch import Tensor

from se3set_ase.nn.scatter import Backend, scatter_max_constant, scatter_sum


def smooth_softmax(
    logits: Tensor,
    weight: Tensor,
    index: Tensor,
    size: int,
    sink: Tensor,
    backend: Backend = "native",
) -> Tensor:
    """``a_k = w_k exp(l_k) / (exp(l_sink) + sum over the members m of k's group, w_m exp(l_m))``.

    As smooth as the weights and logits: a member of weight zero changes nothing, and a group
    without members is allowed. The coefficients of a group add up to less than 1; the sink has the
    rest.

    Parameters
    ----------
    logits : (K, C) logit of each member for each of C heads.
    weight : (K,) weight of each member, not negative.
    index : (K,) group of each member.
    size : number of groups.
    sink : (C,) logit of the sink.
    backend : backend of sums, see :func:`se3set_ase.nn.scatter.scatter_sum`.

    Returns
    -------
    (K, C) coefficients.
    """
    weight = weight[:, None]
    # Exponents of members of weight zero are masked: they must not set the maximum (the others
    # would be rounded differently) or overflow (0 * inf).
    logits = torch.where(weight > 0.0, logits, sink)
    # The shift cancels: a constant for autograd that keeps the exponents below zero.
    shift = scatter_max_constant(logits, index, sink.expand(size, -1))
    numerator = weight * (logits - shift[index]).exp()  # k, head
    total = (sink - shift).exp() + scatter_sum(numerator, index, size, backend)  # group, head
    return numerator / total[index]
