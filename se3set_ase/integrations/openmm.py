"""A potential for OpenMM, through openmm-ml: whole systems, or a part of one with a force field.

    potential = MLPotential("se3set", model="organic")
    system = potential.createMixedSystem(topology, force_field_system, ligand)

OpenMM calls :class:`Evaluation` at every step, from its ``PythonForce``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import kJ, mol
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

from se3set_ase._lock import Lock
from se3set_ase.checkpoint.metadata import DEFAULT_MODEL
from se3set_ase.events.observe import event_line
from se3set_ase.hypergraph.bonds import longest_bond
from se3set_ase.pipeline import Batch, Replica
from se3set_ase.potential import Potential
from se3set_ase.system import UnsupportedSystem

_missing: ImportError | None = None
try:
    import openmm
    from openmm import unit
    from openmmml.mlpotential import MLPotentialImpl
except ImportError as error:
    MLPotentialImpl, _missing = object, error

#: eV to kJ/mol, with the constants of ASE.
EV = mol / kJ
#: Angstrom in a nanometre.
NM = 10.0
#: Arguments of createMixedSystem that are for the embedding.
OF_EMBEDDINGS = ("mlLongRange", "linkAtomDistances")


@dataclass(frozen=True, kw_only=True)
class Region:
    """What a force is made from, as plain data: OpenMM copies and saves a force by pickling it.

    Attributes
    ----------
    model, options : of the :class:`se3set_ase.Potential`.
    skin : Angstrom, margin of the neighbour lists.
    numbers : atomic numbers.
    indices : of its atoms in the topology.
    info : declared charge and spin, as in ``atoms.info``.
    cell : whether the atoms fill the periodic box; otherwise they are an isolated molecule.
    box : whether there is a periodic box, so that OpenMM may wrap positions.
    events : file of the refragmentation log; None for no log.
    """

    model: str
    options: Mapping[str, Any]
    skin: float
    numbers: tuple[int, ...]
    indices: tuple[int, ...]
    info: Mapping[str, Any] = field(default_factory=dict)
    cell: bool = False
    box: bool = False
    events: str | None = None

    def at(self, positions: np.ndarray) -> Atoms:
        """The atoms at these positions (N, 3), Angstrom."""
        return Atoms(self.numbers, positions, pbc=self.cell, info=dict(self.info))


class SE3SetPotential(MLPotentialImpl):
    """A trained model as the potential ``"se3set"`` of openmm-ml.

    ``createSystem`` makes a system of isolated molecules, or of a periodic cell if the topology has
    box vectors. ``createMixedSystem`` lets a force field compute everything but the interactions
    within the given atoms (mechanical embedding). These are an isolated molecule then, also in a
    periodic box, in which they are first made whole.

    Charge and spin are arguments of both, ``charge=1, multiplicity=2``, with any of the names in
    :data:`se3set_ase.system.NAMES`. The energy is the total energy of the model, which is large and
    negative.

    Parameters
    ----------
    model : name of a bundled model, or path of a model folder.
    events : file for the refragmentation log, JSON lines for
        :func:`se3set_ase.events.read_events`, written immediately; an existing file is replaced.
        Atoms are numbered as in the topology; ``step`` and ``time_ps`` are those of OpenMM. It
        compares successive geometries, including those of a minimisation or trial moves. With
        ``interpolate=True``, OpenMM does not pass the step, which is 0.
    skin : Angstrom, margin of the neighbour lists; affects speed, never the energy.
    **options : options of :class:`se3set_ase.Potential`: ``device``, ``dtype``, ``compile`` ...

    Raises
    ------
    ImportError : openmm-ml is not installed.
    FileNotFoundError, CheckpointError, ValueError : see :class:`se3set_ase.Potential`.
    """

    def __init__(
        self,
        *,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        events: str | os.PathLike[str] | None = None,
        skin: float = 0.5,
        **options: Any,
    ):
        if _missing is not None:
            raise ImportError(
                'SE3SetPotential needs openmm-ml: pip install "se3set-ase[openmm]"'
            ) from _missing
        self._potential = Potential(model, **options)
        self._common: dict[str, Any] = {"model": os.fspath(model), "options": options, "skin": skin}
        if events is not None:
            Path(events).write_text("", encoding="utf-8")
            self._common["events"] = os.fspath(events)

    def addForces(
        self,
        topology: Any,
        system: Any,
        atoms: Iterable[int] | None,
        forceGroup: int,
        **declared: Any,
    ) -> None:
        """Add the force to a system; called by openmm-ml.

        Parameters
        ----------
        topology, system : of OpenMM.
        atoms : indices of the atoms that the model computes; None for all.
        forceGroup : of the force.
        **declared : charge and spin multiplicity. Arguments for embeddings have no effect.

        Raises
        ------
        UnsupportedSystem, ValueError : the model does not support these atoms, their charge or
            spin, or the cell; or the charges of the force field do not add up to the charge.
        """
        every = list(topology.atoms())
        indices = range(len(every)) if atoms is None else [int(index) for index in atoms]
        boxed = topology.getPeriodicBoxVectors() is not None
        if atoms is not None and system.getNumParticles():  # none while openmm-ml interpolates
            boxed = system.usesPeriodicBoundaryConditions()
        region = Region(
            numbers=tuple(_number(every[index]) for index in indices),
            indices=tuple(indices),
            info={name: value for name, value in declared.items() if name not in OF_EMBEDDINGS},
            cell=boxed and atoms is None,
            box=boxed,
            **self._common,
        )
        charge, _ = self._potential.check_declared(region.at(np.zeros((len(indices), 3))), 0, 1)
        if atoms is not None:
            _check_charges(system, region.indices, charge)
        force = openmm.PythonForce(Evaluation(region, self._potential))
        force.setName("SE3Set")
        force.setForceGroup(forceGroup)
        force.setUsesPeriodicBoundaryConditions(boxed)
        if atoms is not None:
            force.setParticles(indices)
        system.addForce(force)
        _keep_molecules(topology, system, set(indices))

    def getMLLongRange(self) -> bool:
        """False: images of the atoms in other boxes interact by the charges of the force field."""
        return False


class Evaluation:
    """Energy (kJ/mol) and forces (N, 3) (kJ/mol/nm) of a region: the function of a ``PythonForce``.

    Raises
    ------
    ValueError : when called, for invalid geometries; OpenMM turns it into an ``OpenMMException``.
    """

    def __init__(self, region: Region, potential: Potential | None = None):
        potential = potential or Potential(region.model, **region.options)
        self.region = region
        self._lock = Lock()  # several contexts may share it
        self._replica = Replica(potential, skin=region.skin)
        self._batch = Batch([self._replica])
        self._seen = 0
        config = potential.model.hypergraph
        nearby = potential.model.long_range is None and potential.baseline is None
        #: Angstrom, distance at which interactions end.
        self._reach = max(config.cutoff, longest_bond(np.array(region.numbers), config))
        if not nearby:
            self._reach = np.inf

    def __reduce__(self) -> tuple[type[Evaluation], tuple[Region]]:
        return Evaluation, (self.region,)

    def __call__(self, state: Any) -> tuple[float, np.ndarray]:
        """Energy and forces at the positions of a ``State``."""
        positions = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
        if self.region.box:
            box = state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.angstrom)
            if not self.region.cell:
                positions = whole(positions, box, self._reach)
        atoms = self.region.at(positions)
        if self.region.cell:
            atoms.cell = box
        with self._lock:
            (found,) = self._batch.follow([atoms])
            if self.region.events is not None:
                self._record(self.region.events, state)
        return found.energy * EV, found.forces * (EV * NM)

    def _record(self, file: str, state: Any) -> None:
        """Append new events to the file, with indices of the topology."""
        log = self._replica.log
        if log.n_events == self._seen:
            return
        step, time = state.getStepCount(), state.getTime().value_in_unit(unit.picosecond)
        new, self._seen = log.after(self._seen), log.n_events
        with Path(file).open("a", encoding="utf-8") as opened:
            for event in new:
                atoms = tuple(self.region.indices[atom] for atom in event.atoms)
                opened.write(event_line(replace(event, step=step, atoms=atoms), time))


def whole(positions: np.ndarray, box: np.ndarray, reach: float) -> np.ndarray:
    """The images of atoms that are next to each other, whatever their wrapping.

    Nearest images are found by rounding fractional coordinates, which is exact for distances below
    half of the width of the box. Atoms are joined along their minimum spanning tree.

    Parameters
    ----------
    positions : (N, 3) Angstrom.
    box : (3, 3) Angstrom, box vectors as rows.
    reach : Angstrom; closer pairs must be next to each other in the result.

    Returns
    -------
    Positions (N, 3) Angstrom; the given ones if all pairs are nearest images already.

    Raises
    ------
    ValueError : pairs within the reach are not, because the atoms reach around the box.
    """
    fractional = np.linalg.solve(box.T, positions.T).T
    if np.ptp(fractional, axis=0).max() < 0.5:
        return positions
    apart = fractional[None] - fractional[:, None]  # ij: from i to j
    apart -= np.round(apart)
    apart = apart @ box
    distances = np.linalg.norm(apart, axis=-1)
    joined = positions.copy()
    order, before = breadth_first_order(minimum_spanning_tree(distances), 0, directed=False)
    for atom in order[1:]:
        joined[atom] = joined[before[atom]] + apart[before[atom], atom]
    away = np.abs(joined[None] - joined[:, None] - apart).max(axis=-1)
    if (wrong := (away > 1e-3) & (distances < reach)).any():
        one, other = np.argwhere(wrong)[0].tolist()
        raise ValueError(
            f"expected a molecule that fits into the box, got one that reaches around it (atoms "
            f"{one} and {other} of the molecule): use a larger box, or createSystem for a "
            "periodic system"
        )
    return joined


def _number(atom: Any) -> int:
    """Atomic number of an atom of a topology."""
    if atom.element is None:
        raise UnsupportedSystem(f"expected atoms with an element, got {atom}")
    return int(atom.element.atomic_number)


def _check_charges(system: Any, indices: Iterable[int], charge: int) -> None:
    """Raise UnsupportedSystem if the force field gives the region another charge.

    A region with link atoms has a part of a molecule only, whose charge need not be whole.
    """
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            if any(system.isVirtualSite(index) for index in indices):
                return
            charges = [force.getParticleParameters(index)[0]._value for index in indices]
            if abs(sum(charges) - charge) > 0.5:
                raise UnsupportedSystem(
                    f"expected charge={charge} of the atoms, got {sum(charges):+.2f} e in the "
                    "force field: give both the same charge"
                )


def _keep_molecules(topology: Any, system: Any, indices: set[int]) -> None:
    """Let OpenMM know which atoms are a molecule, by bonds without energy.

    A barostat moves molecules as a whole, and wrapped positions keep them together.
    """
    force = openmm.CustomBondForce("0")
    force.setName("SE3SetMolecules")
    for one, other in topology.bonds():
        if {one.index, other.index} <= indices:
            force.addBond(one.index, other.index)
    if force.getNumBonds():
        system.addForce(force)
