"""Several molecules that move side by side: one pass for all, and each with a memory of its own."""

from __future__ import annotations

from collections.abc import Sequence

from ase import Atoms

from se3set_ase.events.log import Event, EventLog
from se3set_ase.hypergraph.refragment import Refragmenter
from se3set_ase.potential import Potential, Prediction, numbered


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
        self._wanted = (charge, spin_multiplicity)
        self._skin = skin
        self._refragmenters = [Refragmenter(potential.model.hypergraph, skin=skin)]
        self._logs = [EventLog()]

    def predict(self, molecules: Sequence[Atoms]) -> list[Prediction]:
        """Energies and forces of all of them, each refragmented at its present positions.

        Raises
        ------
        UnsupportedSystem, ValueError : as :meth:`Potential.predict`.
        """
        for _ in molecules[len(self._logs) :]:
            self._refragmenters.append(
                Refragmenter(self.potential.model.hypergraph, skin=self._skin)
            )
            self._logs.append(EventLog())
        listed = []
        for index, (atoms, refragmenter) in enumerate(
            zip(molecules, self._refragmenters, strict=False)
        ):
            with numbered(index, len(molecules)):
                self.potential.check_declared(atoms, *self._wanted)
                listed.append(refragmenter.update(atoms.numbers, atoms.positions))
        predictions = self.potential.evaluate(listed, [atoms.positions for atoms in molecules])
        for log, prediction in zip(self._logs, predictions, strict=False):
            log.observe(prediction.hypergraph, prediction.energy)
        return predictions

    @property
    def events(self) -> list[list[Event]]:
        """The refragmentation log of each place; ``step`` counts the calls, from 0."""
        return [log.events for log in self._logs]
