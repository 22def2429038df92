"""Errors of a model on batches of labelled frames."""

from __future__ import annotations

import math

import numpy as np
import torch

from se3set_ase.nn.graph import weigh
from se3set_ase.nn.model import SE3Set, energy_and_forces
from se3set_ase.nn.scatter import scatter_sum
from se3set_ase.train.batches import Batch, Batches


def energy_errors(model: SE3Set, batches: Batches) -> tuple[np.ndarray, np.ndarray]:
    """Energy error of every frame, eV, and its derivative with respect to each shift."""
    errors, counts = [], []
    with torch.no_grad():
        for batch in batches.every_frame():
            graph, n_frames = batch.graph, len(batch.energy)
            energy = scatter_sum(model(batch.positions, graph), graph.molecule, n_frames)  # i -> m
            errors.append((energy - batch.energy).cpu().numpy())
            bonded = model.bonded(graph, weigh(batch.positions, graph, model.hypergraph)).double()
            count = bonded.new_zeros(n_frames, len(model.elements))  # m, z
            count.index_put_((graph.molecule, graph.species), bonded, accumulate=True)
            counts.append(count.cpu().numpy())
    return np.concatenate(errors), np.concatenate(counts)


def errors(model: SE3Set, batches: Batches) -> tuple[float, float, float]:
    """Root mean square errors of energies (eV), and of components of forces and dipoles.

    Returns
    -------
    eV, eV/Angstrom and e Angstrom; the last is NaN for a model or frames without dipoles.
    """
    energy, forces, n_forces, dipoles = [], 0.0, 0, []
    for batch in batches.every_frame():
        e, f, _ = energy_and_forces(model, batch.positions, batch.graph)
        energy.append((e - batch.energy).detach().cpu().numpy())
        forces += float(((f - batch.forces) ** 2).sum())
        n_forces += 3 * int(batch.graph.n_atoms.sum())
        if model.has_charges:
            dipoles.append(dipole_errors(model, batch))
    dipole = np.concatenate(dipoles) if dipoles else np.zeros(0)
    return (
        float(np.sqrt(np.mean(np.concatenate(energy) ** 2))),
        math.sqrt(forces / n_forces),
        float(np.sqrt(np.mean(dipole**2))) if len(dipole) else math.nan,
    )


def dipole_errors(model: SE3Set, batch: Batch) -> np.ndarray:
    """Errors of the dipoles (n, 3) of the frames that have one, e Angstrom."""
    graph = batch.graph
    with torch.no_grad():
        charge = model(batch.positions, graph, with_charges=True).charge
        assert charge is not None
        each = charge[:, None] * batch.positions
        found = scatter_sum(each, graph.molecule, len(batch.dipole)) - batch.dipole  # i -> m
    wrong: np.ndarray = found[batch.has_dipole > 0].cpu().numpy()
    return wrong
