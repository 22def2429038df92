"""The ASE calculator: translates between ASE and :class:`se3set_ase.potential.Potential`."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import (
    CalculatorSetupError,
    InputError,
    all_changes,
    external_calculators,
    register_calculator_class,
)

from se3set_ase._lock import Lock
from se3set_ase.baseline import CalculatorFactory
from se3set_ase.checkpoint.metadata import DEFAULT_MODEL
from se3set_ase.derivatives import Derivatives
from se3set_ase.events.log import Event, EventLog
from se3set_ase.hypergraph.weighted import WeightedHypergraph
from se3set_ase.io.text import warn_each_time
from se3set_ase.nn.compiled import CompilationError
from se3set_ase.pipeline import Replica, advance
from se3set_ase.potential import Potential, Prediction, Scatter
from se3set_ase.prediction import PROPERTIES
from se3set_ase.system import check_order, declared_charge_and_spin
from se3set_ase.uncertainty.committee import NoCommittee

if TYPE_CHECKING:
    from rdkit.Chem import Mol

SHARED = (
    "several threads use one calculator: they wait for each other, and its attributes are those of "
    "the last calculation in any thread. Make a calculator for each thread"
)


class SE3SetCalculator(Derivatives):
    """Energies and forces of a trained SE3Set potential, refragmented at every step.

    Results: ``energy`` and ``free_energy`` (eV), ``energies`` (eV, per atom), ``forces``
    (eV/Angstrom), and of periodic cells ``stress`` (eV/Angstrom^3), all from one pass. A model that
    is a correction to another method, its baseline, has the sum of both, with ``charges`` (e) and
    ``dipole`` (e Angstrom) of the baseline; one with charges has its own. Threads
    that share a calculator wait for each other: methods return what belongs to the given atoms,
    but attributes are those of the last calculation in any thread.

    Parameters
    ----------
    model : name of a bundled model (``se3set-ase models`` lists them), or path of a model folder;
        ``organic`` by default, for neutral closed-shell molecules of H, C, N, O, F, S and Cl.
    device : ``"auto"`` (CUDA if there is one, else CPU), ``"cpu"``, ``"cuda"``, ...
    dtype : precision of the network, ``"float64"`` or ``"float32"``.
    charge, spin_multiplicity : charge and spin of the molecule; the model must know them.
    refragment : ``"smooth"``; ``"frozen"`` keeps the fragments of the first call (energies then
        depend on where a run began; it warns when the bonds change); ``"hard"`` decides each bond
        and reach in the middle of its range, and warns: the energy jumps (for comparison only).
    molecule : an RDKit molecule with all hydrogens and the same order of atoms. Its bond orders
        replace the perceived ones. Bundled models were trained with perceived bond orders, so
        expect larger errors if they differ.
    skin : Angstrom, margin of the neighbour lists; affects speed, never the energy.
    scatter : ``"native"`` or ``"torch_scatter"`` (an extra), implementation of sums over members.
    compile : compile the model: from 1.5 times (1000 atoms) to 6 times (10 atoms) faster. Takes a
        minute or two, once for each model and dtype on a computer, and serves all molecules;
        ``"background"`` does not wait for it. Needs a C++ compiler.
    baseline : see :class:`se3set_ase.Potential`; not needed for corrections to GFN2-xTB.
    **kwargs : passed to :class:`ase.calculators.calculator.Calculator`.

    Raises
    ------
    FileNotFoundError, CheckpointError : the model does not exist or is damaged.
    CalculatorSetupError : an unknown option, or compile=True is not possible.
    ImportError : torch-scatter, or the program of the baseline, is not installed.
    InputError : on calculation, for unsupported systems: other elements, charges or spins, cells
        with a baseline or compiled code, charged or partly periodic cells with electrostatics, no
        atoms, NaN, coincident atoms.
    PropertyNotImplementedError : stress without three cell vectors and a periodic direction.
    CalculationFailed : on calculation, the baseline method failed.
    """

    name = "se3set"
    implemented_properties: Sequence[str] = PROPERTIES
    default_parameters: Mapping[str, Any] = {
        "device": "auto",
        "dtype": "float64",
        "charge": 0,
        "spin_multiplicity": 1,
        "refragment": "smooth",
        "skin": 0.5,
        "scatter": "native",
        "compile": False,
    }
    #: An isolated molecule has no cell; :meth:`check_state` compares that of a periodic system.
    ignored_changes = frozenset({"cell"})

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        device: str = "auto",
        dtype: Literal["float64", "float32"] = "float64",
        charge: int = 0,
        spin_multiplicity: int = 1,
        refragment: Literal["smooth", "frozen", "hard"] = "smooth",
        molecule: Mol | None = None,
        skin: float = 0.5,
        scatter: Scatter = "native",
        compile: bool | Literal["background"] = False,
        baseline: CalculatorFactory | None = None,
        **kwargs: Any,
    ):
        bond_orders = None
        if molecule is not None:
            from se3set_ase.hypergraph.fragments import bond_orders_of

            if not hasattr(molecule, "GetBonds"):
                raise CalculatorSetupError(f"expected an RDKit molecule, got {molecule!r}")
            bond_orders = bond_orders_of(molecule)
        self._molecule_numbers = molecule and [a.GetAtomicNum() for a in molecule.GetAtoms()]
        frozen = refragment == "frozen"
        try:
            self.potential = Potential(
                model,
                device=device,
                dtype=dtype,
                refragment="smooth" if refragment == "frozen" else refragment,
                scatter=scatter,
                compile=compile,
                baseline=baseline,
            )
            if self.potential.baseline is not None or self.potential.model.has_charges:
                self.implemented_properties = [*self.implemented_properties, "charges", "dipole"]
            self._replica = Replica(
                self.potential, skin=skin, bond_orders=bond_orders, frozen=frozen
            )
            _ = self.potential.committee  # raises if it is damaged
        except (TypeError, ValueError) as error:
            if type(error) not in (TypeError, ValueError, CompilationError):
                raise  # the error of the checkpoint says more
            raise CalculatorSetupError(str(error)) from error
        self._prediction: Prediction | None = None
        self._lock = Lock(SHARED)
        super().__init__(
            model=os.fspath(model),
            device=str(device),
            dtype=dtype,
            charge=charge,
            spin_multiplicity=spin_multiplicity,
            refragment=refragment,
            skin=skin,
            scatter=scatter,
            compile=compile,
            **kwargs,
        )
        if refragment == "hard":
            warnings.warn(
                "refragment='hard': the energy jumps whenever the hypergraph changes; "
                "for comparison only",
                UserWarning,
                stacklevel=2,
            )

    def set(self, **kwargs: Any) -> dict[str, Any]:
        """Change ``charge`` or ``spin_multiplicity``; all other parameters are fixed.

        Raises
        ------
        CalculatorSetupError : for other parameters; make a new calculator instead.
        """
        known = {"model", *self.default_parameters}
        if unknown := set(kwargs) - known:
            raise CalculatorSetupError(
                f"expected parameters among {sorted(known)}, got {sorted(unknown)}"
            )
        if "model" in self.parameters:
            fixed = set(kwargs) - {"charge", "spin_multiplicity"}
            if any(self.parameters[k] != kwargs[k] for k in fixed):
                raise CalculatorSetupError(
                    "expected charge or spin_multiplicity to be set, got "
                    f"{sorted(fixed)}: make a new calculator for those"
                )
        for key in ("charge", "spin_multiplicity"):
            if not isinstance(kwargs.get(key, 0), int | np.integer):
                raise CalculatorSetupError(f"expected a whole number as {key}, got {kwargs[key]!r}")
        with self._lock:
            changed = super().set(**kwargs)
            if changed:
                self.reset()
        return changed

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """ASE's comparison, extended by charge and spin in ``atoms.info``, and by cells."""
        changed = list(super().check_state(atoms, tol=tol))
        if atoms.pbc.any() and not changed and not np.allclose(atoms.cell, self.atoms.cell, 0, tol):
            changed.append("cell")
        try:
            declared = declared_charge_and_spin(atoms)
            if not changed and declared != declared_charge_and_spin(self.atoms):
                changed.append("info")
        except ValueError:  # calculate() raises the error
            changed.append("info")
        return changed

    def get_property(
        self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True
    ) -> Any:
        """As in ASE, with errors as in the class docstring."""
        with self._lock:  # until the result is read: ASE stores it in an attribute
            return super().get_property(name, atoms, allow_calculation)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Fill :attr:`results`; errors as in the class docstring."""
        with self._lock:
            # If anything below raises, no result of an earlier geometry may remain.
            self.results, self._prediction = {}, None
            super().calculate(atoms, properties, system_changes)
            if self.atoms is None:
                raise InputError("expected atoms to calculate, got none")
            self._refragment(self._replica, self.atoms)
            (self._prediction,), remarks = advance([self._replica])
            self.results = self._prediction.results
            for remark in remarks:
                warn_each_time(remark)

    def __copy__(self) -> SE3SetCalculator:
        other = self.__class__.__new__(self.__class__)
        other.__dict__.update(self.__dict__)
        other._replica = copy.copy(self._replica)
        return other

    def _refragment(self, replica: Replica, atoms: Atoms) -> None:
        replica.charge = self.parameters["charge"]
        replica.spin_multiplicity = self.parameters["spin_multiplicity"]
        try:
            if self._molecule_numbers is not None:
                check_order(atoms, self._molecule_numbers)
            replica.refragment(atoms)
        except ValueError as error:
            raise InputError(str(error)) from error

    @property
    def prediction(self) -> Prediction | None:
        """The last prediction; None if there is none or the calculation failed."""
        return self._prediction

    @property
    def hypergraph(self) -> WeightedHypergraph | None:
        """The hypergraph of the last geometry; None if there is none or the calculation failed."""
        return None if self._prediction is None else self._prediction.hypergraph

    def seen_at(self, atoms: Atoms) -> WeightedHypergraph:
        """The hypergraph of a geometry, without an effect on the log; errors as of calculations."""
        with self._lock:
            aside = self._replica.aside()
            self._refragment(aside, atoms)
            # Without a baseline, which has no effect on the hypergraph.
            (found,) = self.potential.evaluate(
                [aside.hypergraph], [aside.positions], [aside.state[0]], [aside.cell]
            )
        return found.hypergraph

    @property
    def fragment_energies(self) -> list[tuple[tuple[int, ...], float]] | None:
        """Atoms and energy (eV) of every fragment at the last geometry; they add up to the total
        (to the correction, if a baseline has no energies of atoms). None if there is none.
        """
        if self._prediction is None:
            return None
        return self._prediction.hypergraph.fragment_energies(self._prediction.energies)

    @property
    def energy_uncertainty(self) -> float | None:
        """Expected error of the energy at the last geometry, eV; None if there is none.

        It is an error against labels of the model's own level of theory: what that level gets
        wrong, all members get wrong alike. The :class:`.Committee` of the model is evaluated on
        request. It is not in :attr:`results`, because ASE's files accept only known names.

        Raises
        ------
        NoCommittee : a PropertyNotImplementedError; the model has no committee.
        """
        found = self._uncertainties()
        return found and found[0]

    @property
    def forces_uncertainty(self) -> np.ndarray | None:
        """Expected length of the error of the force on each atom, (N,) eV/Angstrom."""
        found = self._uncertainties()
        return found and found[1].copy()

    def _uncertainties(self) -> tuple[float, np.ndarray] | None:
        committee, replica = self.potential.committee, self._replica
        if committee is None:
            raise NoCommittee(
                f"expected a model with a committee, got {self.potential.metadata.name!r}, "
                "which has none"
            )
        with self._lock:
            if self._prediction is None:
                return None
            if replica.uncertainty is None:
                (replica.uncertainty,) = committee.uncertainties([self._prediction])
            return replica.uncertainty

    @property
    def events(self) -> list[Event]:
        """The refragmentation log: changes between calculations, also of images that take turns.

        ``reset`` keeps it. :class:`.EventObserver` records the steps of a run.
        """
        return self._replica.log.events

    @property
    def event_log(self) -> EventLog:
        """The log behind :attr:`events`, without a copy."""
        return self._replica.log


# For lookups by name with ase.calculators.calculator.get_calculator_class.
if SE3SetCalculator.name not in external_calculators:  # a module may be reloaded
    register_calculator_class(SE3SetCalculator.name, SE3SetCalculator)
