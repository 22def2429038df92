"""Isolated atoms, for the atomic energies of both levels: isolated_atoms.xyz, and -gfn2.xyz.

    python models/organic/atoms.py        # half a minute

Ground states of the free atoms; what organic-gfn2 and organic are trained with.
"""

from __future__ import annotations

from pathlib import Path

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from se3set_ase.label.labellers import make_labeller

HERE = Path(__file__).parent
#: Spin multiplicities of the ground states.
GROUND = {"H": 2, "C": 3, "N": 4, "O": 3, "F": 2, "S": 3, "Cl": 2}


def main() -> None:
    """Label and write."""
    for method, name in (("wB97X/6-31G(d)", ""), ("GFN2-xTB", "-gfn2")):
        frames = []
        for symbol, multiplicity in GROUND.items():
            atom = Atoms(symbol)
            labelled = make_labeller(method, spin_multiplicity=multiplicity)(atom)
            atom.calc = SinglePointCalculator(atom, energy=labelled.energy, forces=labelled.forces)
            atom.info["level_of_theory"] = method
            frames.append(atom)
        write(HERE / f"isolated_atoms{name}.xyz", frames, format="extxyz")


if __name__ == "__main__":
    main()
