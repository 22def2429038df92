"""Relaxed geometries of molecules that turn, research.organic.turning."""

from __future__ import annotations

import numpy as np
import pytest
from tblite.ase import TBLite

from research.organic import turning
from research.organic.geometry import embedded, generator
from research.organic.motion import KCAL
from research.organic.references import TURNING

BUTANE = "CCCC"
#: kcal/mol by which a geometry of butane at an angle may lie above its minimum (the cis barrier
#: is 5 to 6 by experiment and by theory).
CIS = 7.0
#: Degrees that a held angle may be off by.
HELD = 0.5


def energy(atoms) -> float:
    atoms = atoms.copy()
    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
    return atoms.get_potential_energy()


def test_butane_has_its_conformers_and_what_lies_between() -> None:
    frames = turning.turning(BUTANE)
    conformers = [a for a in frames if a.info["kind"] == "conformer"]
    torsions = [a for a in frames if a.info["kind"] == "torsion"]
    assert len(conformers) >= 2
    assert len(torsions) == turning.ANGLES
    angles = sorted(abs(180.0 - a.get_dihedral(0, 1, 2, 3)) for a in conformers)
    assert angles[0] < 10.0  # anti
    assert angles[-1] > 90.0  # gauche
    lowest = min(map(energy, conformers))
    above = [(energy(a) - lowest) / KCAL for a in torsions]
    assert 0.0 < max(above) < CIS


def test_held_angles_are_held_while_the_rest_relaxes() -> None:
    rng = generator("test")
    molecule = embedded(BUTANE, rng, 1)
    (start,) = turning.conformers_of(molecule)
    indices = [int(i) for i in molecule.GetSubstructMatch(TURNING)]
    for atoms in turning.at_angles(molecule, start, rng):
        before = atoms.get_dihedral(*indices)
        unrelaxed = energy(atoms)
        (kept,) = turning.relaxed([("torsion", atoms)])
        assert kept.get_dihedral(*indices) == pytest.approx(before, abs=HELD)
        assert energy(kept) < unrelaxed
    # The control: without its constraint the last one turns.
    atoms.set_constraint()
    (free,) = turning.relaxed([("torsion", atoms)])
    assert np.abs(free.positions - kept.positions).max() > 0.01
