"""The model of torch-sim: many molecules in one batch, each refragmented at every step."""

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

_missing: ImportError | None = None
try:
    with warnings.catch_warnings():
        # torch-sim uses what torch and vesin call deprecated; nobody here can do anything about it.
        warnings.simplefilter("ignore", DeprecationWarning)
        from torch_sim.models.interface import ModelInterface
except ImportError as error:
    ModelInterface, _missing = torch.nn.Module, error

#: What torch-sim calls the charge and the spin multiplicity of a system, and ASE's name for it.
DECLARED = {"charge": "charge", "total_charge": "charge", "spin": "spin", "total_spin": "spin"}


class SE3SetModel(ModelInterface):
    """Energies (eV) and forces (eV/Angstrom) of a trained model, for torch-sim.

    It works in float64 whatever the arithmetic of the network: total energies are thousands of eV,
    which float32 tells to 1e-3 eV only. It has no stress.

    Parameters
    ----------
    potential : e.g. ``Potential("acac", device="cuda")``.
    charge, spin_multiplicity : of systems whose state has no ``charge`` or ``spin``. Mind that
        torch-sim makes states of ASE's atoms without them unless told otherwise.
    skin : Angstrom, how generously neighbours are listed; changes speed, never the energy.

    Attributes
    ----------
    hypergraphs : what the network saw in the last call, one for each system.

    Raises
    ------
    ImportError : torch-sim is not installed.
    UnsupportedSystem, ValueError : when called, for what the model cannot know: periodic systems,
        foreign elements, another charge or spin; and for geometries that are none.
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
        """Of a state of S systems with N atoms in all: energy (S,) and forces (N, 3)."""
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

        Where an autobatcher puts other systems in their places, the differences between them are
        logged as well.
        """
        return self._replicas.events


def molecules(state: Any) -> list[Atoms]:
    """The systems of a state, with the charge and spin that it has."""
    ends = np.cumsum(state.n_atoms_per_system.cpu().numpy())[:-1]
    numbers = np.split(state.atomic_numbers.cpu().numpy(), ends)
    positions = np.split(state.positions.detach().double().cpu().numpy(), ends)
    pbc = np.broadcast_to(torch.as_tensor(state.pbc).cpu().numpy(), 3)
    found = [Atoms(z, positions=r, pbc=pbc) for z, r in zip(numbers, positions, strict=True)]
    for name, key in DECLARED.items():
        values = getattr(state, name, None)
        if values is not None:
            for atoms, value in zip(found, values.flatten().tolist(), strict=True):
                atoms.info[key] = value
    return found
