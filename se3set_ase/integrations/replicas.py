"""Several molecules that move side by side: one pass for all, and each with a memory of its own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ase import Atoms

from se3set_ase.events.log import Event
from se3set_ase.pipeline import Replica, follow
from se3set_ase.potential import Potential, Prediction


class Replicas:
    """What a program needs that moves many molecules, or many beads of one, at once.

    Molecules are told apart by their place in the list. Nothing but speed and the log depends on
    that: another molecule may take a place at any time.

    Parameters
    ----------
    potential : e.g. ``Potential("acac")``.
    charge, spin_multiplicity : of molecules that don't say it themselves.
    skin : Angstrom, how generously neighbours are listed; changes speed, never the energy.

    Raises
    ------
    ValueError : a negative skin.
    """

    def __init__(
        self,
        potential: Potential,
        *,
        charge: int = 0,
        spin_multiplicity: int = 1,
        skin: float = 0.5,
    ):
        self.potential = potential
        self._new = partial(
            Replica, potential, charge=charge, spin_multiplicity=spin_multiplicity, skin=skin
        )
        self._replicas = [self._new()]

    def predict(self, molecules: Sequence[Atoms]) -> list[Prediction]:
        """Energies and forces of all of them, each refragmented at its present positions.

        Raises
        ------
        UnsupportedSystem, ValueError : as :meth:`Potential.predict`.
        """
        self._replicas += [self._new() for _ in molecules[len(self._replicas) :]]
        return follow(self._replicas[: len(molecules)], molecules)

    @property
    def events(self) -> list[list[Event]]:
        """The refragmentation log of each place; ``step`` counts the calls, from 0."""
        return [replica.log.events for replica in self._replicas]
