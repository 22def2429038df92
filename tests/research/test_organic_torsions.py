"""Conformers and torsions of molecules, relaxed by GFN2-xTB."""

from __future__ import annotations

import numpy as np
import pytest
from tblite.ase import TBLite

from research.organic import torsions
from research.organic.geometry import embedded, generator
from research.organic.motion import KCAL
from research.organic.references import ROTATABLE

BUTANE = "CCCC"
#: kcal/mol by which a geometry of butane at an angle may lie above its minimum (the cis barrier
#: is 5 to 6 by experiment and by theory).
CIS = 7.0
#: Degrees, tolerance of a constrained angle.
HELD = 0.5


def energy(atoms) -> float:
    atoms = atoms.copy()
    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
    return atoms.get_potential_energy()


def test_conformers_and_torsions_of_butane() -> None:
    frames = torsions.sample(BUTANE)
    conformers = [a for a in frames if a.info["kind"] == "conformer"]
    scanned = [a for a in frames if a.info["kind"] == "torsion"]
    assert len(conformers) >= 2
    assert len(scanned) == torsions.ANGLES
    angles = sorted(abs(180.0 - a.get_dihedral(0, 1, 2, 3)) for a in conformers)
    assert angles[0] < 10.0  # anti
    assert angles[-1] > 90.0  # gauche
    lowest = min(map(energy, conformers))
    above = [(energy(a) - lowest) / KCAL for a in scanned]
    assert 0.0 < max(above) < CIS


def test_constrained_angles_stay_while_the_rest_relaxes() -> None:
    rng = generator("test")
    molecule = embedded(BUTANE, rng, 1)
    (start,) = torsions.conformers_of(molecule)
    indices = [int(i) for i in molecule.GetSubstructMatch(ROTATABLE)]
    for atoms in torsions.at_angles(molecule, start, rng):
        before = atoms.get_dihedral(*indices)
        unrelaxed = energy(atoms)
        (kept,) = torsions.relaxed([("torsion", atoms)])
        assert kept.get_dihedral(*indices) == pytest.approx(before, abs=HELD)
        assert energy(kept) < unrelaxed
    # The control: without its constraint the angle changes.
    atoms.set_constraint()
    (free,) = torsions.relaxed([("torsion", atoms)])
    assert np.abs(free.positions - kept.positions).max() > 0.01
