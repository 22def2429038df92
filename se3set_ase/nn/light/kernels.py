"""Expensive steps of a block with hand-written gradients, for forces without compilation.

Autograd stores and reads about a hundred arrays per edge. Here a step processes hundreds of items
at a time, which stay in the processor cache, and stores only its inputs. Second gradients come from
the plain formulas, which are also used while a model is trained or compiled. Index letters as in
:mod:`se3set_ase.nn.light.cartesian`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from se3set_ase.nn.light import cartesian
from se3set_ase.nn.light.cartesian import Features, contracted, coupled, dot, multiplied

if TYPE_CHECKING:
    from se3set_ase.nn.light.incidence import Incidence
    from se3set_ase.nn.light.layers import HyperedgeToVertex


#: Items per step: the fastest of 128 to 2048 on a CPU with 2 MB of cache (at 102 to 1002 atoms),
#: and about 3 GB on other devices.
AT_ONCE_IN_CACHE, AT_ONCE_ON_DEVICE = 512, 2**17


def chunks(items: Tensor) -> Iterator[slice]:
    """All items in order."""
    at_once = AT_ONCE_IN_CACHE if items.device.type == "cpu" else AT_ONCE_ON_DEVICE
    for start in range(0, len(items), at_once):
        yield slice(start, start + at_once)


def inner(first: Tensor, second: Tensor) -> Tensor:
    """Sum over components, if there are any: a[n, ..., c] b[n, ..., c] -> (n, c)."""
    return first * second if first.ndim == 2 else dot(first, second)


def gradients_of(
    plain: Callable[..., Features], inputs: tuple[Any, ...], needed: tuple[bool, ...], grads: Any
) -> list[Tensor | None]:
    """Differentiable gradients by autograd through the plain formula."""
    with torch.enable_grad():
        # Detached views, so that only the dependence within the plain formula counts.
        inputs = tuple(x.view_as(x) for x in inputs)
        outputs = plain(*inputs)
        wanted = [i for i, need in zip(inputs, needed, strict=True) if need]
        found = iter(
            torch.autograd.grad(outputs, wanted, grads, create_graph=True, materialize_grads=True)
        )
    return [next(found) if need else None for need in needed]


def square_by_hand(features: Features, weight: Tensor) -> Features:
    """:func:`se3set_ase.nn.light.cartesian.square`; with hand-written gradients."""
    if weight.requires_grad:
        return cartesian.square(features, weight)
    return Features(*Square.apply(*features, weight))


class Square(torch.autograd.Function):
    """:func:`se3set_ase.nn.light.cartesian.square` with constant weights."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(*inputs)
        scalar, vector, tensor, weight = inputs
        out = tuple(map(torch.empty_like, (scalar, vector, tensor)))
        for at in chunks(scalar):
            s, v, t = scalar[at], vector[at], tensor[at]
            w = of_paths(weight, at)
            out[0][at] = (w[0] * s * s).addcmul_(w[1], dot(v, v)).addcmul_(w[2], dot(t, t))
            out[1][at] = ((w[3] * s)[:, None] * v).addcmul_(w[4][:, None], contracted(t, v))
            both = (w[5] * s)[:, None] * t
            both.addcmul_(w[6][:, None], coupled(v, v))
            out[2][at] = both.addcmul_(w[7][:, None], multiplied(t, t))
        return out[0], out[1], out[2]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        inputs = ctx.saved_tensors
        if torch.is_grad_enabled():
            return tuple(
                gradients_of(
                    lambda s, v, t, w: cartesian.square(Features(s, v, t), w),
                    inputs, ctx.needs_input_grad, grads,
                )
            )  # fmt: skip
        scalar, vector, tensor, weight = inputs
        out = tuple(map(torch.empty_like, (scalar, vector, tensor)))
        for at in chunks(scalar):
            s, v, t = scalar[at], vector[at], tensor[at]
            gs, gv, gt = (g[at] for g in grads)
            w = of_paths(weight, at)
            w3s, w4g, w5s = w[3] * s, w[4][:, None] * gv, w[5] * s
            out[0][at] = (2.0 * w[0] * s * gs).addcmul_(w[3], dot(v, gv)).addcmul_(w[5], dot(t, gt))
            g_v = (2.0 * w[1] * gs)[:, None] * v
            g_v.addcmul_(w3s[:, None], gv).add_(contracted(t, w4g))
            out[1][at] = g_v.addcmul_(2.0 * w[6][:, None], contracted(gt, v))
            g_t = (2.0 * w[2] * gs)[:, None] * t
            g_t.addcmul_(w5s[:, None], gt).add_(coupled(w4g, v))
            out[2][at] = g_t.addcmul_(2.0 * w[7][:, None], multiplied(gt, t))
        return *out, None


class Deliver(torch.autograd.Function):
    """The sums of :class:`se3set_ase.nn.light.layers.HyperedgeToVertex`."""

    @staticmethod
    def forward(
        ctx: Any, scatter: HyperedgeToVertex, incidence: Incidence, n_atoms: int, *inputs: Tensor
    ) -> Any:
        ctx.scatter, ctx.incidence, ctx.n_atoms = scatter, incidence, n_atoms
        ctx.save_for_backward(*inputs)
        attention, weight, *parts = inputs
        sums = [x.new_zeros(n_atoms, *x.shape[1:]) for x in parts[:3]]
        for at in chunks(weight):
            owner, w = incidence.hyper_atom[at], weight[at, None]
            both = w * attention[at]
            for total, members, together in zip(sums, parts[:3], parts[3:], strict=True):
                part = members[at] * like(w, members)
                part.addcmul_(together[at], like(both, together))
                total.index_add_(0, owner, part)
        return tuple(sums)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        incidence, inputs = ctx.incidence, ctx.saved_tensors
        if torch.is_grad_enabled():
            plain = gradients_of(
                lambda *inputs: ctx.scatter.plain(incidence, ctx.n_atoms, *inputs),
                inputs, ctx.needs_input_grad[3:], grads,
            )  # fmt: skip
            return None, None, None, *plain
        attention, weight, *parts = inputs
        to_attention, to_weight, *to_parts = map(torch.empty_like, inputs)
        for at in chunks(weight):
            owner, w = incidence.hyper_atom[at], weight[at, None]
            both = w * attention[at]
            linear, products = torch.zeros_like(both), torch.zeros_like(both)
            for index, grad in enumerate(grads):
                g = grad.index_select(0, owner)
                linear += inner(g, parts[index][at])
                products += inner(g, parts[index + 3][at])
                torch.mul(g, like(w, g), out=to_parts[index][at])
                torch.mul(g, like(both, g), out=to_parts[index + 3][at])
            to_attention[at] = w * products
            to_weight[at] = linear.addcmul_(attention[at], products).sum(1)
        return None, None, None, to_attention, to_weight, *to_parts


def like(factor: Tensor, other: Tensor) -> Tensor:
    """(n, c) with additional axes for a product with (n, ..., c)."""
    return factor if other.ndim == 2 else factor[:, None]


def of_paths(weight: Tensor, at: slice) -> list[Tensor]:
    """Weights of the eight different products of features with themselves, see ``square``."""
    w = (weight if len(weight) == 1 else weight[at]).unbind(1)
    return [w[0], w[1], w[2], w[3] + w[4], w[5] + w[6], w[7] + w[8], w[9], w[10]]
