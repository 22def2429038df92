"""One step of one or many molecules: check, refragment, evaluate, check uncertainty, log."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from ase import Atoms

from se3set_ase.baseline import Baseline
from se3set_ase.events.log import EventLog
from se3set_ase.hypergraph.lattice import Lattice
from se3set_ase.hypergraph.refragment import Refragmenter
from se3set_ase.hypergraph.structure import Hypergraph
from se3set_ase.io.text import atom_names, warn_each_time
from se3set_ase.nn.model import SE3Set
from se3set_ase.prediction import Evaluator, Prediction
from se3set_ase.uncertainty.committee import Committee
from se3set_ase.uncertainty.novelty import NoveltyTracker


class Model(Evaluator, Protocol):
    """What a replica needs of a :class:`se3set_ase.Potential`."""

    model: SE3Set
    baseline: Baseline | None

    @property
    def committee(self) -> Committee | None: ...

    def check_declared(
        self, atoms: Atoms, charge: int, spin_multiplicity: int
    ) -> tuple[int, int]: ...


class Replica:
    """One moving molecule, with its hypergraph, log and warnings.

    Parameters
    ----------
    potential : the potential.
    charge, spin_multiplicity : for molecules that declare none.
    name : start of warnings, if any.
    watched : whether the committee of the model checks it.
    **options : options of :class:`se3set_ase.hypergraph.refragment.Refragmenter`.

    Attributes
    ----------
    hypergraph, positions, cell, state : those of the last :meth:`refragment`; the cell is (3, 3)
        Angstrom, or None if it is not periodic, and the state is charge and spin multiplicity.
    log : changes between evaluations.
    uncertainty : that of the last prediction, if the committee was evaluated, see
        :meth:`se3set_ase.uncertainty.committee.Committee.uncertainties`.

    Raises
    ------
    ValueError : a negative skin.
    """

    hypergraph: Hypergraph
    positions: np.ndarray
    cell: np.ndarray | None
    state: tuple[int, int]

    def __init__(
        self,
        potential: Model,
        *,
        charge: int = 0,
        spin_multiplicity: int = 1,
        name: str = "",
        watched: bool = True,
        **options: Any,
    ):
        self.potential = potential
        self.charge, self.spin_multiplicity = charge, spin_multiplicity
        self.name = name
        self.refragmenter = Refragmenter(potential.model.hypergraph, **options)
        self.baseline = potential.baseline and potential.baseline.another()
        self.log = EventLog()
        self.tracker = NoveltyTracker() if watched else None
        self.uncertainty: tuple[float, np.ndarray] | None = None

    def refragment(self, atoms: Atoms) -> None:
        """Check the molecule and list its hypergraph at its present positions.

        Raises
        ------
        UnsupportedSystem, ValueError : as :meth:`se3set_ase.Potential.predict`.
        """
        self.state = self.potential.check_declared(atoms, self.charge, self.spin_multiplicity)
        departed = self.refragmenter.departed
        lattice = Lattice.of(atoms.cell.array, atoms.pbc)
        self.hypergraph = self.refragmenter.update(atoms.numbers, atoms.positions, lattice)
        self.positions = atoms.positions
        self.cell = None if lattice is None else atoms.cell.array.copy()
        if self.refragmenter.departed != departed:
            self._warn_of_departure(atoms)

    def _warn_of_departure(self, atoms: Atoms) -> None:
        """Warn that frozen fragments are not those of the present bonds."""
        changes = [
            " ".join(atom_names("bond", b, [atoms[k].symbol for k in b]) for b in sorted(bonds))
            + f" {what}"
            for bonds, what in zip(self.refragmenter.departed, ("formed", "broken"), strict=True)
            if bonds
        ]
        if changes:
            warn_each_time(
                "refragment='frozen': the fragments are those of the first call, but since then "
                + ", ".join(changes)
            )

    def __copy__(self) -> Replica:
        """A copy whose evaluations do not affect this object."""
        other = Replica.__new__(Replica)
        other.__dict__.update(self.__dict__)
        other.refragmenter, other.log = copy.copy(self.refragmenter), copy.deepcopy(self.log)
        other.tracker = copy.deepcopy(self.tracker)
        return other

    def aside(self) -> Replica:
        """A copy with the same first geometry, without its log and its warnings."""
        other = copy.copy(self)
        other.log, other.tracker = EventLog(), None
        return other

    def on_baseline(self, correction: Prediction) -> Prediction:
        """Add the baseline of the model, if it has one.

        Raises
        ------
        CalculationFailed : the baseline method failed.
        """
        if self.baseline is None:
            return correction
        numbers = self.hypergraph.numbers
        return correction.on(self.baseline.evaluate(numbers, self.positions, *self.state))

    def baseline_dipole_derivatives(self) -> np.ndarray | None:
        """Derivatives of the dipole of the baseline, (3N, 3) e; None if it has none."""
        if self.baseline is None:
            return None
        numbers = self.hypergraph.numbers
        return self.baseline.dipole_derivatives(numbers, self.positions, *self.state)

    def baseline_hessian(self) -> np.ndarray | float:
        """Second derivatives (3N, 3N) of the baseline, eV/Angstrom^2; 0 if there is none."""
        if self.baseline is None:
            return 0.0
        return self.baseline.hessian(self.hypergraph.numbers, self.positions, *self.state)


def follow(replicas: Sequence[Replica], molecules: Sequence[Atoms]) -> list[Prediction]:
    """Energies and forces of molecules at the present positions of their replicas.

    Raises
    ------
    UnsupportedSystem, ValueError : as :meth:`se3set_ase.Potential.predict`.
    """
    for index, (replica, atoms) in enumerate(zip(replicas, molecules, strict=True)):
        replica.name = f"molecule {index}" if len(molecules) > 1 else ""
        with numbered(index, len(molecules)):
            replica.refragment(atoms)
    return step(replicas)


def step(replicas: Sequence[Replica]) -> list[Prediction]:
    """Like :func:`advance`, and issue warnings."""
    predictions, remarks = advance(replicas)
    for remark in remarks:
        warn_each_time(remark)
    return predictions


def advance(replicas: Sequence[Replica]) -> tuple[list[Prediction], list[str]]:
    """Evaluate, check and log refragmented replicas of one potential.

    Returns
    -------
    Predictions, and reasons not to trust some of them; each reason once for all its replicas.
    """
    if not replicas:
        return [], []
    potential = replicas[0].potential
    corrections = potential.evaluate(
        [replica.hypergraph for replica in replicas],
        [replica.positions for replica in replicas],
        [replica.state[0] for replica in replicas],
        [replica.cell for replica in replicas],
    )
    predictions = [r.on_baseline(c) for r, c in zip(replicas, corrections, strict=True)]
    for replica, prediction in zip(replicas, predictions, strict=True):
        replica.log.observe(prediction.hypergraph, prediction.energy)
        replica.uncertainty = None
    watched = [(r, r.tracker, p) for r, p in zip(replicas, predictions, strict=True) if r.tracker]
    if not watched or potential.committee is None:
        return predictions, []
    _, trackers, seen = zip(*watched, strict=True)
    names: dict[str, list[str]] = {}
    found = potential.committee.surprises(trackers, seen)
    for (replica, *_), (reasons, uncertainty) in zip(watched, found, strict=True):
        replica.uncertainty = uncertainty
        for reason in reasons:
            names.setdefault(reason, []).append(replica.name)
    return predictions, [
        (name and name + (f" and {len(more)} more: " if more else ": ")) + reason
        for reason, (name, *more) in names.items()
    ]


@contextlib.contextmanager
def numbered(index: int, count: int) -> Iterator[None]:
    """Start errors about one molecule of several with its number."""
    try:
        yield
    except ValueError as error:
        if count == 1:
            raise
        raise type(error)(f"molecule {index}: {error}") from error
