"""Sums over members with hand-written gradients, as in :mod:`se3set_ase.nn.light.kernels`.

Index letters as in :mod:`se3set_ase.nn.light.cartesian`; e edge, p path.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from se3set_ase.nn.light.cartesian import Direction, dot, weighed
from se3set_ase.nn.light.kernels import chunks, gradients_of

if TYPE_CHECKING:
    from se3set_ase.nn.light.incidence import Incidence
    from se3set_ase.nn.light.layers import VertexToHyperedge

silu_backward = torch.ops.aten.silu_backward

#: Factor of :class:`se3set_ase.nn.light.layers.ScaledSiLU`.
GAIN = 1.68
#: Factors that bring l = 0, 1, 2 of a sum over members to order one with initial weights.
MEMBER_GAIN = (1.0, 3**0.5, 7.5**0.5)


class Gather(torch.autograd.Function):
    """The sums of :class:`se3set_ase.nn.light.layers.VertexToHyperedge` for constant weights."""

    @staticmethod
    def forward(ctx: Any, gather: VertexToHyperedge, incidence: Incidence, *inputs: Tensor) -> Any:
        ctx.gather, ctx.incidence = gather, incidence
        ctx.save_for_backward(*inputs)
        members = inputs[6:]
        n_hyper, channels = incidence.hyper_atom.shape[0], members[0].shape[1]
        sums = [members[0].new_zeros(n_hyper, *x, channels) for x in ((), (3,), (5,))]
        for at in chunks(incidence.owner):
            weight = EdgeWeight.of(gather, incidence, at, *inputs[:4]).weight
            seen = [x.index_select(0, incidence.edge_atom[at]) for x in members]
            product = first_products if gather.first else products
            direction = Direction(*(x[at] for x in inputs[4:6]))
            for total, each in zip(sums, product(weight, direction, *seen), strict=True):
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
        to_owner, to_member, to_basis, to_edge, to_unit, to_slope, *to_members = map(
            torch.zeros_like, inputs
        )
        for at in chunks(incidence.owner):
            owner, member = incidence.owner[at], incidence.edge_atom[at]
            edge = EdgeWeight.of(gather, incidence, at, *inputs[:4])
            direction = Direction(*(x[at] for x in inputs[4:6]))
            seen = [x.index_select(0, member) for x in inputs[6:]]
            given = [g.index_select(0, incidence.edge_hyper[at]) for g in grads]
            backward = first_products_backward if gather.first else products_backward
            to_weight, to_unit[at], to_slope[at], *to_seen = backward(
                edge.weight, direction, seen, given
            )
            for total, each in zip(to_members, to_seen, strict=True):
                total.index_add_(0, member, each)
            to_hidden, to_basis[at], to_edge[at] = edge.backward(gather, inputs[3][at], to_weight)
            to_owner.index_add_(0, owner, to_hidden)
            to_member.index_add_(0, member, to_hidden)
        found = to_owner, to_member, to_basis, to_edge, to_unit, to_slope, *to_members
        return None, None, *found


def with_gain(scalar: Tensor, vector: Tensor, tensor: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Scale a finished sum or, since this operation is its own transpose, its gradient."""
    s, v, t = MEMBER_GAIN
    return s * scalar, v * vector, t * tensor


class EdgeWeight(NamedTuple):
    """The weights of edges, (e, p, c), and intermediate values for their gradient."""

    weight: Tensor
    radial: Tensor
    """(e, p, c)"""
    gate: Tensor
    """(e, head)"""
    arguments: tuple[Tensor, Tensor, Tensor]
    """(e, hidden) each: inputs of the SiLUs of the radial network and of the gate."""

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
        """The weight as in :meth:`se3set_ase.nn.light.layers.VertexToHyperedge.plain`."""
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
        by_head = dot(to_weight, self.radial).view(n, heads, -1).sum(2)
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
    """Weight (out, in) of the linear layer with an index."""
    layer = layers[index]
    assert isinstance(layer, nn.Linear)
    return layer.weight


def first_products(weight: Tensor, edge: Direction, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`se3set_ase.nn.light.cartesian.first_edge_product`."""
    w = (weight * s[:, None]).unbind(1)
    harmonic = torch.bmm(edge.slope, edge.unit[..., None])
    return w[0], edge.unit[..., None] * w[1][:, None], harmonic * w[2][:, None]


def first_products_backward(
    weight: Tensor, edge: Direction, seen: Sequence[Tensor], given: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """Gradients of weight, direction and scalars."""
    (s,) = seen
    gs, gv, gt = given
    r = edge.unit[..., None]
    harmonic = torch.bmm(edge.slope, r)
    to_products = torch.stack([gs, along(r, gv), along(harmonic, gt)], dim=1)
    w = (weight * s[:, None]).unbind(1)
    to_harmonic = (gt * w[2][:, None]).sum(2, keepdim=True)  # e, m, 1
    to_r = (gv * w[1][:, None]).sum(2) + (edge.slope * to_harmonic).sum(1)
    return to_products * s[:, None], to_r, to_harmonic * r.mT, dot(to_products, weight)


def products(
    weight: Tensor, edge: Direction, s: Tensor, v: Tensor, t: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`se3set_ase.nn.light.cartesian.edge_product`."""
    w = weight.unbind(1)
    r = edge.unit[..., None]
    b = torch.bmm(edge.slope.mT, t)
    scalar = (w[0] * s).addcmul_(w[1], along(r, v)).addcmul_(w[2], along(r, b))
    vector = (r * (w[3] * s)[:, None]).addcmul_(w[4][:, None], v).addcmul_(w[5][:, None], b)
    row = (r * (w[6] * s)[:, None]).addcmul_(w[7][:, None], v)
    return scalar, vector, torch.baddbmm(w[8][:, None] * t, edge.slope, row)


def products_backward(
    weight: Tensor, edge: Direction, seen: Sequence[Tensor], given: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """Gradients of weight, direction and members."""
    w = weight.unbind(1)
    (s, v, t), (gs, gv, gt) = seen, given
    r = edge.unit[..., None]
    b = torch.bmm(edge.slope.mT, t)
    w1g, w2g, w3s, w6s = w[1] * gs, w[2] * gs, w[3] * s, w[6] * s
    row = (r * w6s[:, None]).addcmul_(w[7][:, None], v)
    to_row = torch.bmm(edge.slope.mT, gt)
    to_w3s, to_w6s = along(r, gv), along(r, to_row)
    to_b = (w[5][:, None] * gv).addcmul_(r, w2g[:, None])
    to_weight = torch.stack(
        [
            gs * s, gs * along(r, v), gs * along(r, b),
            to_w3s * s, dot(gv, v), dot(gv, b),
            to_w6s * s, dot(to_row, v), dot(gt, t),
        ],
        dim=1,
    )  # fmt: skip
    to_s = (w[0] * gs).addcmul_(w[3], to_w3s).addcmul_(w[6], to_w6s)
    to_v = (w[4][:, None] * gv).addcmul_(w[7][:, None], to_row).addcmul_(r, w1g[:, None])
    to_t = torch.baddbmm(w[8][:, None] * gt, edge.slope, to_b)
    # Gradient of each axis of the direction, summed over channels.
    to_r = (gv * w3s[:, None]).addcmul_(to_row, w6s[:, None])
    to_r = to_r.addcmul_(v, w1g[:, None]).addcmul_(b, w2g[:, None]).sum(2)
    to_slope = torch.bmm(gt, row.mT).baddbmm_(t, to_b.mT)  # e, m, x
    return to_weight, to_r, to_slope, to_s, to_v, to_t


def along(components: Tensor, features: Tensor) -> Tensor:
    """sum_x r[e, x, 1] f[e, x, c] -> (e, c), for any number of components."""
    first, *others = zip(components.unbind(1), features.unbind(1), strict=True)
    total = first[0] * first[1]
    for r, f in others:
        total.addcmul_(r, f)
    return total
