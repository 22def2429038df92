"""Training one network on labels of two levels of theory."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from made_up_data import WATER, frames, write_run

from research.benchmarks import two_levels
from se3set_ase.checkpoint import load_checkpoint
from se3set_ase.potential import Potential
from se3set_ase.train.build import build_model
from se3set_ase.train.config import RunConfig, load_config
from se3set_ase.train.normalisation import Normalisation

#: Energies of isolated atoms at either level, eV.
OWN, OTHER = {"H": -1.0, "O": -2.0}, {"H": -5.0, "O": -9.0}
LEVELS_APART = 15.0  # eV, of one water molecule
CLOSE = 0.5  # eV, after a few epochs


def level(folder: Path, atomic: dict[str, float], n: int, seed: int) -> RunConfig:
    """A run on water at a level that differs by the energies of atoms."""
    labelled = []
    for atoms in frames(n, [WATER], seed=seed):
        energy = atoms.get_potential_energy() + sum(atomic[s] for s in atoms.symbols)
        labelled.append(with_labels(atoms, energy, atoms.get_forces()))
    isolated = [with_labels(Atoms(s), e, np.zeros((1, 3))) for s, e in atomic.items()]
    path = write_run(folder, labelled, data={"isolated_atoms": "atoms.xyz"}, training={"epochs": 6})
    write(folder / "atoms.xyz", isolated, format="extxyz")
    return load_config(path)


def with_labels(atoms: Atoms, energy: float, forces: np.ndarray) -> Atoms:
    copy = Atoms(atoms.numbers, atoms.positions)
    copy.calc = SinglePointCalculator(copy, energy=energy, forces=forces)
    return copy


def test_the_result_is_a_model_of_the_first_level(tmp_path: Path) -> None:
    own = level(tmp_path / "own", OWN, 12, seed=0)
    other = level(tmp_path / "other", OTHER, 24, seed=1)
    folder = two_levels.train_both(own, other.data, share=1.0)
    model, _ = load_checkpoint(folder)
    assert list(model.elements) == [1, 8]
    assert list(model.atomic_energies) == [-1.0, -2.0]
    tests = frames(4, [WATER], seed=2)
    found = np.array([p.energy for p in Potential(folder).predict(tests)])
    expected = np.array([a.get_potential_energy() + 2 * OWN["H"] + OWN["O"] for a in tests])
    assert np.abs(found - expected).max() < CLOSE
    assert sum(OWN[s] - OTHER[s] for s in WATER.symbols) == LEVELS_APART > CLOSE  # the control


def test_atoms_of_both_levels_repel_each_other_alike(tmp_path: Path) -> None:
    config = level(tmp_path, OWN, 12, seed=0)
    elements = (1, 8, 1 + two_levels.OTHER, 8 + two_levels.OTHER)
    normalisation = Normalisation(
        elements=elements, atomic_energies=(0.0,) * 4, shifts=(0.0,) * 4, scale=1.0
    )
    hypergraph = two_levels.HypergraphConfig()
    distance = torch.tensor([0.9], dtype=torch.float64)

    def repulsion(model: torch.nn.Module, first: int, second: int) -> float:
        return float(model.repulsion(distance, torch.tensor([first]), torch.tensor([second])))

    both = two_levels.build_both(config, hypergraph, normalisation, None).double()
    assert repulsion(both, 2, 3) == pytest.approx(repulsion(both, 0, 1), rel=1e-12)
    assert repulsion(both, 0, 1) > 0.0
    without = build_model(config, hypergraph, normalisation, None).double()
    assert repulsion(without, 2, 3) != pytest.approx(repulsion(without, 0, 1), rel=0.1)
