"""Geometries of ions, zwitterions, ion pairs, proton-bound dimers and ions with neighbours.

python -m research.geometries.ions --seed 0 --draws 4 --output runs/geometries/ions.xyz
"""

from __future__ import annotations

from itertools import islice

import numpy as np
from ase import Atoms
from rdkit import Chem

from research.geometries import clusters, names, zwitterions
from research.geometries.bonding import canonical
from research.geometries.sampling import frames_of, generator
from research.geometries.store import Entry, command

#: Bases and acids with their conjugates, for proton-bound dimers.
BASES = {
    "O": "[OH3+]", "N": "[NH4+]", "CO": "C[OH2+]", "C=O": "C=[OH+]", "CN": "C[NH3+]",
    "COC": "C[OH+]C", "CC#N": "CC#[NH+]", "NC=O": "NC=[OH+]", "c1c[nH]cn1": "c1c[nH]c[nH+]1",
    "c1ccncc1": "c1cc[nH+]cc1", "CSC": "C[SH+]C", "P": "[PH4+]", "S": "[SH3+]", "C#N": "C#[NH+]",
    "OC=O": "OC=[OH+]", "CNC": "C[NH2+]C", "C=N": "C=[NH2+]", "CC=O": "CC=[OH+]",
    "CP": "C[PH3+]", "NC=N": "NC=[NH2+]", "C1CO1": "C1C[OH+]1", "ON": "O[NH3+]",
}  # fmt: skip
ACIDS = {
    "O": "[OH-]", "OC=O": "[O-]C=O", "CO": "C[O-]", "F": "[F-]", "Cl": "[Cl-]", "Br": "[Br-]",
    "C#N": "[C-]#N", "S": "[SH-]", "CS": "C[S-]", "CC(=O)O": "CC(=O)[O-]", "ON=O": "[O-]N=O",
    "Oc1ccccc1": "[O-]c1ccccc1", "C#C": "C#[C-]", "OCl": "[O-]Cl", "N": "[NH2-]", "OO": "[O-]O",
    "C[N+](=O)[O-]": "C=[N+]([O-])[O-]", "NC=O": "[NH-]C=O", "CC#N": "[CH2-]C#N", "I": "[I-]",
    "c1cc[nH]c1": "c1cc[n-]c1", "O[N+](=O)[O-]": "[O-][N+](=O)[O-]", "CC=O": "C=C[O-]",
    "N=[N+]=[N-]": "[N-]=[N+]=[N-]", "ON=C": "C=N[O-]", "O=C=N": "[O-]C#N",
}  # fmt: skip
WATERS = (1, 2, 3, 4)
#: Largest number of atoms of a cluster, and numbers of clusters of each kind.
LARGEST = 24
PROTON_BOUND, PAIRS, HYDRATED, ZWITTERIONS, OTHERS = 110, 160, 160, 30, 130


def entries(seed: int) -> list[Entry]:
    """Return the ions of the list, and clusters drawn with the seed."""
    rng = generator("ion clusters", seed)
    single = names.read("ions")
    partners = names.by_kind("partners")
    cations, anions = partners["cation"], partners["anion"]
    bound = [
        ("proton-bound dimer", f"{one}.{ion}")
        for table in (BASES, ACIDS)
        for one in table
        for ion in table.values()
    ]
    pairs = [("ion pair", f"{one}.{other}") for one in cations for other in anions]
    ions = [*cations, *anions, *(entry.smiles for entry in single if entry.kind != "zwitterion")]
    wet = [
        ("ion-water cluster", ".".join([ion, *["O"] * number])) for ion in ions for number in WATERS
    ]
    zwitterions_in_water = [
        ("hydrated zwitterion", ".".join([entry.smiles, *["O"] * number]))
        for entry in single
        if entry.kind == "zwitterion"
        for number in (1, 2, 3)
    ]
    pi = [("cation-pi", f"{ion}.{other}") for ion in cations for other in partners["pi system"]]
    near = [
        ("ion and molecule", f"{ion}.{other}")
        for ion in [*cations, *anions]
        for other in partners["neighbour"]
    ]
    found = list(single)
    for candidates, number in (
        (bound, PROTON_BOUND),
        (pairs, PAIRS),
        (wet, HYDRATED),
        (zwitterions_in_water, ZWITTERIONS),
        (pi, OTHERS // 3),
        (near, OTHERS),
    ):
        found += chosen(candidates, number, rng)
    return found


def chosen(candidates: list[tuple[str, str]], number: int, rng: np.random.Generator) -> list[Entry]:
    """Choose random clusters that are not too large, without duplicates."""
    order = (candidates[k] for k in rng.permutation(len(candidates)))
    small = ((kind, smiles) for kind, smiles in order if size(smiles) <= LARGEST)
    kinds = {canonical(smiles): kind for kind, smiles in islice(small, number)}
    return [Entry(smiles=smiles, kind=kind) for smiles, kind in kinds.items()]


def size(smiles: str) -> int:
    """Number of atoms, including hydrogens."""
    return Chem.AddHs(Chem.MolFromSmiles(smiles)).GetNumAtoms()


def sample(entry: Entry, seed: int, draw: int) -> list[Atoms]:
    """Geometries of one ion or cluster; none of a single atom."""
    if "." in entry.smiles:
        return clusters.frames_of(entry.smiles, entry.kind, "ions", seed, draw)
    if size(entry.smiles) == 1:
        return []
    if entry.kind == "zwitterion":
        return zwitterions.frames_of(entry.smiles, "ions", seed, draw)
    return frames_of(entry.smiles, entry.kind, "ions", seed, draw)


if __name__ == "__main__":
    command(entries, sample)
