"""Dispersion between pairs of atoms: the two-body part of D3 with rational damping.

    E = - sum_{i<j} [ s6 C6 / (r^6 + f^6) + s8 C8 / (r^8 + f^8) ],   f = a1 sqrt(C8 / C6) + a2

Grimme, Antony, Ehrlich, Krieg, J. Chem. Phys. 132, 154104 (2010); Grimme, Ehrlich, Goerigk,
J. Comput. Chem. 32, 1456 (2011). C6 depends smoothly on the coordination numbers of both atoms.
The coefficients of the references are inner products of vectors (see ``research/dispersion``),
hence so are those of atoms, and a pair costs ten products instead of a sum over 49 references.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any

import torch
from torch import Tensor

from se3set_ase.nn.exact import ExactConstants
from se3set_ase.nn.scatter import scatter_sum

#: Bohr in Angstrom and Hartree in eV (CODATA 2018).
BOHR, HARTREE = 0.529177210903, 27.211386245988
#: Damping for wB97X (Najibi, Goerigk, J. Chem. Theory Comput. 14, 5725 (2018)); Bohr.
S6, S8, A1, A2 = 1.0, 0.2641, 0.0, 5.4959
#: Steepness of the counting function and of the weights of references.
COUNT, WEIGHT = 16.0, 4.0


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    text = files("se3set_ase.nn.longrange").joinpath("dispersion.json").read_text("utf-8")
    table: dict[str, Any] = json.loads(text)
    return table


class Dispersion(ExactConstants):
    """Dispersion energies of atoms.

    Parameters
    ----------
    elements : atomic number of each species.

    Raises
    ------
    ValueError : an element beyond xenon.
    """

    r4r2: Tensor
    radius: Tensor
    coordination: Tensor
    vectors: Tensor
    absent: Tensor

    def __init__(self, elements: Sequence[int]):
        super().__init__()
        if unknown := [str(z) for z in elements if str(z) not in _table()]:
            raise ValueError(
                f"expected atomic numbers up to 54 for dispersion, got {', '.join(unknown)}"
            )
        rows = [_table()[str(z)] for z in elements]
        most = max(len(row["coordination"]) for row in rows)
        rank = len(rows[0]["vectors"][0])
        coordination = torch.zeros(len(rows), most, dtype=torch.float64)
        absent = torch.ones_like(coordination)
        vectors = torch.zeros(len(rows), most, rank, dtype=torch.float64)
        for s, row in enumerate(rows):
            n = len(row["coordination"])
            coordination[s, :n] = torch.tensor(row["coordination"], dtype=torch.float64)
            vectors[s, :n] = torch.tensor(row["vectors"], dtype=torch.float64)
            absent[s, :n] = 0.0
        each = {"r4r2": [row["r4r2"] for row in rows], "radius": [row["radius"] for row in rows]}
        for name, values in each.items():
            self.register_constant(name, torch.tensor(values, dtype=torch.float64))
        self.register_constant("coordination", coordination)
        self.register_constant("absent", absent)
        self.register_constant("vectors", vectors)

    def forward(self, species: Tensor, pair: Tensor, distance: Tensor, weight: Tensor) -> Tensor:
        """Energy of each atom (N,), eV: half of that of its pairs.

        Parameters
        ----------
        species : (N,) index of the element.
        pair : (P, 2) atoms. distance : (P,) Angstrom, in the dtype of the result.
        weight : (P,) of each pair; 0 for padding.
        """
        i, j = pair.unbind(1)
        n, dtype = species.shape[0], distance.dtype
        radius, size = self.radius.to(dtype)[species], self.r4r2.to(dtype)[species]
        vector = self.coefficients(species, self.counted(radius, pair, distance, weight, n))
        c6 = (vector[i] * vector[j]).sum(1)  # p, rank -> p
        ratio = 3.0 * size[i] * size[j]  # C8 / C6
        r2 = (distance / BOHR) ** 2
        f2 = (A1 * ratio.sqrt() + A2) ** 2
        r6, f6 = r2**3, f2**3
        both = S6 / (r6 + f6) + S8 * ratio / (r6 * r2 + f6 * f2)
        half = -0.5 * HARTREE * weight * c6 * both
        return scatter_sum(torch.cat([half, half]), torch.cat([i, j]), n)  # p -> i, j

    def counted(
        self, radius: Tensor, pair: Tensor, distance: Tensor, weight: Tensor, n_atoms: int
    ) -> Tensor:
        """Coordination number of each atom (N,)."""
        i, j = pair.unbind(1)
        x = (radius[i] + radius[j]) / distance
        counts = weight * torch.sigmoid(COUNT * (x - 1.0))
        return scatter_sum(torch.cat([counts, counts]), torch.cat([i, j]), n_atoms)  # p -> i, j

    def coefficients(self, species: Tensor, coordination: Tensor) -> Tensor:
        """Vectors of atoms (N, rank), whose inner products are C6 in atomic units."""
        dtype = coordination.dtype
        away = coordination[:, None] - self.coordination.to(dtype)[species]  # i, a
        weight = torch.softmax(
            -WEIGHT * away**2 - 1e9 * self.absent.to(dtype)[species], dim=1
        )  # i, a
        return (weight[:, :, None] * self.vectors.to(dtype)[species]).sum(1)  # i, a, k -> i, k
