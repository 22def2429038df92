"""Conformers of flexible molecules, and small displacements from them.

python -m research.geometries.conformers --seed 0 --output runs/geometries/conformers.xyz

The other families have few and hot geometries of each molecule. Here several minima of one molecule
are together, so that their labels give the differences between conformers.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms
from rdkit import Chem

from research.geometries import names, xtb
from research.geometries.sampling import accepted, embedded, generator, minimum
from research.geometries.store import Entry, command

#: Embedded conformers of a molecule, and how many different minima are kept.
TRIED, KEPT = 8, 3
#: Minima whose energies differ by less are the same, eV.
SAME = 2e-3
#: Range of temperatures of the displacements along modes, K.
KELVIN = (100.0, 500.0)


def entries(seed: int) -> list[Entry]:
    """All molecules of the list, and the conformers among the limits; the seed does not matter."""
    del seed
    more = [entry for entry in names.read("limits") if entry.kind == "conformers"]
    known = {entry.smiles for entry in names.read("conformers")}
    return names.read("conformers") + [
        Entry(smiles=entry.smiles, kind="other") for entry in more if entry.smiles not in known
    ]


def sample(entry: Entry, seed: int, draw: int) -> list[Atoms]:
    """Minima of one molecule, and one displacement from each."""
    rng = generator("conformers", entry.smiles, seed, draw)
    molecule = embedded(entry.smiles, rng)
    if molecule is None:
        return []
    label = {"family": "conformers", "kind": entry.kind, "start": entry.smiles, "draw": draw}
    return list(accepted(molecule, displaced(minima(entry.smiles, rng), molecule, rng), label))


def minima(smiles: str, rng: np.random.Generator) -> list[Atoms]:
    """Different minima of GFN2-xTB, in the order in which they were found."""
    found: dict[float, Atoms] = {}
    for _ in range(TRIED):
        molecule = embedded(smiles, rng)
        best = None if molecule is None else minimum(molecule, rng)
        if molecule is None or best is None:
            continue
        energy = xtb.energy(best, Chem.GetFormalCharge(molecule))
        if all(abs(energy - other) > SAME for other in found):
            found[energy] = best
        if len(found) == KEPT:
            break
    return list(found.values())


def displaced(
    found: list[Atoms], molecule: Chem.Mol, rng: np.random.Generator
) -> Iterator[tuple[str, Atoms]]:
    """Each minimum, and a displacement along its normal modes."""
    for best in found:
        yield "relaxed", best
        for atoms in xtb.along_modes(best, Chem.GetFormalCharge(molecule), KELVIN, 1, rng):
            yield "modes", atoms


if __name__ == "__main__":
    command(entries, sample)
