"""Electrostatic energy of Gaussian charges."""

from __future__ import annotations

import torch
from torch import Tensor

from se3set_ase.nn.radial import COULOMB
from se3set_ase.nn.scatter import scatter_sum


def coulomb(charge: Tensor, pair: Tensor, distance: Tensor, weight: Tensor, width: float) -> Tensor:
    """Energy of each atom (N,), eV: half of ``q_i q_j erf(r / (2 width)) / r`` of its pairs.

    Two Gaussian charge densities of standard deviation ``sqrt(2) width``, without their own energy.

    Parameters
    ----------
    charge : (N,) e.
    pair : (P, 2) atoms. distance : (P,) Angstrom. weight : (P,) 0 for padding.
    width : Angstrom.
    """
    i, j = pair.unbind(1)
    damped = torch.erf(distance / (2.0 * width)) / distance
    half = 0.5 * COULOMB * weight * charge[i] * charge[j] * damped
    return scatter_sum(torch.cat([half, half]), torch.cat([i, j]), charge.shape[0])  # p -> i, j
