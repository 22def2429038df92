"""Sums over rows with the same index; this module chooses the implementation.

Native torch is the default. ``"by_hand"`` is native too, and makes networks use hand-written
gradients where they have them (:mod:`se3set_ase.nn.light.kernels`): equal results, faster and with
less memory, for inference. torch-scatter's ``scatter``
(https://github.com/rusty1s/pytorch_scatter) is used on request. All are correct to second order,
which training on forces needs. Its ``segment_csr`` and ``segment_coo`` are not used: their second
derivatives are silently wrong.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

Backend = Literal["native", "by_hand", "torch_scatter"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)


def scatter_sum(src: Tensor, index: Tensor, size: int, backend: Backend = "native") -> Tensor:
    """``out[i] = sum of src[e] over the rows e with index[e] == i``.

    Parameters
    ----------
    src : (E, ...) rows to add.
    index : (E,) int64, in any order, each in ``range(size)``.
    size : number of rows of the result; a row that no index names is zero.
    backend : ``"native"``, ``"by_hand"`` (here the same) or ``"torch_scatter"``.

    Returns
    -------
    (size, ...) in the dtype and on the device of ``src``, differentiable to any order.

    Raises
    ------
    ValueError : shapes do not match, or the backend is unknown.
    ImportError : torch-scatter is not installed.
    """
    _check(src, index)
    check_backend(backend)
    if backend != "torch_scatter":
        return src.new_zeros((size, *src.shape[1:])).index_add(0, index, src)
    result: Tensor = _torch_scatter()(src, index, dim=0, dim_size=size, reduce="sum")
    return result


def check_backend(backend: str) -> None:
    """Raise ValueError for an unknown backend and ImportError if it is not installed."""
    if backend not in BACKENDS:
        raise ValueError(f"expected a scatter backend among {BACKENDS}, got {backend!r}")
    if backend == "torch_scatter":
        _torch_scatter()


def scatter_max_constant(src: Tensor, index: Tensor, start: Tensor) -> Tensor:
    """``out[i] = max(start[i], src[e] over the rows e with index[e] == i)``, without a gradient.

    For shifts that cancel, such as that of the exponents of a softmax.

    Parameters
    ----------
    src : (E, C) rows to compare.
    index : (E,) int64, each in ``range(len(start))``.
    start : (size, C) lower limit of each row of the result.
    """
    _check(src, index)
    rows = index[:, None].expand_as(src)
    return start.detach().scatter_reduce(0, rows, src.detach(), reduce="amax")


def _check(src: Tensor, index: Tensor) -> None:
    """One index for each row of the source."""
    if index.ndim != 1 or src.ndim < 1 or src.shape[0] != index.shape[0]:
        raise ValueError(
            "expected src (E, ...) and index (E,) of one length, "
            f"got {tuple(src.shape)} and {tuple(index.shape)}"
        )
    if index.dtype != torch.int64:
        raise ValueError(f"expected an index of dtype torch.int64, got {index.dtype}")


def _torch_scatter():  # type: ignore[no-untyped-def]
    """``torch_scatter.scatter``, imported on first use because it is optional."""
    try:
        from torch_scatter import scatter
    except ImportError as error:
        raise ImportError(
            "the scatter backend 'torch_scatter' needs torch-scatter, which is not installed; "
            "install the extra `scatter` (pip install --no-build-isolation 'se3set-ase[scatter]') "
            "or use the backend 'native'"
        ) from error
    return scatter
