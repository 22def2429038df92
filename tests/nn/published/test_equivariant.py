"""Equivariant layers against e3nn's, and under rotations and reflections."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from e3nn import o3
from e3nn.o3 import Irreps
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from se3set_ase.nn.published.equivariant import (
    SIGMOID_SCALE,
    SILU_SCALE,
    EquivariantLayerNorm,
    EquivariantLinear,
    FeatureProduct,
    Gate,
    SphericalProduct,
    join,
    split,
)

TOLERANCE_FLOAT64 = 1e-12
CONTROL = 1e-2
IRREPS = Irreps("5x0e+4x1o+3x2e")
SPHERE = Irreps("1x0e+1x1o+1x2e")
N = 7


def rows(irreps: Irreps, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(N, irreps.dim, generator=generator, dtype=torch.float64)


def e3nn_product(
    product: SphericalProduct | FeatureProduct, second: Irreps, *, shared: bool
) -> tuple[o3.TensorProduct, list[int]]:
    """e3nn's tensor product with our paths, each to a block of its own, and the blocks in order."""
    out = [(IRREPS[path.first].mul, path.out) for path in product.paths]
    made = o3.TensorProduct(
        IRREPS,
        second,
        Irreps(out),
        [(path.first, path.second, k, "uvu", True) for k, path in enumerate(product.paths)],
        path_normalization="none",
        internal_weights=False,
        shared_weights=shared,
    ).double()
    # e3nn's couplings come in its default dtype.
    for name, buffer in made.named_buffers():
        if "w3j" in name:
            ls = [int(x) for x in name.split("w3j_")[1].split("_")]
            buffer.copy_(o3.wigner_3j(*ls, dtype=torch.float64))
    slices = Irreps(out).slices()
    order = sorted(range(len(out)), key=lambda k: out[k][1].l)
    columns = [column for k in order for column in range(slices[k].start, slices[k].stop)]
    return made, columns


def test_split_and_join_are_inverse() -> None:
    x = rows(IRREPS)
    parts = split(x, IRREPS)
    assert [tuple(part.shape) for part in parts] == [(N, 5, 1), (N, 4, 3), (N, 3, 5)]
    assert torch.equal(join(parts), x)


def test_spherical_product_is_that_of_e3nn() -> None:
    product = SphericalProduct(IRREPS, SPHERE, internal_weight=False).double()
    reference, columns = e3nn_product(product, SPHERE, shared=False)
    assert product.n_weights == reference.weight_numel
    x, y = rows(IRREPS), rows(SPHERE, seed=1)
    weight = rows(Irreps([(product.n_weights, "0e")]), seed=2)
    expected = reference(x, y, weight)[:, columns]
    torch.testing.assert_close(product(x, y, weight), expected, rtol=0, atol=TOLERANCE_FLOAT64)
    assert expected.abs().max() > CONTROL


def test_feature_product_is_that_of_e3nn() -> None:
    product = FeatureProduct(IRREPS, IRREPS).double()
    reference, columns = e3nn_product(product, IRREPS, shared=True)
    weight = torch.cat([w.flatten() for w in product.weight])
    assert len(weight) == reference.weight_numel
    x, y = rows(IRREPS), rows(IRREPS, seed=1)
    expected = reference(x, y, weight)[:, columns]
    torch.testing.assert_close(product(x, y), expected, rtol=0, atol=TOLERANCE_FLOAT64)
    assert expected.abs().max() > CONTROL


def test_linear_is_that_of_e3nn() -> None:
    out = Irreps("6x0e+2x1o+3x2e")
    linear = EquivariantLinear(IRREPS, out, bias=False).double()
    reference = o3.Linear(IRREPS, out, internal_weights=False, shared_weights=True).double()
    # e3nn divides by sqrt(fan in) in the layer; ours has it in the initial weights.
    weight = torch.cat([(w * len(w) ** 0.5).flatten() for w in linear.weight.values()])
    x = rows(IRREPS)
    torch.testing.assert_close(linear(x), reference(x, weight), rtol=0, atol=TOLERANCE_FLOAT64)


def test_linear_gives_zero_for_missing_irreps_and_a_bias_to_scalars() -> None:
    linear = EquivariantLinear(Irreps("2x0e"), IRREPS, bias=True).double()
    nn.init.constant_(linear.bias, 0.5)
    scalars, vectors, tensors = split(linear(torch.zeros(N, 2).double()), IRREPS)
    assert torch.equal(scalars, torch.full_like(scalars, 0.5))
    assert vectors.abs().max() == 0.0
    assert tensors.abs().max() == 0.0


def test_layer_norm_centres_scalars_and_divides_each_l_by_its_rms() -> None:
    norm = EquivariantLayerNorm(IRREPS, epsilon=1e-12).double()
    scalars, *others = split(norm(100.0 * rows(IRREPS) + 3.0), IRREPS)
    torch.testing.assert_close(scalars.mean(1), torch.zeros(N, 1).double(), rtol=0, atol=1e-10)
    for part in (scalars, *others):
        square = part.square().mean((1, 2))
        torch.testing.assert_close(square, torch.ones_like(square), rtol=0, atol=1e-10)


def test_layer_norm_of_zero_is_finite_to_second_order() -> None:
    norm = EquivariantLayerNorm(IRREPS, epsilon=1e-5).double()
    x = torch.zeros(N, IRREPS.dim, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(norm(x).pow(3).sum() + norm(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert torch.isfinite(first).all()
    assert torch.isfinite(second).all()


def test_activations_keep_the_mean_square() -> None:
    x = torch.linspace(-12.0, 12.0, 100_001, dtype=torch.float64)
    density = torch.exp(-0.5 * x * x) / (2.0 * torch.pi) ** 0.5
    for scale, activation in ((SILU_SCALE, nn.functional.silu), (SIGMOID_SCALE, torch.sigmoid)):
        square = torch.trapezoid(activation(x).square() * density, x)
        assert abs(scale - float(square) ** -0.5) < 1e-6


def layers() -> dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Irreps, Irreps, Irreps]]:
    """Name: layer, irreps of its two inputs, irreps of its result."""
    gate = Gate(IRREPS)
    linear = EquivariantLinear(IRREPS, IRREPS, bias=True).double()
    norm = EquivariantLayerNorm(IRREPS, epsilon=1e-5).double()
    sphere = SphericalProduct(IRREPS, SPHERE, internal_weight=True).double()
    product = FeatureProduct(IRREPS, IRREPS).double()
    return {
        "linear": (lambda x, _: linear(x), IRREPS, SPHERE, IRREPS),
        "norm": (lambda x, _: norm(x), IRREPS, SPHERE, IRREPS),
        "gate": (lambda x, _: gate(x), gate.irreps_in, SPHERE, IRREPS),
        "spherical": (sphere, IRREPS, SPHERE, sphere.irreps_out),
        "feature": (product, IRREPS, IRREPS, product.irreps_out),
    }


@pytest.mark.parametrize("name", ["linear", "norm", "gate", "spherical", "feature"])
@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["rotation", "reflection"])
def test_equivariant(name: str, sign: float) -> None:
    layer, first, second, out = layers()[name]
    turn = sign * rotation()
    d_first, d_second, d_out = (turned(irreps, turn) for irreps in (first, second, out))
    x, y = rows(first), rows(second, seed=1)
    after = layer(x @ d_first.T, y @ d_second.T)
    expected = layer(x, y) @ d_out.T
    torch.testing.assert_close(after, expected, rtol=0, atol=TOLERANCE_FLOAT64)
    assert (layer(x, y) - expected).abs().max() > CONTROL


def rotation() -> Tensor:
    """A rotation about no special axis."""
    generator = torch.Generator().manual_seed(9)
    q, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    return q * torch.linalg.det(q)


def turned(irreps: Irreps, matrix: Tensor) -> Tensor:
    """The matrix of a rotation or reflection on irreps of natural parity, up to l = 2.

    From the spherical harmonics of points alone, as e3nn's own goes through its default dtype.
    """
    generator = torch.Generator().manual_seed(8)
    points = torch.randn(20, 3, generator=generator, dtype=torch.float64)
    blocks = []
    for mul, ir in irreps:
        y = o3.spherical_harmonics(ir.l, points, normalize=True)
        y_turned = o3.spherical_harmonics(ir.l, points @ matrix.T, normalize=True)
        blocks += [torch.linalg.lstsq(y, y_turned).solution.T] * mul
    return torch.block_diag(*blocks)


@pytest.mark.parametrize("name", ["linear", "norm", "gate", "spherical", "feature"])
def test_empty_rows(name: str) -> None:
    layer, first, second, out = layers()[name]
    assert layer(rows(first)[:0], rows(second)[:0]).shape == (0, out.dim)


@pytest.mark.parametrize("name", ["linear", "norm", "gate", "spherical", "feature"])
def test_traced_with_its_gradient(name: str) -> None:
    layer, first, second, _ = layers()[name]

    def gradient(x: Tensor, y: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        return torch.autograd.grad(layer(x, y).sin().sum(), x)[0]

    x, y = rows(first), rows(second, seed=1)
    traced = make_fx(gradient)(x, y)
    torch.testing.assert_close(
        traced(2.0 * x, y), gradient(2.0 * x, y), rtol=0, atol=TOLERANCE_FLOAT64
    )


def test_constants_are_exact_after_single_precision() -> None:
    product = SphericalProduct(IRREPS, SPHERE, internal_weight=False)
    exact = product.double().coupling_1.clone()
    assert not torch.equal(product.float().coupling_1.double(), exact)
    assert torch.equal(product.double().coupling_1, exact)
    assert not [name for name in product.state_dict() if "coupling" in name]


def test_spherical_product_without_weights() -> None:
    product = SphericalProduct(IRREPS, SPHERE, internal_weight=False)
    with pytest.raises(ValueError, match="expected weights, got none"):
        product(rows(IRREPS).float(), rows(SPHERE).float())
