"""Which energies of pairs a model has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class LongRangeConfig:
    """Energies of pairs at any distance; a model without them has a cutoff for everything.

    Attributes
    ----------
    dispersion : dispersion, see :mod:`se3set_ase.nn.longrange.dispersion`.
    charges : predicted atomic charges and their electrostatic energy, see
        :mod:`se3set_ase.nn.longrange.charges`.
    hidden : width of the networks of the charges.
    flows : number of products for the charge that an edge transfers.
    width : Angstrom, standard deviation of the Gaussian charges: their interaction is that of
        points beyond six times this distance (within 3e-5), and finite at zero.
    """

    dispersion: bool = False
    charges: bool = False
    hidden: int = 32
    flows: int = 16
    width: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value, kind = getattr(self, field.name), type(field.default)
            fits = isinstance(value, (int, float) if kind is float else kind)
            if not fits or (kind is not bool and (isinstance(value, bool) or not 0 < value < 1e9)):
                wanted = {bool: "true or false", int: "a whole number above 0"}
                raise ValueError(
                    f"expected {field.name} of long_range to be "
                    f"{wanted.get(kind, 'a number above 0')}, got {value!r}"
                )

    @property
    def needs_pairs(self) -> bool:
        """Whether any energy of pairs is in use."""
        return self.dispersion or self.charges

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LongRangeConfig:
        """Settings from plain values; ValueError names unknown keys."""
        if unknown := set(values) - {f.name for f in fields(cls)}:
            raise ValueError(f"expected settings of long range, got unknown keys {sorted(unknown)}")
        return cls(**values)
