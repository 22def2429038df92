"""A model for torch-sim: many molecules in one batch, each refragmented at every step."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from se3set_ase.events.log import Event
from se3set_ase.hypergraph.weighted import WeightedHypergraph
from se3set_ase.integrations.replicas import Replicas
from se3set_ase.potential import Potential
from se3set_ase.system import UnsupportedSystem

_missing: ImportError | None = None
try:
    with warnings.catch_warnings():
        # torch-sim uses deprecated functions of torch and vesin, which cannot be avoided here.
        warnings.simplefilter("ignore", DeprecationWarning)
        from torch_sim.models.interface import ModelInterface
except ImportError as error:
    ModelInterface, _missing = torch.nn.Module, error

#: Names of charge and spin multiplicity in torch-sim, and in ASE.
DECLARED = {"charge": "charge", "total_charge": "charge", "spin": "spin", "total_spin": "spin"}


class SE3SetModel(ModelInterface):
    """Energies (eV) and forces (eV/Angstrom) of a trained model, for torch-sim.

    It uses float64 for any precision of the network, because float32 resolves total energies of
    thousands of eV only to 1e-3 eV. It has no stress.

    Parameters
    ----------
    potential : e.g. ``Potential("acac", device="cuda")``.
    charge, spin_multiplicity : for systems whose state has no ``charge`` or ``spin``. By default
        torch-sim does not copy them from ASE's atoms.
    skin : Angstrom, margin of the neighbour lists; affects speed, never the energy.

    Attributes
    ----------
    hypergraphs : hypergraphs of the last call, one for each system.

    Raises
    ------
    ImportError : torch-sim is not installed.
    UnsupportedSystem, ValueError : when called, for unsupported systems (periodic ones, other
        elements, charges or spins) and invalid geometries.
    """

    def __init__(
        self,
        potential: Potential,
        *,
        charge: int = 0,
        spin_multiplicity: int = 1,
        skin: float = 0.5,
    ):
        if _missing is not None:
            raise ImportError(
                "SE3SetModel needs torch-sim (Python 3.11 or newer): "
                'pip install "se3set-ase[torch-sim]"'
            ) from _missing
        super().__init__()
        self._device = potential.model.device
        self._dtype = torch.float64
        self._compute_forces, self._compute_stress = True, False
        self._memory_scales_with = "n_atoms"  # molecules have no cell, so no density
        self._replicas = Replicas(
            potential, charge=charge, spin_multiplicity=spin_multiplicity, skin=skin
        )
        self.hypergraphs: list[WeightedHypergraph] = []

    def forward(self, state: Any, **_: Any) -> dict[str, Tensor]:
        """Energy (S,) and forces (N, 3) of a state of S systems with N atoms in total."""
        predictions = self._replicas.predict(molecules(state))
        self.hypergraphs = [prediction.hypergraph for prediction in predictions]
        found = {
            "energy": np.array([prediction.energy for prediction in predictions]),
            "forces": np.concatenate([prediction.forces for prediction in predictions]),
        }
        return {
            name: torch.as_tensor(values, dtype=state.dtype, device=state.device)
            for name, values in found.items()
        }

    @property
    def events(self) -> list[list[Event]]:
        """The refragmentation log of each system of the batch; ``step`` counts the calls.

        If an autobatcher exchanges systems, differences between them are logged as well.
        """
        return self._replicas.events


def molecules(state: Any) -> list[Atoms]:
    """The systems of a state as atoms, with charge and spin."""
    ends = np.cumsum(state.n_atoms_per_system.cpu().numpy())[:-1]
    numbers = np.split(state.atomic_numbers.cpu().numpy(), ends)
    positions = np.split(state.positions.detach().double().cpu().numpy(), ends)
    pbc = np.broadcast_to(torch.as_tensor(state.pbc).cpu().numpy(), 3)
    if pbc.any():
        raise UnsupportedSystem(
            f"expected an isolated molecule, got periodic boundaries {pbc.tolist()}: SE3SetModel "
            "has no cells and no stress, as SE3SetCalculator has; set pbc = False"
        )
    found = [Atoms(z, positions=r) for z, r in zip(numbers, positions, strict=True)]
    for name, key in DECLARED.items():
        values = getattr(state, name, None)
        if values is not None:
            for atoms, value in zip(found, values.flatten().tolist(), strict=True):
                atoms.info[key] = value
    return found
