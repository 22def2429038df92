"""The state of torch in which a model is evaluated."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def plain_torch_context(device: torch.device | None = None) -> Iterator[None]:
    """Leave contexts of the caller: ``torch.no_grad``, ``inference_mode``, ``autocast``."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        if device is not None and torch.amp.is_autocast_available(device.type):
            stack.enter_context(torch.autocast(device.type, enabled=False))
        yield
