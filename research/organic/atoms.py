"""Labels isolated atoms: isolated_atoms.xyz and isolated_atoms-gfn2.xyz in runs/geometries.

    python -m research.organic.atoms    # half a minute

Energies of the ground states, which are the atomic energies of `organic-gfn2` and `organic`.
"""

from __future__ import annotations

import argparse

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from research.paths import RUNS
from se3set_ase.label.labellers import make_labeller

#: Spin multiplicities of the ground states.
GROUND = {"H": 2, "C": 3, "N": 4, "O": 3, "F": 2, "S": 3, "Cl": 2}


def main() -> None:
    """Label the atoms and write both files."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    folder = RUNS / "geometries"
    folder.mkdir(parents=True, exist_ok=True)
    for method, name in (("wB97X/6-31G(d)", ""), ("GFN2-xTB", "-gfn2")):
        frames = []
        for symbol, multiplicity in GROUND.items():
            atom = Atoms(symbol)
            labelled = make_labeller(method, spin_multiplicity=multiplicity)(atom)
            atom.calc = SinglePointCalculator(atom, energy=labelled.energy, forces=labelled.forces)
            atom.info["level_of_theory"] = method
            frames.append(atom)
        write(folder / f"isolated_atoms{name}.xyz", frames, format="extxyz")


if __name__ == "__main__":
    main()
