"""Molecules and dimers larger than those that are labelled: for GFN2-xTB labels in bulk.

    python -m research.geometries.large --seed 0 --frames 1200 --output runs/geometries/large.xyz

Molecules of the training of `organic` with 17 to 40 atoms, and dimers of smaller ones with 18 to
50. Networks that know small molecules only are wrong for the interior of large ones. Each has one
geometry, roughly relaxed, from which the bulk labels start.
"""

from __future__ import annotations

from ase import Atoms
from rdkit import Chem

from research.geometries import names, xtb
from research.geometries.bonding import canonical, identify
from research.geometries.clusters import assembled
from research.geometries.sampling import LARGEST_FORCE, generator, parts_at_minimum
from research.geometries.store import Entry, command
from research.paths import ORGANIC
from research.splits import part_of
from research.tables import read_rows

#: Numbers of atoms of a molecule, of a dimer, and of the molecules of a dimer.
MOLECULE, DIMER, HALF = (17, 40), (18, 50), 30
DIMERS = 800
#: Steps of the relaxation of a dimer.
STEPS = 25


def entries(seed: int) -> list[Entry]:
    """The molecules, and dimers that are drawn with the seed."""
    rng = generator("large", seed)
    rows = [row for row in read_rows(ORGANIC / "molecules.csv") if row["part"] == "train"]
    size = {canonical(row["smiles"]): int(row["atoms"]) for row in rows}
    found = {s: "molecule" for s, n in size.items() if MOLECULE[0] <= n <= MOLECULE[1]}
    pool = [s for s, n in size.items() if n <= HALF]
    small = {canonical(entry.smiles): n_atoms(entry.smiles) for entry in names.read("monomers")}
    size |= small
    pool += list(small)
    dimers: set[str] = set()
    while len(dimers) < DIMERS:
        one, other = (pool[int(k)] for k in rng.integers(len(pool), size=2))
        if DIMER[0] <= size[one] + size[other] <= DIMER[1]:
            dimers.add(canonical(f"{one}.{other}"))
    found |= dict.fromkeys(sorted(dimers), "dimer")
    return [Entry(smiles=smiles, kind=kind) for smiles, kind in found.items()]


def n_atoms(smiles: str) -> int:
    """Number of atoms, hydrogens included."""
    return int(Chem.AddHs(Chem.MolFromSmiles(smiles)).GetNumAtoms())


def sample(entry: Entry, seed: int, draw: int) -> list[Atoms]:
    """One geometry, or none."""
    rng = generator("large", entry.smiles, seed, draw)
    found = parts_at_minimum(entry.smiles, rng)
    if not found or any(identify(molecule, best.positions) is None for molecule, best in found):
        return []
    parts = [best for _, best in found]
    atoms: Atoms | None = parts[0]
    if len(parts) > 1:
        atoms = xtb.relaxed(assembled(parts, [0] * len(parts), rng), 0, steps=STEPS)
    if atoms is None or xtb.force_and_gap(atoms, 0)[0] > LARGEST_FORCE:
        return []
    atoms.info = {
        "family": "large",
        "kind": entry.kind,
        "start": entry.smiles,
        "draw": draw,
        "smiles": entry.smiles,
        "sampling": "relaxed",
        "charge": 0,
        "part": part_of(entry.smiles),
    }
    return [atoms]


if __name__ == "__main__":
    command(entries, sample)
