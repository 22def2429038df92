"""Equivariant layers on rows of irreps, in e3nn's layout: channel by channel, l ascending.

The irreps and the coupling coefficients are e3nn's (https://e3nn.org); the layers are plain tensor
algebra, for three reasons. The couplings stay exact in float64 after any conversion of the module;
the factor 1 / sqrt(fan in) is in the initial weights, so that one learning rate suits all layers;
and the layers can be traced, compiled and differentiated twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from e3nn.o3 import Irrep, Irreps, wigner_3j
from torch import Tensor, nn

from se3set_ase.nn.exact import ExactConstants

SILU_SCALE = 1.676532
"""1 / rms of SiLU(x) for normal x."""
SIGMOID_SCALE = 1.846229
"""1 / rms of sigmoid(x) for normal x."""


def split(x: Tensor, irreps: Irreps) -> list[Tensor]:
    """Rows (n, irreps) as one tensor (n, channels, 2l + 1) for each irrep."""
    parts = x.split([mul * ir.dim for mul, ir in irreps], dim=-1)
    return [
        part.reshape(x.shape[0], mul, ir.dim) for part, (mul, ir) in zip(parts, irreps, strict=True)
    ]


def join(parts: Sequence[Tensor]) -> Tensor:
    """The inverse of :func:`split`."""
    return torch.cat([part.flatten(1) for part in parts], dim=-1)


class EquivariantLinear(nn.Module):
    """Mixes the channels of each irrep; scalars may have a bias.

    Irreps of the result that the input lacks are zero.
    """

    def __init__(self, irreps_in: Irreps, irreps_out: Irreps, *, bias: bool) -> None:
        super().__init__()
        self.irreps_in, self.irreps_out = Irreps(irreps_in), Irreps(irreps_out)
        fan_out = {str(ir): mul for mul, ir in self.irreps_out}
        self.weight = nn.ParameterDict()
        for mul, ir in self.irreps_in:
            if str(ir) in fan_out:
                self.weight[str(ir)] = uniform(mul, fan_out[str(ir)], fan_in=mul)
        self.bias = nn.Parameter(torch.zeros(fan_out["0e"])) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(n, irreps_in) -> (n, irreps_out)."""
        parts = {
            str(ir): part
            for (_, ir), part in zip(self.irreps_in, split(x, self.irreps_in), strict=True)
        }
        result = []
        for mul, ir in self.irreps_out:
            name = str(ir)
            if name not in self.weight:
                result.append(x.new_zeros(x.shape[0], mul, ir.dim))
                continue
            mixed = torch.einsum("nui,uv->nvi", parts[name], self.weight[name])
            if ir.l == 0 and self.bias is not None:
                mixed = mixed + self.bias[:, None]
            result.append(mixed)
        return join(result)


class EquivariantLayerNorm(nn.Module):
    """Layer norm: centres scalars, divides each l by its rms over channels and components, scales.

    As in Equiformer (Liao and Smidt, arXiv:2206.11990).
    """

    def __init__(self, irreps: Irreps, *, epsilon: float) -> None:
        super().__init__()
        self.irreps, self.epsilon = Irreps(irreps), epsilon
        self.weight = nn.ParameterDict(
            {str(ir): nn.Parameter(torch.ones(mul)) for mul, ir in self.irreps}
        )
        self.bias = nn.Parameter(torch.zeros(self.irreps.count("0e")))

    def forward(self, x: Tensor) -> Tensor:
        """(n, irreps) -> (n, irreps)."""
        result = []
        for (_, ir), part in zip(self.irreps, split(x, self.irreps), strict=True):
            if ir.l == 0:
                part = part - part.mean(1, keepdim=True)
            square = part.square().mean((1, 2), keepdim=True)
            part = part * (square + self.epsilon).rsqrt() * self.weight[str(ir)][:, None]
            result.append(part + self.bias[:, None] if ir.l == 0 else part)
        return join(result)


class Gate(nn.Module):
    """SiLU of scalars; each other channel is multiplied by the sigmoid of its own scalar.

    Both activations keep the mean square of a normal input.
    """

    def __init__(self, irreps_out: Irreps) -> None:
        super().__init__()
        self.irreps_out = Irreps(irreps_out)
        self.n_scalars = self.irreps_out.count("0e")
        gated = [(mul, ir) for mul, ir in self.irreps_out if ir.l > 0]
        self.channels = [mul for mul, _ in gated]
        self.irreps_in = Irreps([(self.n_scalars + sum(self.channels), "0e"), *gated])

    def forward(self, x: Tensor) -> Tensor:
        """(n, irreps_in): scalars, gates, gated channels -> (n, irreps_out)."""
        first, *gated = split(x, self.irreps_in)
        scalars, *gates = first.split([self.n_scalars, *self.channels], dim=1)
        result = [nn.functional.silu(scalars) * SILU_SCALE]
        for gate, part in zip(gates, gated, strict=True):
            result.append(part * (gate.sigmoid() * SIGMOID_SCALE))
        return join(result)


class Path(NamedTuple):
    """One way to couple two irreps to a third."""

    first: int
    """Position of the first irrep in its irreps."""
    second: int
    """Position of the second irrep in its irreps."""
    out: Irrep
    coupling: Tensor
    """(2 l_1 + 1, 2 l_2 + 1, 2 l_out + 1) float64; component normalised."""


def product_paths(irreps_first: Irreps, irreps_second: Irreps) -> list[Path]:
    """The couplings whose results are among the irreps of the first factor."""
    kept = {ir for _, ir in irreps_first}
    return [
        Path(i, j, out, wigner_3j(a.l, b.l, out.l, dtype=torch.float64) * math.sqrt(out.dim))
        for i, (_, a) in enumerate(irreps_first)
        for j, (_, b) in enumerate(irreps_second)
        for out in a * b
        if out in kept
    ]


def _product_irreps(irreps_first: Irreps, paths: Sequence[Path]) -> Irreps:
    """The channels of all paths, gathered by irrep in the order of the first factor."""
    channels = [
        (sum(irreps_first[path.first].mul for path in paths if path.out == ir), ir)
        for _, ir in irreps_first
    ]
    return Irreps(channels)


def _gather(results: Sequence[Tensor], paths: Sequence[Path], irreps_out: Irreps) -> Tensor:
    """The channels of all paths, concatenated for each irrep of the result."""
    return join(
        [
            torch.cat([x for x, path in zip(results, paths, strict=True) if path.out == ir], dim=1)
            for _, ir in irreps_out
        ]
    )


class SphericalProduct(ExactConstants):
    """Depthwise tensor product with spherical harmonics: e3nn's "uvu" with one channel second."""

    def __init__(self, irreps: Irreps, irreps_sphere: Irreps, *, internal_weight: bool) -> None:
        super().__init__()
        self.irreps, self.irreps_sphere = Irreps(irreps), Irreps(irreps_sphere)
        self.paths = product_paths(self.irreps, self.irreps_sphere)
        self.irreps_out = _product_irreps(self.irreps, self.paths)
        self.path_channels = [self.irreps[path.first].mul for path in self.paths]
        self.n_weights = sum(self.path_channels)
        self.weight = uniform(self.n_weights, fan_in=1) if internal_weight else None
        # All couplings of one irrep of the first factor as a matrix: sphere -> i, k of each path.
        columns = self.irreps_sphere.slices()
        for i, (_, ir) in enumerate(self.irreps):
            blocks = []
            for path in self.paths:
                if path.first == i:
                    block = torch.zeros(
                        ir.dim, self.irreps_sphere.dim, path.out.dim, dtype=torch.float64
                    )
                    block[:, columns[path.second]] = path.coupling
                    blocks.append(block)
            matrix = torch.cat(blocks, dim=-1).transpose(0, 1).flatten(1)
            self.register_constant(f"coupling_{i}", matrix.contiguous())

    def forward(self, x: Tensor, sphere: Tensor, weight: Tensor | None = None) -> Tensor:
        """(n, irreps), (n, irreps_sphere) and weights (n, n_weights) or its own -> irreps_out."""
        weight = self.weight if weight is None else weight
        if weight is None:
            raise ValueError("expected weights, got none and there are no internal ones")
        results = []
        for i, part in enumerate(split(x, self.irreps)):
            matrix = (sphere @ getattr(self, f"coupling_{i}")).unflatten(1, (part.shape[2], -1))
            coupled = torch.bmm(part, matrix)  # n u i, n i k -> n u k
            results += coupled.split([p.out.dim for p in self.paths if p.first == i], dim=-1)
        weights = weight.split(self.path_channels, dim=-1)
        results = [r * w[..., None] for r, w in zip(results, weights, strict=True)]
        return _gather(results, self.paths, self.irreps_out)


class FeatureProduct(ExactConstants):
    """Tensor product of two features, e3nn's "uvu" with internal weights.

    ``out[u, k] = sum over i, j, v of C[i, j, k] W[u, v] x[u, i] y[v, j]`` for each path.
    """

    def __init__(self, irreps_first: Irreps, irreps_second: Irreps) -> None:
        super().__init__()
        self.irreps_first, self.irreps_second = Irreps(irreps_first), Irreps(irreps_second)
        self.paths = product_paths(self.irreps_first, self.irreps_second)
        self.irreps_out = _product_irreps(self.irreps_first, self.paths)
        self.weight = nn.ParameterList()
        for number, path in enumerate(self.paths):
            u, v = self.irreps_first[path.first].mul, self.irreps_second[path.second].mul
            self.weight.append(uniform(u, v, fan_in=v))
            self.register_constant(f"coupling_{number}", path.coupling.flatten(0, 1))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(n, irreps_first), (n, irreps_second) -> (n, irreps_out)."""
        first, second = split(x, self.irreps_first), split(y, self.irreps_second)
        results = []
        for number, (path, weight) in enumerate(zip(self.paths, self.weight, strict=True)):
            mixed = torch.einsum("uv,nvj->nuj", weight, second[path.second])
            pair = first[path.first][:, :, :, None] * mixed[:, :, None, :]  # n u i j
            results.append(pair.flatten(2) @ getattr(self, f"coupling_{number}"))
        return _gather(results, self.paths, self.irreps_out)


def uniform(*shape: int, fan_in: int) -> nn.Parameter:
    """Initial weights, uniform within 1 / sqrt(fan in), as in ``torch.nn.Linear``."""
    bound = 1.0 / math.sqrt(fan_in)
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
