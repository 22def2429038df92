"""Sums over an index: values, first and second derivatives, messages."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.fx.experimental.proxy_tensor import make_fx

from se3set_ase.nn.scatter import BACKENDS, scatter_max_constant, scatter_sum

TOLERANCE_FLOAT64 = 1e-13
SIZE = 5


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    if request.param == "torch_scatter":
        pytest.importorskip("torch_scatter", reason="torch-scatter is not installed (an extra)")
    return str(request.param)


def rows(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(9, *shape, generator=generator, dtype=torch.float64)


def index() -> Tensor:
    # Not sorted, and nothing goes to row 3.
    return torch.tensor([4, 0, 0, 2, 1, 4, 4, 0, 2])


def dense_sum(src: Tensor, index: Tensor, size: int) -> Tensor:
    one_hot = torch.nn.functional.one_hot(index, size).to(src.dtype)
    return torch.einsum("es,e...->s...", one_hot, src)


def energy(src: Tensor, sums: Tensor) -> Tensor:
    """A scalar of curved dependence on the rows and on their sums."""
    return (sums**3).sum() + (sums.sin().sum(0) * src.cos().sum(0)).sum()


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_equals_the_dense_sum(backend: str, shape: tuple[int, ...]) -> None:
    got = scatter_sum(rows(*shape), index(), SIZE, backend)
    expected = dense_sum(rows(*shape), index(), SIZE)
    assert got.shape == (SIZE, *shape)
    torch.testing.assert_close(got, expected, rtol=0, atol=TOLERANCE_FLOAT64)
    assert expected.abs().max() > 0.1
    assert got[3].abs().max() == 0.0


def test_derivatives_equal_the_dense_ones_to_second_order(backend: str) -> None:
    direction = rows(3).flip(0)

    def derivatives(dense: bool) -> tuple[Tensor, Tensor]:
        src = rows(3).requires_grad_()
        sums = dense_sum(src, index(), SIZE) if dense else scatter_sum(src, index(), SIZE, backend)
        (first,) = torch.autograd.grad(energy(src, sums), src, create_graph=True)
        (second,) = torch.autograd.grad((first * direction).sum(), src)
        return first, second

    for got, expected in zip(derivatives(dense=False), derivatives(dense=True), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=100 * TOLERANCE_FLOAT64)
        assert expected.abs().max() > 0.1


def test_gradcheck_and_gradgradcheck(backend: str) -> None:
    src = rows(2).requires_grad_()

    def curved(src: Tensor) -> Tensor:
        return scatter_sum(src**3, index(), SIZE, backend).sin()

    assert gradcheck(curved, (src,))
    assert gradgradcheck(curved, (src,))


class CutSum(torch.autograd.Function):
    """A sum right to first order only: the fault of torch-scatter's segment_csr."""

    @staticmethod
    def forward(ctx: Any, src: Tensor) -> Tensor:
        return dense_sum(src, index(), SIZE)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        return grad.detach()[index()]


def test_second_derivative_check_finds_errors() -> None:
    """The control: a sum whose second derivative is wrong fails the same check, and only that."""
    src = rows(2).requires_grad_()

    def curved(src: Tensor) -> Tensor:
        return CutSum.apply(src**3).sin()

    assert gradcheck(curved, (src,))
    assert not gradgradcheck(curved, (src,), raise_exception=False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_rows_give_zeros_in_the_dtype_of_the_source(backend: str, dtype: torch.dtype) -> None:
    src = torch.empty(0, 2, dtype=dtype)
    got = scatter_sum(src, torch.empty(0, dtype=torch.int64), SIZE, backend)
    assert got.dtype == dtype
    assert torch.equal(got, torch.zeros(SIZE, 2, dtype=dtype))


def test_traced_with_its_gradient() -> None:
    def force(src: Tensor, index: Tensor) -> Tensor:
        src = src.detach().requires_grad_()
        return torch.autograd.grad(energy(src, scatter_sum(src, index, SIZE)), src)[0]

    traced = make_fx(force)(rows(3), index())
    moved = rows(3) + 0.3
    other = index().flip(0)
    torch.testing.assert_close(
        traced(moved, other), force(moved, other), rtol=0, atol=TOLERANCE_FLOAT64
    )


def test_maximum_has_a_lower_limit_and_is_a_constant() -> None:
    src = rows(2).requires_grad_()
    start = torch.zeros(SIZE, 2, dtype=torch.float64)
    got = scatter_max_constant(src, index(), start)
    for row in range(SIZE):
        expected = torch.cat([start[row][None], src[index() == row]]).amax(0)
        assert torch.equal(got[row], expected)
    assert not got.requires_grad
    assert got.max() > 0.1


def test_missing_torch_scatter_is_an_error_that_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torch_scatter", None)
    with pytest.raises(ImportError, match="install the extra `scatter`"):
        scatter_sum(rows(2), index(), SIZE, "torch_scatter")


def test_unknown_backend() -> None:
    with pytest.raises(
        ValueError,
        match=r"expected a scatter backend among \('native', 'by_hand', 'torch_scatter'\), got "
        r"'segment'",
    ):
        scatter_sum(rows(2), index(), SIZE, "segment")  # type: ignore[arg-type]


def test_lengths_that_differ() -> None:
    with pytest.raises(ValueError, match=r"of one length, got \(9, 2\) and \(8,\)"):
        scatter_sum(rows(2), index()[:8], SIZE)


def test_index_of_the_wrong_type() -> None:
    with pytest.raises(ValueError, match=r"dtype torch.int64, got torch.int32"):
        scatter_sum(rows(2), index().to(torch.int32), SIZE)
