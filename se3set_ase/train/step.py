"""One training step: loss and gradients of the weights, compiled or not.

Forces are derivatives, so their loss needs second derivatives, which ``torch.compile`` does not
support. Here the step including its autograd calls is traced (``make_fx``) to one graph of plain
operations, which is then compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor
from torch.func import functional_call
from torch.utils import _pytree as pytree

from se3set_ase.nn.light.cartesian import Features, square_norm
from se3set_ase.nn.light.network import Block, LightNetwork
from se3set_ase.nn.model import SE3Set, energy_and_forces
from se3set_ase.nn.scatter import scatter_sum
from se3set_ase.train.batches import Batch


class StepResult(NamedTuple):
    """Loss, mean squared errors (eV^2, (eV/Angstrom)^2) and the gradient of each weight."""

    loss: Tensor
    energy_squared: Tensor
    forces_squared: Tensor
    gradients: tuple[Tensor, ...]


class LossWeights(NamedTuple):
    """Values that may change from step to step, () each."""

    energy: Tensor
    excess: Tensor
    """Weight of :func:`excess`."""


Step = Callable[[Sequence[Tensor], Batch, LossWeights], StepResult]


Loss = Literal["mse", "l2mae"]


def make_step(
    model: SE3Set,
    forces_weight: float,
    kind: Loss = "mse",
    *,
    dipole_weight: float = 0.0,
    hold_back: bool = False,
) -> Step:
    """The step as a function of parameters, batch and weights; nothing is changed in place.

    Parameters
    ----------
    kind : ``"mse"``, mean of (energy error)^2 / atoms and mean square of the force components;
        ``"l2mae"``, mean absolute energy error and mean length of each atom's force error, as
        SE3Set was published with (arXiv:2405.16511).
    dipole_weight : weight of the mean square of the components of the dipole.
    hold_back : add the weight of :func:`excess`. Messages far beyond the saturation keep only their
        direction. In training this costs nothing, but the surface becomes rough for fragments
        that the training data do not contain.
    """
    names = [name for name, p in model.named_parameters() if p.requires_grad]

    def step(parameters: Sequence[Tensor], batch: Batch, weights: LossWeights) -> StepResult:
        named = dict(zip(names, parameters, strict=True))

        charges: list[Tensor] = []

        def call(positions: Tensor, graph: object) -> Tensor:
            if not dipole_weight:
                return cast(Tensor, functional_call(model, named, (positions, graph)))
            found = functional_call(model, named, (positions, graph), {"with_charges": True})
            charges.append(found.charge)
            return cast(Tensor, found.energy)

        with seen_by(model) as messages:
            energy, forces, _ = energy_and_forces(
                call, batch.positions, batch.graph, create_graph=True
            )
        energy_error = energy - batch.energy
        forces_error = forces - batch.forces
        # Padding has no error, so sums may include it; means are over the real atoms.
        n_atoms = batch.atoms_per_process
        energy_squared = (energy_error**2).mean()
        forces_squared = (forces_error**2).sum() / (3.0 * n_atoms)
        if kind == "mse":
            loss_energy = (energy_error**2 / batch.graph.n_atoms).mean()
            loss_forces = forces_squared
        else:
            loss_energy = energy_error.abs().mean()
            loss_forces = length(forces_error).sum() / n_atoms
        loss = weights.energy * loss_energy + forces_weight * loss_forces
        if dipole_weight:
            loss = loss + dipole_weight * dipole_squared(charges[0], batch)
        total = loss
        if hold_back and isinstance(model.network, LightNetwork):
            beyond = excess(messages, model.network.config.saturation) / n_atoms
            total = loss + weights.excess * beyond
        gradients = torch.autograd.grad(total, list(parameters), materialize_grads=True)
        return StepResult(
            loss=loss.detach(),
            energy_squared=energy_squared.detach(),
            forces_squared=forces_squared.detach(),
            gradients=tuple(g.detach() for g in gradients),
        )

    return step


def dipole_squared(charge: Tensor, batch: Batch) -> Tensor:
    """Mean square error of the components of the dipoles of a batch, (e Angstrom)^2."""
    each = charge[:, None] * batch.positions
    found = scatter_sum(each, batch.graph.molecule, batch.dipole.shape[0])  # i -> m
    error = batch.has_dipole[:, None] * (found - batch.dipole)
    return (error**2).sum() / (3.0 * batch.dipoles_per_process)


@contextmanager
def seen_by(model: SE3Set) -> Iterator[list[Features]]:
    """Messages of the default network that are multiplied or saturated."""
    messages: list[Features] = []
    blocks = [module for module in model.modules() if isinstance(module, Block)]
    layers = [layer for block in blocks for layer in (block.scatter.mix, block.mix)]
    hooks = [
        layer.register_forward_hook(lambda _, __, output: messages.append(output))
        for layer in layers
    ]
    try:
        yield messages
    finally:
        for hook in hooks:
            hook.remove()


def excess(messages: Sequence[Features], size: float) -> Tensor:
    """Sum over items, mean over layers and channels of log(1 + |f|^2 / size^2)."""
    each = [torch.log1p(square_norm(f) / size**2).mean(1).sum() for f in messages]
    return torch.stack(each).mean()


def length(vectors: Tensor) -> Tensor:
    """(N, 3) -> (N,) Euclidean norm, with gradient zero where it is zero."""
    square = (vectors * vectors).sum(-1)
    zero = square == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, square).sqrt())


def compile_step(
    step: Step, parameters: Sequence[Tensor], batch: Batch, weights: LossWeights
) -> Step:
    """The same step, traced on one batch and compiled for its shapes."""
    from torch._inductor.compile_fx import compile_fx
    from torch.fx.experimental.proxy_tensor import make_fx

    def arguments(parameters: Sequence[Tensor], batch: Batch, weights: LossWeights) -> list[Tensor]:
        return [*(p.detach() for p in parameters), *batch_tensors(batch), *weights]

    flat = arguments(parameters, batch, weights)
    n_parameters = len(parameters)
    _, batch_spec = pytree.tree_flatten(batch)

    def flat_step(*values: Tensor) -> tuple[Tensor, ...]:
        learnt = [p.requires_grad_(True) for p in values[:n_parameters]]
        rebuilt = pytree.tree_unflatten(list(values[n_parameters:-2]), batch_spec)
        result = step(learnt, rebuilt, LossWeights(*values[-2:]))
        return (*result[:3], *result.gradients)

    traced = make_fx(flat_step)(*[v.clone() for v in flat])
    with torch.no_grad():
        compiled: Any = compile_fx(traced, list(flat))

    def run(parameters: Sequence[Tensor], batch: Batch, weights: LossWeights) -> StepResult:
        with torch.no_grad():
            loss, energy, forces, *gradients = compiled(*arguments(parameters, batch, weights))
        return StepResult(loss, energy, forces, tuple(gradients))

    return run


def batch_tensors(batch: Batch) -> list[Tensor]:
    """All tensors of a batch, in order."""
    return pytree.tree_leaves(batch)
