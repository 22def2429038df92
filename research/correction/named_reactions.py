"""Ten well-known reactions: their bond changes, and geometries to start from.

    python -m research.correction.named_reactions    # some minutes; writes named_reactions.xyz

Atoms are numbered as in the SMILES of the reactants, followed by the hydrogen atoms of the first
heavy atom, of the second, and so on. The geometries are minima of GFN2-xTB on both sides of its
saddle point, or minima of its own on each side where it has no saddle point between them. A search
on another surface starts there.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import minimize_rotation_and_translation
from rdkit import rdBase

from research.geometries.reaction_edits import BondGraph, Changes
from research.geometries.reaction_paths import find_path
from research.geometries.reaction_paths import relaxed as relaxed_graph
from research.geometries.reaction_surface import bonded_atoms
from research.geometries.sampling import generator
from se3set_ase.io.extended_xyz import as_text, frames_of_file
from se3set_ase.io.files import write_atomically

FILE = Path(__file__).with_suffix(".xyz")
#: Seeds that are tried for a path with exactly these bonds.
TRIES = 12
#: Energy above the reactants up to which a saddle point is looked for, eV.
HIGHEST = 4.5


@dataclass(frozen=True, kw_only=True)
class NamedReaction:
    """A reaction as an edit of its reactants.

    Attributes
    ----------
    reactants : SMILES.
    changes : pairs of atoms, and how their bond order changes.
    charge_changes : of formal charges, by atom.
    """

    reactants: str
    changes: tuple[tuple[int, int, int], ...]
    charge_changes: Mapping[int, int] = field(default_factory=dict)

    def graphs(self) -> tuple[BondGraph, BondGraph]:
        """Bonds of reactants and products."""
        first = BondGraph.from_smiles(self.reactants)
        ordered: Changes = frozenset((min(i, j), max(i, j), n) for i, j, n in self.changes)
        return first, first.edited(ordered, dict(self.charge_changes))


def cycle(*atoms: int, first: int) -> tuple[tuple[int, int, int], ...]:
    """Bond orders that change by +1 and -1 in turn around a ring of atoms."""
    pairs = zip(atoms, (*atoms[1:], atoms[0]), strict=True)
    return tuple((i, j, first * (-1) ** k) for k, (i, j) in enumerate(pairs))


REACTIONS: Mapping[str, NamedReaction] = {
    "Diels-Alder": NamedReaction(reactants="C=CC=C.C=C", changes=cycle(0, 1, 2, 3, 4, 5, first=-1)),
    "Claisen": NamedReaction(reactants="C=CCOC=C", changes=cycle(0, 1, 2, 3, 4, 5, first=-1)),
    "Cope": NamedReaction(reactants="C=CCCC=C", changes=cycle(0, 1, 2, 3, 4, 5, first=-1)),
    # 3-buten-1-ol; atom 12 is the hydrogen atom of oxygen.
    "retro-ene": NamedReaction(reactants="C=CCCO", changes=cycle(0, 1, 2, 3, 4, 12, first=-1)),
    # 1,3-pentadiene; atom 10 belongs to the methyl group.
    "1,5-H shift": NamedReaction(reactants="C=CC=CC", changes=cycle(0, 1, 2, 3, 4, 10, first=-1)),
    "electrocyclic opening": NamedReaction(
        reactants="C1=CCC1", changes=cycle(0, 1, 2, 3, first=-1)
    ),
    # Acetaldehyde and water; atoms 4 (of methyl), 8 and 9 (of water) are hydrogen.
    "keto-enol with water": NamedReaction(
        reactants="CC=O.O", changes=cycle(0, 1, 2, 8, 3, 4, first=1)
    ),
    "1,3-dipolar": NamedReaction(
        reactants="C#[N+][O-].C=C",
        changes=((0, 1, -1), (1, 2, 0), (0, 3, 1), (3, 4, -1), (4, 2, 1)),
        charge_changes={1: -1, 2: 1},
    ),
    "SN2": NamedReaction(
        reactants="[Cl-].CBr", changes=((0, 1, 1), (1, 2, -1)), charge_changes={0: 1, 2: -1}
    ),
    # Hydrogensulfide and acetyl chloride. GFN2-xTB has a tetrahedral minimum in between.
    "acyl transfer": NamedReaction(
        reactants="[SH-].CC(=O)Cl", changes=((0, 2, 1), (2, 4, -1)), charge_changes={0: 1, 4: -1}
    ),
}


def main() -> None:
    """Find the starting geometries."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    frames: list[Atoms] = []
    block = rdBase.BlockLogs()  # UFF has no types for ions
    for name, reaction in REACTIONS.items():
        found = geometries(name, reaction)
        print(f"{name}: {'found' if found else 'no path'}", flush=True)
        frames += found
    del block
    write_atomically(FILE, as_text(frames).encode())


def geometries(name: str, reaction: NamedReaction) -> list[Atoms]:
    """Reactants and products by GFN2-xTB; none if a side has no minimum with its bonds."""
    reactant, product = reaction.graphs()
    graphs = {graph.bonded.tobytes(): graph for graph in (reactant, product)}
    for attempt in range(TRIES):
        rng = generator(name, attempt)
        start = relaxed_graph(reactant, rng)
        if start is None:
            continue
        found = find_path(
            reactant, product, rng=rng, graphs=graphs, highest=start[0] + HIGHEST, attempts=3
        )
        if found is None:
            continue
        return frames_of(name, reactant, (found[0].positions[0], found[0].positions[-1]))
    minima = [minimum(name, graph) for graph in (reactant, product)]
    if any(at is None for at in minima):
        return []
    return frames_of(name, reactant, [at for at in minima if at is not None])


def minimum(name: str, graph: BondGraph) -> np.ndarray | None:
    """Positions of a minimum with the bonds of a graph, molecules next to each other."""
    for attempt in range(TRIES):
        found = relaxed_graph(graph, generator(name, attempt))
        if found is not None:
            bonded = bonded_atoms(graph.numbers, found[1])
            if bonded is not None and (bonded == graph.bonded).all():
                return found[1]
    return None


def frames_of(name: str, reactant: BondGraph, ends: Sequence[np.ndarray]) -> list[Atoms]:
    """Reactants and products, turned towards each other as closely as possible."""
    frames = [
        Atoms(reactant.numbers, at, info={"reaction": name, "charge": reactant.charge, "end": end})
        for end, at in zip(("reactants", "products"), ends, strict=True)
    ]
    minimize_rotation_and_translation(*frames)
    return frames


def read() -> dict[str, tuple[Atoms, Atoms]]:
    """Reactants and products of each reaction, atoms in the same order."""
    frames = list(frames_of_file(FILE))
    return {
        str(first.info["reaction"]): (first, second)
        for first, second in zip(frames[::2], frames[1::2], strict=True)
    }


if __name__ == "__main__":
    main()
