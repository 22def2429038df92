"""Search for saddle points by eigenvector following (Wales, J. Chem. Phys. 101, 3750 (1994)).

Hessians come from finite differences and are updated between.
"""

from __future__ import annotations

import numpy as np

from research.geometries.reaction_surface import Surface

#: Smallest curvature used to compute a step, eV/A^2.
SOFT = 1.0
#: Number of steps after which the Hessian is computed again.
RENEWAL = 8
#: The search stops if forces are larger than this after half of the steps, eV/A.
HOPELESS = 2.0


def find_saddle(
    surface: Surface,
    positions: np.ndarray,
    direction: np.ndarray,
    *,
    highest: float = np.inf,
    least: float = 0.3,
    steps: int = 30,
    fmax: float = 0.08,
) -> tuple[np.ndarray, np.ndarray] | None:
    """Climb along a direction to a saddle point of first order.

    Parameters
    ----------
    direction : (3N,) unit vector.
    highest : the search stops at energies above this, eV.
    least : smallest absolute value of the negative curvature, eV/A^2.
    fmax : largest force on an atom of a saddle point, eV/A.

    Returns
    -------
    positions, mode : (N, 3) A, and the unit vector (3N,) of negative curvature. None if no such
        point is found.
    """
    positions, longest, hessian, age = positions.copy(), 0.12, None, 0
    energy, gradient = surface(positions)
    mode = direction
    for count in range(steps):
        forces = np.linalg.norm(gradient, axis=1).max()
        if energy > highest or (count > steps // 2 and forces > HOPELESS):
            return None
        if hessian is None or age >= RENEWAL:
            hessian, age = surface.hessian(positions, gradient), 0
        basis = internal_basis(positions)
        values, vectors = np.linalg.eigh(basis.T @ hessian @ basis)
        vectors = basis @ vectors
        which = int(np.abs(vectors.T @ mode).argmax())
        if values[0] < -0.5 and values[which] > 0:
            which = 0
        mode = vectors[:, which]
        if forces < fmax:
            others = np.delete(values, which)
            if values[which] < -least and others.min() > max(-0.2, values[which] / 2):
                return positions, mode
            if age == 0:
                return None
            hessian = None  # perhaps only the update is wrong
            continue
        step = _climbing_step(values, vectors, gradient.ravel(), which, longest)
        trial = positions + step.reshape(positions.shape)
        new_energy, new_gradient = surface(trial)
        predicted = step @ gradient.ravel() + step @ hessian @ step / 2
        wrong = abs(new_energy - energy - predicted) / max(abs(predicted), 0.005)
        longest *= 1.5 if wrong < 0.25 else 0.5 if wrong > 1 else 1
        longest = min(max(longest, 0.03), 0.2)
        hessian = bofill(hessian, step, (new_gradient - gradient).ravel())
        positions, energy, gradient, age = trial, new_energy, new_gradient, age + 1
    return None


def internal_basis(positions: np.ndarray) -> np.ndarray:
    """Orthonormal basis without translations and rotations, (3N, 3N - 6 or 3N - 5)."""
    centred = positions - positions.mean(axis=0)
    shifts = [np.tile(axis, len(positions)) for axis in np.eye(3)]
    turns = [np.cross(axis, centred).ravel() for axis in np.eye(3)]
    vectors, singular, _ = np.linalg.svd(np.array(shifts + turns).T, full_matrices=True)
    return vectors[:, int((singular > 1e-6).sum()) :]


def bofill(hessian: np.ndarray, step: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Update of a Hessian for saddle points (Bofill, J. Comput. Chem. 15, 1 (1994))."""
    error = change - hessian @ step
    length, along = step @ step, error @ step
    share = along**2 / max(length * (error @ error), 1e-12)
    powell = (np.outer(error, step) + np.outer(step, error)) / length
    powell -= along * np.outer(step, step) / length**2
    rank_one = np.outer(error, error) / along if abs(along) > 1e-8 else np.zeros_like(hessian)
    return hessian + share * rank_one + (1 - share) * powell


def _climbing_step(
    values: np.ndarray, vectors: np.ndarray, gradient: np.ndarray, which: int, longest: float
) -> np.ndarray:
    """Newton step uphill along one eigenvector and downhill along the others.

    Each component is limited separately, so that a long step along a soft mode does not shorten
    the step along the reaction coordinate.
    """
    components = -(vectors.T @ gradient) / np.maximum(np.abs(values), SOFT)
    components[which] *= -1
    step = vectors @ np.clip(components, -longest, longest)
    return step * min(1.0, 2 * longest / np.linalg.norm(step))
