"""Shape of the published network."""

from __future__ import annotations

from dataclasses import dataclass, fields

from e3nn.o3 import Irreps


@dataclass(frozen=True, kw_only=True)
class PublishedConfig:
    """Shape of :class:`se3set_ase.nn.published.network.PublishedNetwork`; plain values only.

    The defaults are those of the paper (arXiv:2405.16511, MD17 and MD22), except for the three
    means, which depend on the training data.

    Attributes
    ----------
    irreps_node : features of atoms and of node-wise hyperedges.
    irreps_feedforward : middle of the feed-forward layers.
    irreps_last : scalars of the atoms after the last block.
    lmax : largest l of the spherical harmonics of the edges.
    heads : attention heads; a divisor of every multiplicity of ``irreps_node``.
    attention_channels : scalars per head that determine the attention.
    blocks : rounds of V2E and E2V.
    radial_functions : fixed exp-normal functions of each edge length.
    radial_hidden : width of both hidden layers of the radial networks.
    mean_members, mean_hyperedges, mean_atoms : members per hyperedge, hyperedges per atom and
        atoms per molecule, averaged over the data. These are constants of the model; the counts of
        the present molecule would jump.
    norm_epsilon : added to the mean square in layer norms. With 1e-5, as in the paper, the energy
        is rough at symmetric geometries, where a part vanishes (methane, planar ammonia).
    """

    irreps_node: str = "128x0e+64x1o+32x2e"
    irreps_feedforward: str = "384x0e+192x1o+96x2e"
    irreps_last: str = "512x0e"
    lmax: int = 2
    heads: int = 4
    attention_channels: int = 32
    blocks: int = 6
    radial_functions: int = 32
    radial_hidden: int = 64
    mean_members: float = 4.0
    mean_hyperedges: float = 4.0
    mean_atoms: float = 16.0
    norm_epsilon: float = 0.1

    def __post_init__(self) -> None:
        for name in ("irreps_node", "irreps_feedforward"):
            _check_irreps(name, getattr(self, name))
        last = Irreps(self.irreps_last)
        if len(last) != 1 or str(last[0].ir) != "0e":
            raise ValueError(f"expected irreps_last to be scalars (0e), got {self.irreps_last!r}")
        if any(mul % self.heads for mul, _ in Irreps(self.irreps_node)):
            raise ValueError(
                "expected heads to divide every multiplicity of irreps_node, "
                f"got {self.heads} and {self.irreps_node!r}"
            )
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "lmax" and isinstance(value, int | float) and value <= 0:
                raise ValueError(f"expected {field.name} > 0, got {value}")
        if self.lmax < 0:
            raise ValueError(f"expected lmax >= 0, got {self.lmax}")


def _check_irreps(name: str, value: str) -> None:
    """Scalars first, then each l at most once, ascending and of natural parity."""
    irreps = Irreps(value)
    ls = [ir.l for _, ir in irreps]
    natural = all(ir.p == (-1) ** ir.l for _, ir in irreps)
    if not ls or ls[0] != 0 or ls != sorted(set(ls)) or not natural:
        raise ValueError(
            f"expected {name} like '128x0e+64x1o+32x2e' (scalars first, l ascending, "
            f"parity (-1)^l), got {value!r}"
        )
