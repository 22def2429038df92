"""Tautomers of heterocycles, amides and carbonyl compounds, near their minima.

python -m research.geometries.tautomers --seed 0 --output runs/geometries/tautomers.xyz

Energies of tautomers differ by a few kcal/mol although several bonds have changed, so each of
them needs labels of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms
from rdkit import Chem
from rdkit.Chem.MolStandardize import rdMolStandardize

from research.geometries import names, xtb
from research.geometries.bonding import canonical
from research.geometries.sampling import MODES_K, from_minima, generator
from research.geometries.store import Entry, command

#: Most tautomers of a molecule, of which the first ones by score are taken.
TAUTOMERS = 8
#: Displacements of a frame near the minimum, Angstrom.
NOISE = (0.005, 0.04)


def entries(seed: int) -> list[Entry]:
    """Tautomers of all molecules of the list; the seed changes geometries only."""
    del seed
    enumerator = rdMolStandardize.TautomerEnumerator()
    found: dict[str, None] = {}
    for entry in names.read("tautomers"):
        scores = {
            canonical(Chem.MolToSmiles(tautomer)): -enumerator.ScoreTautomer(tautomer)
            for tautomer in enumerator.Enumerate(Chem.MolFromSmiles(entry.smiles))
        }
        found |= dict.fromkeys(sorted(scores, key=lambda s: (scores[s], s))[:TAUTOMERS])
    return [Entry(smiles=smiles, kind="tautomer") for smiles in found]


def sample(entry: Entry, seed: int, draw: int) -> list[Atoms]:
    """Two geometries of one tautomer."""
    rng = generator("tautomers", entry.smiles, seed, draw)
    label = {"family": "molecules", "kind": entry.kind, "start": entry.smiles, "draw": draw}
    return from_minima(label, rng, lambda _, parts: drawn(parts[0], rng))


def drawn(best: Atoms, rng: np.random.Generator) -> Iterator[tuple[str, Atoms]]:
    """Yield how each geometry was made, and the geometry."""
    noise = rng.uniform(*NOISE) * rng.standard_normal(best.positions.shape)
    yield "relaxed", Atoms(best.numbers, best.positions + noise)
    for atoms in xtb.along_modes(best, 0, MODES_K, 1, rng):
        yield "modes", atoms


if __name__ == "__main__":
    command(entries, sample)
