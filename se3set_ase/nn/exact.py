"""Constants of a network that keep full precision."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class ExactConstants(nn.Module):
    """Constants that are exact in float64 even after a conversion to float32.

    A buffer that ``.to(dtype)`` has rounded stays rounded; these are converted from float64 again.
    They are not part of the state dict.
    """

    def __init__(self) -> None:
        super().__init__()
        self._exact: dict[str, Tensor] = {}

    def register_constant(self, name: str, value: Tensor) -> None:
        """Register a float64 tensor as ``self.name``, in dtype and device of the module."""
        self._exact[name] = value
        self.register_buffer(name, value.to(torch.get_default_dtype()), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ExactConstants:
        super()._apply(fn, recurse)
        for name, value in self._exact.items():
            buffer = getattr(self, name)
            setattr(self, name, value.to(dtype=buffer.dtype, device=buffer.device))
        return self


class AtomicTable(nn.Module):
    """Constants per element that stay float64 for any dtype of the model."""

    values: Tensor

    def __init__(self, values: Tensor):
        super().__init__()
        self.register_buffer("values", values.double(), persistent=False)

    def _apply(self, fn, recurse=True):  # type: ignore[no-untyped-def]
        exact = self.values
        super()._apply(fn, recurse)
        self.values = exact.to(self.values.device)
        return self
