"""Atoms with lone pairs whose bonds are flattened, up to their inversion.

python -m research.geometries.bends --seed 0 --output runs/geometries/bends.xyz

Barriers of inversion of amines, imines, ethers and the like are far from any thermal geometry.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms
from rdkit import Chem

from research.geometries import names, xtb
from research.geometries.sampling import from_minima, generator
from research.geometries.store import Entry, command

#: An atom with two or three bonds and a lone pair, not in a ring.
CENTRE = Chem.MolFromSmarts("[#7,#8,#15,#16;X2,X3;!R;+0]")
#: Most heavy atoms of a molecule.
LARGEST = 3
#: Part of the way to a flat or linear centre; 1.2 is beyond it.
WAY = (0.3, 1.2)
#: Steps of a relaxation, from none, and the displacements afterwards, Angstrom.
STEPS, NOISE = 4, 0.02


def entries(seed: int) -> list[Entry]:
    """Molecules of the lists with such an atom; the seed changes geometries only."""
    del seed
    found: dict[str, None] = {}
    for name in ("monomers", "limits", "everyday"):
        for entry in names.read(name):
            molecule = Chem.AddHs(Chem.MolFromSmiles(entry.smiles))
            if molecule.GetNumHeavyAtoms() <= LARGEST and molecule.HasSubstructMatch(CENTRE):
                found[entry.smiles] = None
    return [Entry(smiles=smiles, kind="flattened") for smiles in found]


def sample(entry: Entry, seed: int, draw: int) -> list[Atoms]:
    """Two geometries of one molecule."""
    rng = generator("bends", entry.smiles, seed, draw)
    label = {"family": "limits", "kind": entry.kind, "start": entry.smiles, "draw": draw}
    return from_minima(label, rng, lambda molecule, parts: drawn(molecule, parts[0], rng))


def drawn(molecule: Chem.Mol, best: Atoms, rng: np.random.Generator) -> Iterator[tuple[str, Atoms]]:
    """Yield how each geometry was made, and the geometry."""
    centres = [int(match[0]) for match in molecule.GetSubstructMatches(CENTRE)]
    for _ in range(2):
        atoms = flattened(molecule, best, int(rng.choice(centres)), rng.uniform(*WAY))
        relaxed = xtb.relaxed(atoms, 0, steps=int(rng.integers(STEPS)))
        if relaxed is None:
            continue
        relaxed.positions += NOISE * rng.standard_normal(relaxed.positions.shape)
        yield "stretched", relaxed


def flattened(molecule: Chem.Mol, atoms: Atoms, centre: int, way: float) -> Atoms:
    """Move an atom towards the line or plane of its neighbours, with bonds of the same length.

    Parameters
    ----------
    centre : index of the atom.
    way : how far; 1 is linear or flat.
    """
    neighbours = [a.GetIdx() for a in molecule.GetAtomWithIdx(centre).GetNeighbors()]
    around = atoms.positions[neighbours]
    start = atoms.positions[centre]
    normal = _normal(around - start)
    end = start + way * ((around[0] - start) @ normal) * normal
    found = Atoms(atoms.numbers, atoms.positions)
    found.positions[centre] = end
    for k in neighbours:
        group = beyond(molecule, centre, k)
        bond = atoms.positions[k] - end
        length = np.linalg.norm(atoms.positions[k] - start)
        found.positions[group] += (length / np.linalg.norm(bond) - 1.0) * bond
    return found


def _normal(bonds: np.ndarray) -> np.ndarray:
    """(3,) unit vector from the atom across the line or plane of its two or three neighbours."""
    if len(bonds) == 3:
        across = np.cross(bonds[1] - bonds[0], bonds[2] - bonds[0])
    else:
        along = bonds[1] - bonds[0]
        across = bonds[0] - (bonds[0] @ along) / (along @ along) * along
    return across / np.linalg.norm(across)


def beyond(molecule: Chem.Mol, centre: int, neighbour: int) -> list[int]:
    """Indices of the atoms on the neighbour's side of its bond to an atom that is in no ring."""
    found, waiting = {neighbour}, [neighbour]
    while waiting:
        for atom in molecule.GetAtomWithIdx(waiting.pop()).GetNeighbors():
            k = atom.GetIdx()
            if k != centre and k not in found:
                found.add(k)
                waiting.append(k)
    return sorted(found)


if __name__ == "__main__":
    command(entries, sample)
