"""Settings that determine the hypergraph of a geometry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class HypergraphConfig:
    """Settings that determine the hypergraph of a geometry.

    Attributes
    ----------
    cutoff : Angstrom; members of a fragment beyond it have no edge to the owner.
    reach : Angstrom; a fragment is a hyperedge of every atom closer than this to a member of it.
    reach_width : Angstrom; width of the switch of the reach.
    bond_on, bond_off : distances, in units of the sum of covalent radii, up to which a pair is
        certainly bonded and from which it is not; for pairs without hydrogen.
    hydrogen_bond_on, hydrogen_bond_off : the same for pairs with a hydrogen atom.
    hard : use a threshold in the middle of each switch. For comparison only: the energy jumps
        whenever the hypergraph changes.
    """

    cutoff: float = 5.0
    reach: float = 4.0
    reach_width: float = 1.0
    bond_on: float = 1.15
    bond_off: float = 1.35
    hydrogen_bond_on: float = 1.25
    hydrogen_bond_off: float = 1.5
    hard: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.reach_width <= self.reach <= self.cutoff:
            raise ValueError(
                "expected 0 < reach_width <= reach <= cutoff, got "
                f"{self.reach_width}, {self.reach}, {self.cutoff}"
            )
        for on, off in (
            (self.bond_on, self.bond_off),
            (self.hydrogen_bond_on, self.hydrogen_bond_off),
        ):
            if not 0 < on < off:
                raise ValueError(f"expected 0 < on < off for the bond switch, got {on}, {off}")

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> HypergraphConfig:
        """The inverse of :meth:`to_dict`; ValueError names unknown keys."""
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"expected hypergraph settings, got unknown keys {sorted(unknown)}")
        return cls(**values)
