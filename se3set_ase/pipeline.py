"""One step of one or many molecules: check, refragment, evaluate, check uncertainty, log."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from operator import is_
from typing import Any, Protocol

import numpy as np
from ase import Atoms

from se3set_ase.baseline import Baseline
from se3set_ase.events.log import EventLog, observe_all
from se3set_ase.hypergraph.lattice import Lattice
from se3set_ase.hypergraph.listing import JointListing
from se3set_ase.hypergraph.refragment import Refragmenter
from se3set_ase.hypergraph.structure import Hypergraph
from se3set_ase.io.text import atom_names, warn_each_time
from se3set_ase.nn.model import SE3Set
from se3set_ase.prediction import Evaluator, Prediction
from se3set_ase.system import UnsupportedSystem, declared_charge_and_spin
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

    def may_keep(self, atoms: Atoms) -> bool:
        """Whether this is the molecule of the last :meth:`refragment`, moved or not; not a cell."""
        listing = self.refragmenter.listing
        if (
            listing is None
            or listing.hypergraph.fleeting
            or listing.lattice is not None
            or True in atoms.pbc
            or atoms.numbers.tobytes() != listing.hypergraph.numbers.tobytes()
        ):
            return False
        try:
            declared = declared_charge_and_spin(atoms)
        except UnsupportedSystem:
            return False
        charge = declared.get("charge", self.charge)
        return self.state == (charge, declared.get("spin_multiplicity", self.spin_multiplicity))

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


class Batch:
    """Replicas of one potential that move together, one for each molecule.

    As long as a molecule needs no new hypergraph, it is checked together with all others.

    Parameters
    ----------
    replicas : one for each molecule; may be exchanged between steps.
    """

    def __init__(self, replicas: Sequence[Replica]):
        self.replicas = replicas
        self._joint: JointListing | None = None

    def follow(self, molecules: Sequence[Atoms]) -> list[Prediction]:
        """Energies and forces of the molecules.

        Raises
        ------
        UnsupportedSystem, ValueError : as :meth:`se3set_ase.Potential.predict`.
        """
        for index, replica in enumerate(self.replicas):
            replica.name = f"molecule {index}" if len(molecules) > 1 else ""
        for index in self.changed(molecules):
            with numbered(index, len(molecules)):
                self.replicas[index].refragment(molecules[index])
        return step(self.replicas)

    def changed(self, molecules: Sequence[Atoms]) -> list[int]:
        """Indices of the molecules that need :meth:`Replica.refragment`; the others are ready."""
        pairs = list(zip(self.replicas, molecules, strict=True))
        kept = [index for index, (replica, atoms) in enumerate(pairs) if replica.may_keep(atoms)]
        if not kept:
            return list(range(len(pairs)))
        listings = [self.replicas[index].refragmenter.listing for index in kept]
        if self._joint is None or not same_objects(self._joint.listings, listings):
            self._joint = JointListing([each for each in listings if each is not None])
        valid = self._joint.still_valid(np.concatenate([molecules[k].positions for k in kept]))
        unchanged = {index for index, good in zip(kept, valid.tolist(), strict=True) if good}
        for index in unchanged:
            replica, atoms = pairs[index]
            replica.positions = atoms.positions
        return [index for index in range(len(pairs)) if index not in unchanged]


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
    observe_all(
        [replica.log for replica in replicas],
        [prediction.hypergraph for prediction in predictions],
        [prediction.energy for prediction in predictions],
    )
    for replica in replicas:
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


def same_objects(some: Sequence[object], others: Sequence[object]) -> bool:
    """Whether these are the same objects in the same order."""
    return len(some) == len(others) and all(map(is_, some, others))
