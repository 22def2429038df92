"""Functions of one distance: the radial basis and the nuclear repulsion."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from se3set_ase.nn.exact import ExactConstants
from se3set_ase.nn.smooth import envelope

#: e^2 / (4 pi epsilon_0) in eV Angstrom (CODATA 2018).
COULOMB = 14.399645478


class BesselBasis(ExactConstants):
    """sqrt(2 / r_c) sin(n pi d / r_c) / d for n = 1..N (Gasteiger et al., arXiv:2003.03123)."""

    frequencies: Tensor

    def __init__(self, n_functions: int, cutoff: float):
        super().__init__()
        frequencies = torch.arange(1, n_functions + 1, dtype=torch.float64) * math.pi / cutoff
        self.register_constant("frequencies", frequencies)
        self._norm = math.sqrt(2.0 / cutoff)

    def forward(self, distance: Tensor) -> Tensor:
        """(E,) Angstrom -> (E, N)."""
        d = distance[:, None]
        return self._norm * torch.sin(d * self.frequencies) / d


class Repulsion(ExactConstants):
    """Screened Coulomb repulsion of nuclei, which ends somewhat beyond the bond length.

    The universal potential of Ziegler, Biersack, Littmark (The Stopping and Range of Ions in
    Solids, 1985), times a C2 envelope that ends at 1.5 times the sum of covalent radii. So the
    network does not have to learn the repulsive wall of a bond, of which data near equilibrium
    show little.

    Parameters
    ----------
    elements, radii : atomic number and covalent radius (Angstrom) of each species.
    cutoff : Angstrom; upper limit of the range, for any radii.
    """

    numbers: Tensor
    radii: Tensor

    RANGE = 1.5  # in units of the sum of covalent radii
    _COEFFICIENTS = (0.18175, 0.50986, 0.28022, 0.02817)
    _EXPONENTS = (3.19980, 0.94229, 0.40290, 0.20162)

    def __init__(self, elements: Sequence[int], radii: Sequence[float], cutoff: float):
        super().__init__()
        self._cutoff = cutoff
        self.register_constant("numbers", torch.tensor(elements, dtype=torch.float64))
        self.register_constant("radii", torch.tensor(radii, dtype=torch.float64))

    def forward(self, distance: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """Energy in eV of pairs, from distances (E,) and species of both ends (E,) -> (E,)."""
        z_i, z_j = self.numbers[first], self.numbers[second]
        reach = (self.RANGE * (self.radii[first] + self.radii[second])).clamp(max=self._cutoff)
        x = distance * (z_i**0.23 + z_j**0.23) / 0.46850
        screening = sum(
            c * torch.exp(-a * x) for c, a in zip(self._COEFFICIENTS, self._EXPONENTS, strict=True)
        )
        return COULOMB * z_i * z_j / distance * screening * envelope(distance / reach, 1.0)
