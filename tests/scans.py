"""Scans through refragmentation events: where they are, and how smooth the energy is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from se3set_ase.hypergraph.build import build_hypergraph
from se3set_ase.hypergraph.mixing import FragmentMixer
from se3set_ase.hypergraph.structure import Hypergraph
from se3set_ase.nn.graph import collate
from se3set_ase.nn.model import SE3Set, energy_and_forces
from se3set_ase.potential import Potential

Path = Callable[[float], np.ndarray]


class Surface:
    """Energy and forces of a model along a path of geometries, each with a new hypergraph."""

    def __init__(self, model: SE3Set, numbers: np.ndarray, path: Path, charge: int = 0):
        self.model, self.numbers, self.path, self.charge = model, numbers, path, charge
        self.mixer = FragmentMixer()

    def hypergraph(self, t: float) -> Hypergraph:
        return build_hypergraph(self.numbers, self.path(t), self.model.hypergraph, mixer=self.mixer)

    def state(self, t: float) -> tuple[bytes, ...]:
        """All that is discrete: equal between two events."""
        g = self.hypergraph(t)
        parts = (g.sure_bonds, g.bond_atoms, g.hyper_atom, g.edge_hyper, g.edge_atom)
        fragments = repr([f.atoms for f in g.fragments]).encode()
        return (fragments, *(p.tobytes() for p in parts))

    def __call__(self, t: float) -> tuple[float, np.ndarray]:
        g = collate(
            [self.hypergraph(t)],
            self.model.species_of,
            self.model.hypergraph,
            dtype=self.model.dtype,
            charges=[self.charge],
            pairs=self.model.long_range is not None,
        )
        energy, forces, _ = energy_and_forces(self.model, torch.tensor(self.path(t)), g)
        return float(energy.detach()), forces.numpy()

    def events(self, start: float, end: float, n: int, most: int) -> list[float]:
        """Positions of up to ``most`` changes of state, spread over the path, bisected."""
        ts = np.linspace(start, end, n)
        states = [self.state(t) for t in ts]
        places = [k for k in range(n - 1) if states[k] != states[k + 1]]
        if len(places) > most:
            places = [places[k] for k in np.linspace(0, len(places) - 1, most).round().astype(int)]
        found = []
        for k in places:
            low, high, state = ts[k], ts[k + 1], states[k]
            while high - low > 1e-10:
                middle = 0.5 * (low + high)
                low, high = (middle, high) if self.state(middle) == state else (low, middle)
            found.append(high)
        return found


class CompiledSurface(Surface):
    """A surface by compiled code."""

    def __init__(self, potential: Potential, numbers: np.ndarray, path: Path):
        super().__init__(potential.model, numbers, path)
        self.potential = potential

    def __call__(self, t: float) -> tuple[float, np.ndarray]:
        (found,) = self.potential.evaluate([self.hypergraph(t)], [self.path(t)], [0])
        return found.energy, found.forces


@dataclass(frozen=True, kw_only=True)
class Roughness:
    """Worst third difference of E (eV) and second difference of F (eV/Angstrom) of a scan."""

    energy: float
    forces: float


def roughness(surface: Surface, centre: float, h: float, n: int = 6) -> Roughness:
    """Scan across ``centre`` in steps of ``h`` (Angstrom)."""
    points = [surface(centre + (k - 0.5) * h) for k in range(-n + 1, n + 1)]
    energies = np.array([e for e, _ in points])
    forces = np.array([f for _, f in points])
    return Roughness(
        energy=float(np.abs(np.diff(energies - energies.mean(), n=3)).max()),
        forces=float(np.abs(np.diff(forces, n=2, axis=0)).max()),
    )
