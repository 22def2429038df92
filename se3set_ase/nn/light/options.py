"""Optional parts of a block, from three related works; all are off by default.

Whether they pay is not known yet.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from se3set_ase.nn.light.cartesian import (
    PRODUCT_PATHS,
    FeatureLinear,
    Features,
    dot,
    product,
)
from se3set_ase.nn.light.config import LightConfig
from se3set_ase.nn.light.layers import PRODUCT_STD


def block_options(config: LightConfig) -> dict[str, nn.Module]:
    """The optional parts that a configuration has, by their names."""
    classes = {
        "fusion": Fusion,
        "relaxed": Relaxed,
        "invariant_gradient": InvariantGradient,
    }
    return {name: made(config.channels) for name, made in classes.items() if getattr(config, name)}


class Fusion(nn.Module):
    """Products of three messages by a fusion diagram.

    The product of two messages, mixed into intermediate channels, is multiplied by a third one
    with channels of its own: a contraction of three equivariant inputs with chosen intermediate
    channels (Li, Pengmei, Zheng, Thiede, Liu, Kondor, arXiv:2211.07482).
    """

    def __init__(self, channels: int):
        super().__init__()
        self.middle, self.third = FeatureLinear(channels), FeatureLinear(channels)
        self.paths = nn.Parameter(torch.randn(1, PRODUCT_PATHS, channels) * PRODUCT_STD)
        self.out = FeatureLinear(channels, gain=0.5)

    def forward(self, message: Features, squared: Features) -> Features:
        """New features from messages and their squares, of each atom."""
        fused: Features = self.out(product(self.middle(squared), self.third(message), self.paths))
        return fused


class InvariantGradient(nn.Module):
    """New equivariant features: the gradient of a network of invariants.

    With the invariants z = (s, |v|^2, |t|^2) of each channel and u(z) = a . silu(W z + b), the
    gradient of u with respect to s, v and t is equivariant, and as non-linear as the network
    (Yin, Pan, Wang, Wu, He, arXiv:2405.05722). It is written out, so that training on forces needs
    second derivatives only. The supervision of the paper, by traces of the target, has no
    counterpart for energies.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.hidden = nn.Linear(3 * channels, 2 * channels)
        self.out = nn.Parameter(torch.randn(2 * channels) / channels**0.5)
        self.mix = FeatureLinear(channels, gain=0.5)

    def forward(self, features: Features) -> Features:
        """The mixed gradient, of each atom."""
        mixed: Features = self.mix(self.gradient(features))
        return mixed

    def gradient(self, features: Features) -> Features:
        """Derivatives of :meth:`potential` with respect to the features."""
        hidden = self.hidden(self.invariants(features))  # n, h
        gate = torch.sigmoid(hidden)
        slope = self.out * gate * (1.0 + hidden * (1.0 - gate))  # of silu
        of_s, of_v, of_t = linear(slope, self.hidden.weight.T).chunk(3, dim=1)  # n, c each
        vector, tensor = (
            2.0 * of_v[:, None] * features.vector,
            2.0 * of_t[:, None] * features.tensor,
        )
        return Features(of_s, vector, tensor)

    def potential(self, features: Features) -> Tensor:
        """u of each atom (n,)."""
        hidden = self.hidden(self.invariants(features))
        return nn.functional.silu(hidden) @ self.out

    @staticmethod
    def invariants(features: Features) -> Tensor:
        """z (n, 3 c)."""
        s, v, t = features
        return torch.cat([s, dot(v, v), dot(t, t)], dim=1)


class Relaxed(nn.Module):
    """Weights of degree one and two, which a free molecule does not need.

    Features are multiplied by a learnt vector and tensor of each channel, which begin as zero: a
    layer breaks the symmetry of rotation by a learnt, controlled amount, for molecules in a field
    of fixed direction (Hofgard, Wang, Walters, Smidt, arXiv:2407.20471). The energy then depends on
    the orientation, not on the position.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.vector = nn.Parameter(torch.zeros(1, 3, channels))
        self.tensor = nn.Parameter(torch.zeros(1, 5, channels))
        self.paths = nn.Parameter(torch.randn(1, PRODUCT_PATHS, channels) * PRODUCT_STD)
        self.out = FeatureLinear(channels, gain=0.5)

    def forward(self, message: Features) -> Features:
        """Messages times the weights, of each atom; zero if the weights are."""
        zero = self.vector.new_zeros(1, self.vector.shape[2])
        weights = Features(zero, self.vector, self.tensor)
        broken: Features = self.out(product(message, weights, self.paths))
        return broken
