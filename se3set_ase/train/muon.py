"""Muon for the channel mixing of equivariant features, AdamW for everything else.

Matrices are updated with their orthogonalised momentum (K. Jordan, "Muon: an optimizer for hidden
layers in neural networks", 2024, https://kellerjordan.github.io/posts/muon/; constants from there)
at the step length that AdamW would take (Liu et al., arXiv:2502.16982). ``torch.optim.Muon``
processes one matrix at a time. The networks have many small matrices, so here all matrices of a
shape are processed together, which is about ten times faster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from se3set_ase.nn.light.cartesian import FeatureLinear

#: Coefficients of the quintic Newton-Schulz iteration, which brings all singular values near one.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
MOMENTUM = 0.95
#: Root mean square of AdamW's usual update, in units of the learning rate.
UPDATE_RMS = 0.2


def orthogonalise(matrices: Tensor) -> Tensor:
    """Approximate nearest orthogonal matrices, with singular values of 0.7 to 1.2.

    Parameters
    ----------
    matrices : (n, c, c).

    Returns
    -------
    (n, c, c) in the precision of the matrices. The customary bfloat16 would make the result of a
    training depend on the number of processes, through rounding.
    """
    a, b, c = COEFFICIENTS
    # Scale to order one first: the squares in the norm of a small matrix would underflow.
    x = matrices / matrices.abs().amax(dim=(1, 2), keepdim=True).clamp(min=1e-30)
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=1.0)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


class MuonAdamW(torch.optim.AdamW):
    """One optimiser for all weights of a model.

    Parameters
    ----------
    model : model whose :class:`~se3set_ase.nn.light.cartesian.FeatureLinear` use Muon; all other
        weights use AdamW.
    **options : options of :class:`torch.optim.AdamW`; ``lr`` and ``weight_decay`` apply to both.
    """

    def __init__(self, model: nn.Module, **options: Any):
        self._mixing = {id(m.weight) for m in model.modules() if isinstance(m, FeatureLinear)}
        super().__init__(model.parameters(), **options)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every weight that has a gradient; the gradients of Muon's weights are removed."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            stacks: dict[torch.Size, list[Tensor]] = {}
            for weight in group["params"]:
                if id(weight) in self._mixing and weight.grad is not None:
                    stacks.setdefault(weight.shape[1:], []).append(weight)
            for weights in stacks.values():
                self._move(weights, group["lr"], group["weight_decay"])
        super().step()
        return loss

    def _move(self, weights: Sequence[Tensor], rate: float, decay: float) -> None:
        """Update stacks (n, c, c) of one size, and remove their gradients before AdamW."""
        nesterov = []
        for weight in weights:
            assert weight.grad is not None
            state = self.state[weight]
            if not state:
                state["step"] = torch.tensor(0.0)  # AdamW needs it when states are loaded
                state["momentum"] = torch.zeros_like(weight)
            state["step"] += 1
            momentum = state["momentum"]
            momentum.lerp_(weight.grad, 1.0 - MOMENTUM)
            nesterov.append(weight.grad.lerp(momentum, MOMENTUM))
            weight.grad = None
        directions = orthogonalise(torch.cat(nesterov)).split([len(w) for w in weights])
        length = rate * UPDATE_RMS * weights[0].shape[-1] ** 0.5
        for weight, direction in zip(weights, directions, strict=True):
            weight.mul_(1.0 - rate * decay).sub_(direction, alpha=length)
