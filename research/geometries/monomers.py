"""The molecules of queued contacts, one by one: labels of both make an interaction energy.

    python -m research.geometries.monomers --output runs/geometries/monomers.xyz

Of every contact of neutral molecules in the data set, each molecule at its geometry in the contact.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from ase import Atoms
from ase.neighborlist import natural_cutoffs, neighbor_list
from rdkit import rdBase
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from research.geometries.bonding import perceived
from research.labels.choose import identity
from research.labels.shards import read_all, rounded
from research.splits import part_of
from se3set_ase.io.extended_xyz import as_text
from se3set_ase.io.files import write_atomically

#: Bonds are up to this many times as long as the sum of covalent radii.
LONGEST_BOND = 1.25


def main() -> None:
    """Write the molecules."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    found: dict[object, Atoms] = {}
    block = rdBase.BlockLogs()  # isolated hydrogen nuclei
    for contact in read_all():
        if contact.info["family"] == "contacts" and contact.info["charge"] == 0:
            found |= {identity(atoms): atoms for atoms in molecules_of(contact)}
    write_atomically(arguments.output, as_text(list(found.values())).encode())
    del block
    print(f"{len(found)} molecules")


def molecules_of(contact: Atoms) -> Iterator[Atoms]:
    """Its molecules with more than one atom; none if one of them is an ion or unknown."""
    cutoffs = natural_cutoffs(contact, mult=LONGEST_BOND)
    i, j = neighbor_list("ij", contact, cutoffs)
    n_atoms = len(contact)
    n, owner = connected_components(coo_array(([True] * len(i), (i, j)), shape=(n_atoms, n_atoms)))
    parts = [contact[owner == k] for k in range(n)]
    smiles = [perceived(part.numbers, part.positions) for part in parts]
    if n == 1 or None in smiles:
        return
    for part, name in zip(parts, smiles, strict=True):
        if name is not None and len(part) > 1:
            info = {"family": "contacts", "kind": "monomer", "charge": 0}
            info |= {"sampling": contact.info["sampling"], "smiles": name, "part": part_of(name)}
            yield rounded(Atoms(part.numbers, part.positions, info=info))


if __name__ == "__main__":
    main()
