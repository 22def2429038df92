"""Bonds from the geometry: certain bonds, and ambiguous bonds.

A pair of atoms at distance ``d`` has the ratio ``x = d / (R_i + R_j)`` with covalent radii ``R``.
Its bond weight is 1 for ``x <= on``, 0 for ``x >= off``, with a C2 (quintic) switch in between.
This module searches for pairs with numpy; the differentiable weight is evaluated in
:mod:`se3set_ase.nn.graph` from the two distances that :func:`bond_limits` returns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree

from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.hypergraph.radii import COVALENT_RADII

#: Nuclei closer than this (Angstrom) count as coincident.
COINCIDENT = 1e-3


def neighbour_pairs(positions: np.ndarray, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
    """All pairs closer than ``cutoff``.

    Parameters
    ----------
    positions : (N, 3) float array, Angstrom.
    cutoff : Angstrom.

    Returns
    -------
    pairs : (P, 2) int array with ``pairs[:, 0] < pairs[:, 1]``, in lexicographic order.
    distances : (P,) float array, Angstrom.
    """
    if len(positions) < 2:
        return np.empty((0, 2), dtype=np.int64), np.empty(0)
    pairs = cKDTree(positions).query_pairs(cutoff, output_type="ndarray").astype(np.int64)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    distances = np.linalg.norm(positions[pairs[:, 1]] - positions[pairs[:, 0]], axis=1)
    return pairs, distances


def bond_limits(numbers: np.ndarray, pairs: np.ndarray, config: HypergraphConfig) -> np.ndarray:
    """Distances between which the weight of each pair falls from 1 to 0.

    Parameters
    ----------
    numbers : (N,) atomic numbers.
    pairs : (P, 2) atom indices.
    config : limits in units of the sum of covalent radii.

    Returns
    -------
    (P, 2) float array, Angstrom: ``[d_on, d_off]``; equal if membership is hard.
    """
    radii = COVALENT_RADII[numbers[pairs]].sum(axis=1)  # p
    with_hydrogen = (numbers[pairs] == 1).any(axis=1)
    ratio = np.where(
        with_hydrogen[:, None],
        (config.hydrogen_bond_on, config.hydrogen_bond_off),
        (config.bond_on, config.bond_off),
    )  # p, on|off
    limits = radii[:, None] * ratio
    if config.hard:
        limits = np.repeat(limits.mean(axis=1, keepdims=True), 2, axis=1)
    return limits


def bond_weights(distances: np.ndarray, ranges: np.ndarray) -> np.ndarray:
    """Weight of each bond (A,) with numpy, equal to :func:`se3set_ase.nn.smooth.switch`.

    Parameters
    ----------
    distances : (A,) Angstrom.
    ranges : (A, 2) Angstrom, from :func:`bond_limits`.
    """
    t = np.clip((distances - ranges[:, 0]) / (ranges[:, 1] - ranges[:, 0]), 0.0, 1.0)
    upper = t > 0.5
    u = np.where(upper, 1.0 - t, t)
    p = u * u * u * (10.0 + u * (6.0 * u - 15.0))
    return np.where(upper, p, 1.0 - p)


def longest_bond(numbers: np.ndarray, config: HypergraphConfig) -> float:
    """Distance in Angstrom beyond which no pair of these elements has a bond weight."""
    if len(numbers) == 0:
        return 0.0
    heavy = numbers[numbers != 1]
    largest = COVALENT_RADII[heavy].max() if len(heavy) else COVALENT_RADII[1]
    bonds = [2.0 * largest * config.bond_off] if len(heavy) else []
    if (numbers == 1).any():
        bonds.append((largest + COVALENT_RADII[1]) * config.hydrogen_bond_off)
    return float(max(bonds))


@dataclass(frozen=True, kw_only=True)
class BondState:
    """Certain and ambiguous bonds of a geometry; shifts as those of :func:`find_bonds`.

    ``kinds`` are those of all pairs, see :func:`bond_kinds`.
    """

    kinds: np.ndarray
    sure: np.ndarray
    ambiguous: np.ndarray
    ambiguous_range: np.ndarray
    ambiguous_weight: np.ndarray
    sure_shift: np.ndarray | None = None
    ambiguous_shift: np.ndarray | None = None

    def decided(self) -> np.ndarray:
        """(B, 2) bonds with a weight above one half, in lexicographic order."""
        bonds = np.concatenate([self.sure, self.ambiguous[self.ambiguous_weight > 0.5]])
        return bonds[np.lexsort((bonds[:, 1], bonds[:, 0]))]


def bond_kinds(distances: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """(P,) 0 for certain bonds, 1 for ambiguous ones, 2 for others.

    Parameters
    ----------
    distances : (P,) Angstrom.
    limits : (P, 2) from :func:`bond_limits`.
    """
    return np.where(distances <= limits[:, 0], 0, 2 - (distances < limits[:, 1])).astype(np.int8)


def find_bonds(
    pairs: np.ndarray,
    distances: np.ndarray,
    limits: np.ndarray,
    shifts: np.ndarray | None = None,
) -> BondState:
    """Find certain and ambiguous bonds among pairs (P, 2) with distances (P,).

    Parameters
    ----------
    limits : (P, 2) from :func:`bond_limits`.
    shifts : (P, 3) int, in a cell: that of the second atom relative to the first.
    """
    kinds = bond_kinds(distances, limits)
    sure, ambiguous = kinds == 0, kinds == 1
    return BondState(
        kinds=kinds,
        sure=pairs[sure],
        ambiguous=pairs[ambiguous],
        ambiguous_range=limits[ambiguous],
        ambiguous_weight=bond_weights(distances[ambiguous], limits[ambiguous]),
        sure_shift=None if shifts is None else shifts[sure],
        ambiguous_shift=None if shifts is None else shifts[ambiguous],
    )


def only(bonds: np.ndarray) -> BondState:
    """Bond state with these bonds (B, 2), all of them certain, and no others."""
    none = np.empty((0, 2), dtype=np.int64)
    return replace(find_bonds(none, np.empty(0), np.empty((0, 2))), sure=bonds)
