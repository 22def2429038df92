"""Several molecules that move together: one pass for all, and a separate log for each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ase import Atoms

from se3set_ase.events.log import Event
from se3set_ase.pipeline import Batch, Replica
from se3set_ase.potential import Potential, Prediction


class Replicas:
    """Evaluates molecules, or beads of one, for programs that move many together.

    Molecules are identified by their index in the list. Only speed and the log depend on it: the
    molecule of an index may change at any time.

    Parameters
    ----------
    potential : e.g. ``Potential("acac")``.
    charge, spin_multiplicity : for molecules that declare none.
    skin : Angstrom, margin of the neighbour lists; affects speed, never the energy.

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
        self._batch = Batch(self._replicas)

    def predict(self, molecules: Sequence[Atoms]) -> list[Prediction]:
        """Energies and forces of all molecules, each refragmented at its present positions.

        Raises
        ------
        UnsupportedSystem, ValueError : see :meth:`Potential.predict`.
        """
        self._replicas += [self._new() for _ in molecules[len(self._replicas) :]]
        self._batch.replicas = self._replicas[: len(molecules)]
        return self._batch.follow(molecules)

    @property
    def events(self) -> list[list[Event]]:
        """The refragmentation log of each index; ``step`` counts the calls, from 0."""
        return [replica.log.events for replica in self._replicas]
