"""Periodic systems of all kinds, and their energies by a model: for tests of cells."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, graphene, molecule
from ase.stress import full_3x3_to_voigt_6_stress
from scans import Path, Surface

from se3set_ase.hypergraph.build import build_hypergraph
from se3set_ase.hypergraph.lattice import Lattice
from se3set_ase.hypergraph.mixing import FragmentMixer
from se3set_ase.hypergraph.structure import Hypergraph
from se3set_ase.io.smiles import atoms_from_smiles
from se3set_ase.nn.cells import Cells, outputs_in_cells
from se3set_ase.nn.graph import collate
from se3set_ase.nn.model import SE3Set

TRICLINIC = np.array([[6.5, 0.3, 0.2], [1.4, 6.9, -0.5], [-0.9, 1.1, 7.2]])


def hypergraph_of(model: SE3Set, atoms: Atoms, mixer: FragmentMixer | None = None) -> Hypergraph:
    return build_hypergraph(
        atoms.numbers,
        atoms.positions,
        model.hypergraph,
        mixer=mixer,
        lattice=Lattice.of(atoms.cell.array, atoms.pbc),
    )


def evaluated(
    model: SE3Set, atoms: Atoms, hypergraph: Hypergraph | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Energies of the atoms, forces, and dE/dstrain (6,) of a system with or without a cell."""
    listed = hypergraph or hypergraph_of(model, atoms)
    graph = collate([listed], model.species_of, model.hypergraph, dtype=model.dtype)
    cell = atoms.cell.array if atoms.pbc.any() else None
    pairs = model.long_range is not None
    found, virial = outputs_in_cells(
        model,
        torch.tensor(atoms.positions),
        graph,
        Cells.of([listed], [atoms.positions], [cell], pairs=pairs),
    )
    strain = full_3x3_to_voigt_6_stress(virial[0].numpy())
    return found.energies.numpy(), found.forces.numpy(), strain


class CellSurface(Surface):
    """A surface of a periodic system, whose path is that of the positions in a fixed cell.

    ``edges=False`` : changes of bonds and fragments are events, those of edges and reach are not.
    """

    def __init__(self, model: SE3Set, atoms: Atoms, path: Path, *, edges: bool = True):
        super().__init__(model, atoms.numbers, path)
        self.atoms, self.edges = atoms, edges

    def at(self, t: float) -> Atoms:
        atoms = self.atoms.copy()
        atoms.positions = self.path(t)
        return atoms

    def hypergraph(self, t: float) -> Hypergraph:
        return hypergraph_of(self.model, self.at(t), self.mixer)

    def state(self, t: float) -> tuple[bytes, ...]:
        g = self.hypergraph(t)
        images = repr([(f.atoms, f.images, f.wraps) for f in g.fragments]).encode()
        assert g.bond_shift is not None
        assert g.edge_shift is not None
        if not self.edges:
            return images, g.sure_bonds.tobytes(), g.bond_atoms.tobytes()
        return (images, g.bond_shift.tobytes(), g.edge_shift.tobytes(), *super().state(t))

    def __call__(self, t: float) -> tuple[float, np.ndarray]:
        energies, forces, _ = evaluated(self.model, self.at(t), self.hypergraph(t))
        return float(energies.sum()), forces


def liquid() -> Atoms:
    """Water, methanol and formaldehyde in a triclinic cell; the boundary cuts molecules."""
    atoms = molecule("CH3OH")
    water, formaldehyde = molecule("H2O"), molecule("H2CO")
    water.positions += [0.4, 3.1, 0.9]
    formaldehyde.rotate(70, "x")
    formaldehyde.positions += [2.9, 0.6, 3.2]
    atoms += water + formaldehyde
    atoms.set_cell(TRICLINIC)
    atoms.pbc = True
    atoms.positions += [5.9, 6.4, -0.3]
    atoms.wrap()
    return atoms


def polyethylene() -> Atoms:
    """One chain along x, all trans; neither of the other directions is periodic."""
    positions = []
    for x, side in ((0.0, 1.0), (1.27, -1.0)):
        positions += [[x, 0.43 * side, 0.0], *([x, 1.06 * side, z] for z in (0.88, -0.88))]
    return _disturbed(Atoms("CH2CH2", positions, cell=[2.54, 0, 0], pbc=[True, False, False]))


def polyacetylene(n: int = 1) -> Atoms:
    """A conjugated chain along the second vector, one fragment without an end."""
    unit = Atoms(
        "CHCH",
        [[0.33, 0.0, 0.0], [1.42, 0.0, 0.0], [-0.33, 1.23, 0.0], [-1.42, 1.23, 0.0]],
        cell=[[8.0, 0.0, 0.0], [0.0, 2.46, 0.0], [0.0, 0.0, 0.0]],
        pbc=[False, True, False],
    )
    return _disturbed(unit * (1, n, 1))


def sheet() -> Atoms:
    atoms = graphene(vacuum=None)
    atoms.set_cell([*atoms.cell.array[:2], [0.3, 0.2, 9.0]])
    atoms.pbc = [True, True, False]
    return _disturbed(atoms)


def diamond() -> Atoms:
    return _disturbed(bulk("C"))


def oblique_chains() -> Atoms:
    """Hexatriene, longer than the first cell vector, so that images lie next to each other."""
    atoms = atoms_from_smiles("C=C/C=C/C=C", seed=3)
    atoms.positions -= atoms.positions.mean(axis=0)
    _, _, axes = np.linalg.svd(atoms.positions)
    atoms.positions = atoms.positions @ axes.T  # the longest axis along x
    atoms.set_cell([[2.6, 5.2, 0.4], [0.2, -0.3, 4.4], [11.5, 0.5, 0.9]])
    atoms.pbc = True
    return atoms


def small_cell() -> Atoms:
    atoms = molecule("H2O")
    atoms.set_cell([3.0, 3.0, 3.0])
    atoms.pbc = True
    return atoms


def _disturbed(atoms: Atoms) -> Atoms:
    """Without symmetry, so that no derivative vanishes."""
    atoms.positions += np.random.default_rng(3).normal(scale=0.03, size=atoms.positions.shape)
    return atoms


SYSTEMS: dict[str, Callable[[], Atoms]] = {
    "liquid": liquid,
    "polyethylene": polyethylene,
    "polyacetylene": polyacetylene,
    "graphene": sheet,
    "diamond": diamond,
    "oblique chains": oblique_chains,
    "small cell": small_cell,
}
