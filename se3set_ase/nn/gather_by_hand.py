"""Hyperedges gather their members, by hand as in :mod:`se3set_ase.nn.by_hand`.

Index letters as in :mod:`se3set_ase.nn.cartesian`; e edge, p path.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from se3set_ase.nn.by_hand import chunks, gradients_of, inner
from se3set_ase.nn.cartesian import symmetric_traceless, weighed

if TYPE_CHECKING:
    from se3set_ase.nn.light import Incidence, VertexToHyperedge

silu_backward = torch.ops.aten.silu_backward

#: Of :class:`se3set_ase.nn.light.ScaledSiLU`.
GAIN = 1.68
#: Brings l = 0, 1, 2 of a sum over members to order one with fresh weights.
MEMBER_GAIN = (1.0, 3**0.5, 7.5**0.5)


class Gather(torch.autograd.Function):
    """The sums of :class:`se3set_ase.nn.light.VertexToHyperedge`, of constant weights."""

    @staticmethod
    def forward(ctx: Any, gather: VertexToHyperedge, incidence: Incidence, *inputs: Tensor) -> Any:
        ctx.gather, ctx.incidence = gather, incidence
        ctx.save_for_backward(*inputs)
        members = inputs[5:]
        n_hyper, channels = incidence.hyper_atom.shape[0], members[0].shape[1]
        sums = [members[0].new_zeros(n_hyper, *x, channels) for x in ((), (3,), (3, 3))]
        for at in chunks(incidence.owner):
            weight = EdgeWeight.of(gather, incidence, at, *inputs[:4]).weight
            seen = [x.index_select(0, incidence.edge_atom[at]) for x in members]
            product = first_products if gather.first else products
            for total, each in zip(sums, product(weight, inputs[4][at], *seen), strict=True):
                total.index_add_(0, incidence.edge_hyper[at], each)
        return with_gain(*sums)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        gather, incidence, inputs = ctx.gather, ctx.incidence, ctx.saved_tensors
        if torch.is_grad_enabled():
            needed = ctx.needs_input_grad[2:]
            plain = gradients_of(
                lambda *inputs: gather.plain(incidence, *inputs), inputs, needed, grads
            )
            return None, None, *plain
        grads = with_gain(*grads)
        to_owner, to_member, to_basis, to_edge, to_unit, *to_members = map(torch.zeros_like, inputs)
        for at in chunks(incidence.owner):
            owner, member = incidence.owner[at], incidence.edge_atom[at]
            edge = EdgeWeight.of(gather, incidence, at, *inputs[:4])
            seen = [x.index_select(0, member) for x in inputs[5:]]
            given = [g.index_select(0, incidence.edge_hyper[at]) for g in grads]
            backward = first_products_backward if gather.first else products_backward
            to_weight, to_unit[at], *to_seen = backward(edge.weight, inputs[4][at], seen, given)
            for total, each in zip(to_members, to_seen, strict=True):
                total.index_add_(0, member, each)
            to_hidden, to_basis[at], to_edge[at] = edge.backward(gather, inputs[3][at], to_weight)
            to_owner.index_add_(0, owner, to_hidden)
            to_member.index_add_(0, member, to_hidden)
        return None, None, to_owner, to_member, to_basis, to_edge, to_unit, *to_members


def with_gain(scalar: Tensor, vector: Tensor, tensor: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What is done to a finished sum, and, as it is its own transpose, to its gradient."""
    s, v, t = MEMBER_GAIN
    return s * scalar, v * vector, symmetric_traceless(tensor).mul_(t)


class EdgeWeight(NamedTuple):
    """The weight of some edges, (e, p, c), and what its gradient needs."""

    weight: Tensor
    radial: Tensor
    """(e, p, c)"""
    gate: Tensor
    """(e, head)"""
    arguments: tuple[Tensor, Tensor, Tensor]
    """(e, hidden) each: of the SiLUs of the radial network and of the gate."""

    @classmethod
    def of(
        cls,
        gather: VertexToHyperedge,
        incidence: Incidence,
        at: slice,
        owner: Tensor,
        member: Tensor,
        basis: Tensor,
        edge: Tensor,
    ) -> EdgeWeight:
        """As :meth:`se3set_ase.nn.light.VertexToHyperedge.plain` has it."""
        x = basis[at]
        first = gather.radial[0](x)
        second = gather.radial[2](GAIN * silu(first))
        radial = gather.radial[4](GAIN * silu(second)).view(len(x), gather.paths, -1)
        hidden = gather.distance(x) + owner.index_select(0, incidence.owner[at])
        hidden += member.index_select(0, incidence.edge_atom[at])
        gate = torch.sigmoid(gather.gate[1](GAIN * silu(hidden)))
        weight = weighed(radial, gate * (gather.norm * edge[at])[:, None])
        return cls(weight, radial, gate, (first, second, hidden))

    def backward(
        self, gather: VertexToHyperedge, edge: Tensor, to_weight: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of the hidden values of the gate, of the basis and of the edge's weight."""
        first, second, hidden = self.arguments
        n, _, channels = self.radial.shape
        heads = self.gate.shape[1]
        by_head = inner(to_weight, self.radial).view(n, heads, -1).sum(2)
        to_edge = gather.norm * (by_head * self.gate).sum(1)
        to_gate = by_head * (gather.norm * edge)[:, None]
        to_logit = to_gate * self.gate * (1.0 - self.gate)
        to_hidden = silu_backward(GAIN * (to_logit @ weight_of(gather.gate, 1)), hidden)
        weight = self.gate.repeat_interleave(channels // heads, dim=1)
        weight *= (gather.norm * edge)[:, None]
        to_radial = (to_weight * weight[:, None]).view(n, -1)
        to_second = silu_backward(GAIN * (to_radial @ weight_of(gather.radial, 4)), second)
        to_first = silu_backward(GAIN * (to_second @ weight_of(gather.radial, 2)), first)
        to_basis = to_first @ weight_of(gather.radial, 0) + to_hidden @ gather.distance.weight
        return to_hidden, to_basis, to_edge


def weight_of(layers: nn.Sequential, index: int) -> Tensor:
    """(out, in), of the linear layer at a place."""
    layer = layers[index]
    assert isinstance(layer, nn.Linear)
    return layer.weight


def first_products(weight: Tensor, r: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`se3set_ase.nn.cartesian.first_edge_product`."""
    w = (weight * s[:, None]).unbind(1)
    rx = r[..., None]
    return w[0], rx * w[1][:, None], rx[..., None] * (rx * w[2][:, None])[:, None]


def first_products_backward(
    weight: Tensor, r: Tensor, seen: Sequence[Tensor], given: Sequence[Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of weight, direction and scalars; of tensors it is symmetric, as they are."""
    (s,) = seen
    gs, gv, gt = given
    row = along(r, gt)
    to_products = torch.stack([gs, along(r, gv), along(r, row)], dim=1)
    w = (weight * s[:, None]).unbind(1)
    to_r = (gv * w[1][:, None]).addcmul_(row, 2.0 * w[2][:, None]).sum(2)
    return to_products * s[:, None], to_r, inner(to_products, weight)


def products(
    weight: Tensor, r: Tensor, s: Tensor, v: Tensor, t: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`se3set_ase.nn.cartesian.edge_product`."""
    w = weight.unbind(1)
    b, rx = along(r, t), r[..., None]
    scalar = (w[0] * s).addcmul_(w[1], along(r, v)).addcmul_(w[2], along(r, b))
    vector = (rx * (w[3] * s)[:, None]).addcmul_(w[4][:, None], v).addcmul_(w[5][:, None], b)
    row = (rx * (w[6] * s)[:, None]).addcmul_(w[7][:, None], v)
    return scalar, vector, (rx[..., None] * row[:, None]).addcmul_(w[8][:, None, None], t)


def products_backward(
    weight: Tensor, r: Tensor, seen: Sequence[Tensor], given: Sequence[Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of weight, direction and members."""
    w = weight.unbind(1)
    (s, v, t), (gs, gv, gt) = seen, given
    b, rx = along(r, t), r[..., None]
    w1g, w2g, w3s, w6s = w[1] * gs, w[2] * gs, w[3] * s, w[6] * s
    row = (rx * w6s[:, None]).addcmul_(w[7][:, None], v)
    to_row = along(r, gt)
    to_w3s, to_w6s = along(r, gv), along(r, to_row)
    to_b = (w[5][:, None] * gv).addcmul_(rx, w2g[:, None])
    to_weight = torch.stack(
        [
            gs * s, gs * along(r, v), gs * along(r, b),
            to_w3s * s, inner(gv, v), inner(gv, b),
            to_w6s * s, inner(to_row, v), inner(gt, t),
        ],
        dim=1,
    )  # fmt: skip
    to_s = (w[0] * gs).addcmul_(w[3], to_w3s).addcmul_(w[6], to_w6s)
    to_v = (w[4][:, None] * gv).addcmul_(w[7][:, None], to_row).addcmul_(rx, w1g[:, None])
    to_t = (w[8][:, None, None] * gt).addcmul_(rx[..., None], to_b[:, None])
    # What each axis of the direction was multiplied with, summed over channels.
    to_r = (gv * w3s[:, None]).addcmul_(to_row, w6s[:, None])
    to_r = to_r.addcmul_(v, w1g[:, None]).addcmul_(b, w2g[:, None]).sum(2)
    to_r += (gt * row[:, None]).addcmul_(t, to_b[:, None]).sum((2, 3))
    return to_weight, to_r, to_s, to_v, to_t


def along(unit: Tensor, tensor: Tensor) -> Tensor:
    """sum_x r[e, x] T[e, x, ...] -> (e, ...)."""
    if tensor.ndim == 4:  # faster; with few columns, slower
        n = unit.shape[0]
        return torch.bmm(unit[:, None], tensor.reshape(n, 3, -1)).view(n, *tensor.shape[2:])
    x, y, z = unit[:, :, None].unbind(1)  # e, 1
    return (x * tensor[:, 0]).addcmul_(y, tensor[:, 1]).addcmul_(z, tensor[:, 2])
