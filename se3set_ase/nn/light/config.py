"""Shape of the default network."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class LightConfig:
    """Shape of :class:`LightNetwork`.

    Attributes
    ----------
    channels : number of scalars, vectors and tensors of each atom and hyperedge.
    blocks : number of rounds, from atoms to hyperedges (V2E) and back (E2V).
    heads : number of groups of channels that share an attention gate.
    radial_functions : number of Bessel functions of each edge length. From random weights few are
        best, because more overfit (docs/front.csv). After pre-training more can be better.
    radial_hidden : width of the network from these functions to weights.
    readout_hidden : width of each block's readout.
    saturation : limit to the size of an atom's message before it is multiplied by itself. Without
        it the energy is a polynomial of high degree and diverges outside the training data.
    fusion, invariant_gradient, relaxed : optional parts of a block, which checkpoints without them
        do not mention, see
        :mod:`se3set_ase.nn.light.options`.
    mean_members, mean_hyperedges : constants that bring the sums to order one. They are not the
        counts of the present molecule, which would jump.
    """

    channels: int = 64
    blocks: int = 2
    heads: int = 8
    radial_functions: int = 3
    radial_hidden: int = 64
    readout_hidden: int = 32
    saturation: float = 3.0
    fusion: bool = False
    invariant_gradient: bool = False
    relaxed: bool = False
    mean_members: float = 4.0
    mean_hyperedges: float = 4.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value, whole = getattr(self, field.name), isinstance(field.default, int)
            if isinstance(field.default, bool):
                if not isinstance(value, bool):
                    raise ValueError(f"expected {field.name} to be true or false, got {value!r}")
                continue
            kind = "a whole number" if whole else "a number"
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                raise ValueError(f"expected {field.name} to be {kind}, got {value!r}")
            if not 0 < value < float("inf"):
                raise ValueError(f"expected {field.name} above 0, got {value!r}")
        if self.channels % self.heads:
            raise ValueError(
                f"expected channels to be a multiple of heads, got {self.channels}, {self.heads}"
            )
