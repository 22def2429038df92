"""Molecules of any size for the benchmarks: helices, water clusters, graphene flakes."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import bulk, graphene, molecule
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers, rdMolTransforms
from scipy.spatial.transform import Rotation

from research.geometries.clusters import assembled
from research.organic.geometry import as_atoms, embedded_once

#: Angstrom^3 of a molecule in liquid water at 298 K.
WATER_VOLUME = 29.97


def peptide_helix(n_residues: int) -> Atoms:
    """Ac-Ala_n-NHMe, 10 n + 12 atoms: RDKit's Ac-Ala4-NHMe, folded and extended.

    With phi = -57 and psi = -47 degrees, the step from the second residue to the third, a rotation
    and a shift, is repeated.
    """
    n_given = 4
    peptide = Chem.AddHs(Chem.MolFromSmiles("CC(=O)" + n_given * "N[C@@H](C)C(=O)" + "NC"))
    rdDistGeom.EmbedMolecule(peptide, randomSeed=1)
    rdForceFieldHelpers.MMFFOptimizeMolecule(peptide)
    given = peptide.GetConformer()
    # Heavy atoms: C C O of the acetyl, N CA CB C O of each residue, N C; then their hydrogens.
    for k in range(n_given):
        n, ca, c = 3 + 5 * k, 4 + 5 * k, 6 + 5 * k
        before = 1 if k == 0 else c - 5
        rdMolTransforms.SetDihedralDeg(given, before, n, ca, c, -57.0)
        rdMolTransforms.SetDihedralDeg(given, n, ca, c, c + 2, -47.0)
        rdMolTransforms.SetDihedralDeg(given, ca, c, c + 2, c + 3, 180.0)
    numbers = [atom.GetAtomicNum() for atom in peptide.GetAtoms()]
    short = Atoms(numbers, given.GetPositions())

    def with_hydrogens(heavy: list[int]) -> list[int]:
        ends = (bond.GetBeginAtomIdx() for bond in peptide.GetBonds())
        bonds = zip(ends, (bond.GetEndAtomIdx() for bond in peptide.GetBonds()), strict=True)
        return heavy + [j for i, j in bonds if i in heavy and numbers[j] == 1]

    residues = [with_hydrogens(list(range(3 + 5 * k, 8 + 5 * k))) for k in range(n_given)]
    from_, to = (short.positions[residue[:5]] for residue in residues[1:3])
    turn, _ = Rotation.align_vectors(to - to.mean(axis=0), from_ - from_.mean(axis=0))
    shift = to.mean(axis=0) - turn.apply(from_.mean(axis=0))

    def repeated(atoms: list[int], times: int) -> Atoms:
        part = short[atoms]
        for _ in range(times):
            part.positions = turn.apply(part.positions) + shift
        return part

    helix = short[with_hydrogens([0, 1, 2])] + short[residues[0]]
    for k in range(n_residues - 2):
        helix += repeated(residues[1], k)
    end = repeated(residues[3] + with_hydrogens([3 + 5 * n_given, 4 + 5 * n_given]), 0)
    for _ in range(n_residues - n_given):
        end.positions = turn.apply(end.positions) + shift
    return helix + end


def water_box(repeats: int = 2) -> Atoms:
    """4 repeats^3 molecules of water in a cube at the density of the liquid, turned at random."""
    rng = np.random.default_rng(1)
    length = (4 * WATER_VOLUME) ** (1 / 3)
    sites = bulk("O", "fcc", a=length, cubic=True) * (repeats, repeats, repeats)
    box = Atoms(cell=sites.cell, pbc=True)
    for site in sites.positions:
        water = molecule("H2O")
        water.positions = Rotation.random(rng=rng).apply(water.positions) + site
        box += water
    return box


def zwitterion_in_water() -> Atoms:
    """The zwitterion of glycine and four molecules of water, placed by GFN2-xTB."""
    parts = [embedded_once("[NH3+]CC(=O)[O-]"), *4 * [embedded_once("O")]]
    return assembled([as_atoms(part, 0) for part in parts], [0] * 5, np.random.default_rng(1))


def water_cluster(n_molecules: int) -> Atoms:
    """Water on a cubic lattice at the density of the liquid, in random orientations."""
    rng = np.random.default_rng(n_molecules)
    edge = int(np.ceil(n_molecules ** (1 / 3)))
    cluster = Atoms()
    for k in range(n_molecules):
        water = molecule("H2O")
        water.positions = Rotation.random(rng=rng).apply(water.positions)
        water.positions += 3.1 * np.array([k % edge, k // edge % edge, k // edge**2])
        cluster += water
    return cluster


def graphene_flake(n_cells: int) -> Atoms:
    """Graphene flake of 2 n^2 carbon atoms, one fragment."""
    flake = graphene(size=(n_cells, n_cells, 1), vacuum=5.0)
    return Atoms("C" * len(flake), flake.positions)
