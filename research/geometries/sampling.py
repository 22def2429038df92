"""Samples geometries of a molecule or ion: relaxed, along modes, hot, torsions, stretched."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers, rdMolTransforms

from research.geometries import xtb
from research.geometries.bonding import (
    LONGEST_BOND,
    LONGEST_STRETCHED,
    canonical,
    clash,
    identify,
)
from research.splits import PARTS, part_of

#: Largest force by GFN2-xTB, eV/Angstrom.
LARGEST_FORCE = 25.0
#: Smallest HOMO-LUMO gap by GFN2-xTB, eV. With a smaller gap the molecule is not closed-shell.
SMALLEST_GAP = 0.2
#: Ranges of temperatures of displacements along modes and of hot runs, K.
MODES_K = (150.0, 1500.0)
HOT_K = (500.0, 1800.0)
#: Ranges of the scale of a bond length, and of a whole molecule, relative to the minimum.
BOND_SCALES = (0.82, 1.6)
WHOLE_SCALES = (0.93, 1.12)
#: Standard deviation of the displacements of distorted geometries, Angstrom.
NOISE = 0.03
#: Four atoms around a single bond that is not in a ring and not part of a linear group.
TORSION = Chem.MolFromSmarts(
    "*~[!#1;!D1;!$([D2]#*);!$([D2](=*)=*)]-!@[!#1;!D1;!$([D2]#*);!$([D2](=*)=*)]~*"
)
BOND = Chem.MolFromSmarts("*~!@*")


def generator(*names: object) -> np.random.Generator:
    """Random number generator that depends on the names only."""
    digest = hashlib.sha256(" ".join(map(str, names)).encode()).hexdigest()
    return np.random.default_rng(int(digest[:16], 16))


def embedded(smiles: str, rng: np.random.Generator) -> Chem.Mol | None:
    """Generate a conformer with explicit hydrogens, relaxed by MMFF94 or UFF if possible.

    Returns None if RDKit finds no geometry.
    """
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    seed = int(rng.integers(2**31))
    if rdDistGeom.EmbedMolecule(molecule, randomSeed=seed) != 0:
        found = rdDistGeom.EmbedMolecule(
            molecule, randomSeed=seed, useRandomCoords=True, useBasicKnowledge=False
        )
        if found != 0:
            return star(molecule)
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(molecule):
        rdForceFieldHelpers.MMFFOptimizeMolecule(molecule, maxIters=500)
    elif rdForceFieldHelpers.UFFHasAllMoleculeParams(molecule):
        rdForceFieldHelpers.UFFOptimizeMolecule(molecule, maxIters=500)
    return molecule


def star(molecule: Chem.Mol) -> Chem.Mol | None:
    """Octahedral geometry of five or six atoms around one, which RDKit cannot embed.

    Returns None for all other molecules.
    """
    centres = [atom for atom in molecule.GetAtoms() if atom.GetDegree() == molecule.GetNumBonds()]
    if len(centres) != 1 or centres[0].GetDegree() not in (5, 6):
        return None
    conformer = Chem.Conformer(molecule.GetNumAtoms())
    conformer.SetAtomPosition(centres[0].GetIdx(), [0.0, 0.0, 0.0])
    corners = np.concatenate([np.eye(3), -np.eye(3)])
    for atom, corner in zip(centres[0].GetNeighbors(), corners, strict=False):
        pair = covalent_radii[[atom.GetAtomicNum(), centres[0].GetAtomicNum()]]
        conformer.SetAtomPosition(atom.GetIdx(), (pair.sum() * corner).tolist())
    molecule.AddConformer(conformer)
    return molecule


def as_atoms(molecule: Chem.Mol) -> Atoms:
    """Convert the conformer of a molecule."""
    numbers = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    return Atoms(numbers, molecule.GetConformer().GetPositions())


def has_closed_shell(molecule: Chem.Mol) -> bool:
    """Whether the number of electrons is even."""
    electrons = sum(atom.GetAtomicNum() for atom in Chem.AddHs(molecule).GetAtoms())
    return (electrons - Chem.GetFormalCharge(molecule)) % 2 == 0


def minimum(molecule: Chem.Mol, rng: np.random.Generator) -> Atoms | None:
    """Relax to the closest minimum of GFN2-xTB, after random displacements that break symmetry."""
    start = as_atoms(molecule)
    start.positions += 0.02 * rng.standard_normal(start.positions.shape)
    if clash(start.numbers, start.positions):
        return None
    return xtb.relaxed(start, Chem.GetFormalCharge(molecule))


def parts_at_minimum(smiles: str, rng: np.random.Generator) -> list[tuple[Chem.Mol, Atoms]]:
    """The molecules of a cluster, each alone and relaxed; none if one of them has no minimum."""
    found = []
    for part in smiles.split("."):
        molecule = embedded(part, rng)
        best = None if molecule is None else minimum(molecule, rng)
        if molecule is None or best is None:
            return []
        found.append((molecule, best))
    return found


def from_minima(
    label: dict[str, object],
    rng: np.random.Generator,
    drawn: Callable[[Chem.Mol, list[Atoms]], Iterator[tuple[str, Atoms]]],
) -> list[Atoms]:
    """Geometries that are made from the minima of the molecules of a cluster; none without them.

    Parameters
    ----------
    label : ``info`` of the frames; its ``start`` is the SMILES.
    drawn : yields how each geometry was made, and the geometry, from the cluster as one molecule
        and the minimum of each molecule.
    """
    parts = parts_at_minimum(str(label["start"]), rng)
    if not parts:
        return []
    together = combined([molecule for molecule, _ in parts])
    return list(accepted(together, drawn(together, [atoms for _, atoms in parts]), label))


def combined(molecules: list[Chem.Mol]) -> Chem.Mol:
    """Several molecules as one, atoms in this order."""
    together = molecules[0]
    for other in molecules[1:]:
        together = Chem.CombineMols(together, other)
    Chem.SanitizeMol(together)
    return together


def frames_of(smiles: str, kind: str, family: str, seed: int, number: int) -> list[Atoms]:
    """Geometries of one molecule.

    Parameters
    ----------
    smiles, kind, family : entries of ``info`` of the frames.
    seed, number : seed and number of the draw. The first draw (0) has few geometries, later ones
        have more, each from its own conformer. The same values give the same geometries.
    """
    rng = generator(smiles, seed, number)
    molecule = embedded(smiles, rng)
    if molecule is None:
        return []
    best = minimum(molecule, rng)
    if best is None or identify(molecule, best.positions) is None:
        return []
    drawn = _few(molecule, best, rng) if number == 0 else _more(molecule, best, rng)
    label = {"family": family, "kind": kind, "start": canonical(smiles), "draw": number}
    return list(accepted(molecule, drawn, label))


def _few(molecule: Chem.Mol, best: Atoms, rng: np.random.Generator) -> Iterator[tuple[str, Atoms]]:
    charge = Chem.GetFormalCharge(molecule)
    yield "relaxed", best
    for atoms in xtb.along_modes(best, charge, MODES_K, 2, rng):
        yield "modes", atoms
    yield from distorted(molecule, best, rng, 1)


def _more(molecule: Chem.Mol, best: Atoms, rng: np.random.Generator) -> Iterator[tuple[str, Atoms]]:
    charge = Chem.GetFormalCharge(molecule)
    for atoms in xtb.along_modes(best, charge, MODES_K, 3, rng):
        yield "modes", atoms
    stops = sorted(int(stop) for stop in rng.choice(np.arange(30, 130), 3, replace=False))
    for atoms in xtb.hot(best, charge, rng.uniform(*HOT_K), stops, rng):
        yield "hot", atoms
    yield from distorted(molecule, best, rng, 3)


def distorted(
    molecule: Chem.Mol, best: Atoms, rng: np.random.Generator, number: int
) -> Iterator[tuple[str, Atoms]]:
    """Yield random torsions, stretched bonds, and scaled molecules."""
    for _ in range(number):
        if rng.random() < 0.5 and molecule.HasSubstructMatch(TORSION):
            atoms = turned(molecule, best, rng)
            if atoms is not None:
                yield "torsion", atoms
        elif rng.random() < 0.7 and molecule.HasSubstructMatch(BOND):
            yield "stretched", stretched(molecule, best, rng)
        else:
            moved = Atoms(best.numbers, rng.uniform(*WHOLE_SCALES) * best.positions)
            moved.positions += NOISE * rng.standard_normal(moved.positions.shape)
            yield "stretched", moved


def turned(molecule: Chem.Mol, best: Atoms, rng: np.random.Generator) -> Atoms | None:
    """Set random torsions and relax for a few steps, often to the region of a barrier."""
    copy = _at(molecule, best)
    for i, j, k, l in molecule.GetSubstructMatches(TORSION):  # noqa: E741
        rdMolTransforms.SetDihedralDeg(copy.GetConformer(), i, j, k, l, rng.uniform(0, 360))
    atoms = as_atoms(copy)
    if clash(atoms.numbers, atoms.positions):
        return None
    return xtb.relaxed(atoms, Chem.GetFormalCharge(molecule), steps=int(rng.integers(3, 12)))


def stretched(molecule: Chem.Mol, best: Atoms, rng: np.random.Generator) -> Atoms:
    """Stretch or compress a bond that is not in a ring, and add random displacements."""
    copy = _at(molecule, best)
    bonds = molecule.GetSubstructMatches(BOND)
    one, other = (int(i) for i in bonds[rng.integers(len(bonds))])
    length = best.get_distance(one, other) * rng.uniform(*BOND_SCALES)
    rdMolTransforms.SetBondLength(copy.GetConformer(), one, other, length)
    atoms = as_atoms(copy)
    atoms.positions += NOISE * rng.standard_normal(atoms.positions.shape)
    return atoms


def _at(molecule: Chem.Mol, atoms: Atoms) -> Chem.Mol:
    """Copy of a molecule at other positions."""
    copy = Chem.Mol(molecule)
    copy.GetConformer().SetPositions(np.array(atoms.positions))
    return copy


def accepted(
    molecule: Chem.Mol, drawn: Iterator[tuple[str, Atoms]], label: dict[str, object]
) -> Iterator[Atoms]:
    """Yield frames without overlaps, broken bonds, large forces or open shells, with ``info``.

    If protons have moved, ``smiles`` is that of the geometry, ``kind`` is "proton transferred", and
    the part is the stricter one of both SMILES.
    """
    charge = Chem.GetFormalCharge(molecule)
    for sampling, atoms in drawn:
        if not np.isfinite(atoms.positions).all() or clash(atoms.numbers, atoms.positions):
            continue
        near = sampling in ("relaxed", "modes")
        smiles = identify(molecule, atoms.positions, LONGEST_BOND if near else LONGEST_STRETCHED)
        if smiles is None:
            continue
        force, gap = xtb.force_and_gap(atoms, charge)
        if force > LARGEST_FORCE or gap < SMALLEST_GAP:
            continue
        start = str(label["start"])
        atoms.info = {**label, "smiles": smiles, "sampling": sampling, "charge": charge}
        if smiles != start:
            atoms.info["kind"] = "proton transferred"
        atoms.info["part"] = min((part_of(name) for name in (smiles, start)), key=PARTS.index)
        yield atoms
