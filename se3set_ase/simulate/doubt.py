"""The doubt of the geometries of a relaxation or of molecular dynamics."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ase import Atoms

from se3set_ase.calculator import SE3SetCalculator
from se3set_ase.uncertainty.doubt import INFO, Doubt, doubt_of
from se3set_ase.uncertainty.novelty import TrackedMolecule

__all__ = ["DoubtWatch", "doubt_in_info", "present_doubt"]


def present_doubt(atoms: Atoms, *, evaluate: bool = True) -> Doubt | None:
    """How far to trust the present geometry; None if the calculator cannot say.

    Parameters
    ----------
    evaluate : evaluate the committee, if the model has one; otherwise only bonds are checked.
    """
    calc = atoms.calc
    if not isinstance(calc, SE3SetCalculator):
        return None
    atoms.get_potential_energy()  # so that it is the calculator's last geometry
    assert calc.prediction is not None
    uncertainty = None
    if evaluate and calc.potential.committee is not None:
        energy, forces = calc.energy_uncertainty, calc.forces_uncertainty
        assert energy is not None
        assert forces is not None
        uncertainty = energy, forces
    return doubt_of(calc.potential, calc.prediction, uncertainty)


class DoubtWatch:
    """Checks a run as seldom as the warnings of the calculator do.

    The committee is evaluated at the first geometry, at the last, at one with a higher energy than
    before, and from time to time. Bonds are checked whenever they change.
    """

    def __init__(self, atoms: Atoms):
        self._atoms = atoms
        self._molecule = TrackedMolecule()

    def check(self, *, other_bonds: bool, last: bool) -> Doubt | None:
        """The doubt of the present geometry; None if it is not checked."""
        atoms = self._atoms
        if not isinstance(atoms.calc, SE3SetCalculator):
            return None
        energy = float(atoms.get_potential_energy())
        due = self._molecule.needs_check(atoms.get_positions(), energy) or last
        return present_doubt(atoms, evaluate=due) if due or other_bonds else None


@contextlib.contextmanager
def doubt_in_info(atoms: Atoms, doubt: Doubt | None) -> Iterator[None]:
    """Put the doubt into ``atoms.info`` for a while, instead of that of another geometry."""
    before = dict(atoms.info)
    for name in INFO & atoms.info.keys():
        del atoms.info[name]
    atoms.info.update({} if doubt is None else doubt.info)
    try:
        yield
    finally:
        atoms.info.clear()
        atoms.info.update(before)
