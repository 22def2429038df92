"""Methods that give geometries their energies and forces. Each can be sent to another process."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple, Protocol

import numpy as np
from ase import Atoms
from ase.units import Bohr, Hartree

from se3set_ase.system import declared_charge_and_spin

#: By tblite, at its default accuracy.
TIGHT_BINDING = ("GFN1-xTB", "GFN2-xTB", "IPEA1-xTB")

#: Where the iteration begins: level of PySCF's grids, and Hartree.
COARSE_GRID, COARSE_TOLERANCE = 0, 1e-4
#: From saddle points of the unrestricted iteration; most need one.
DESCENTS = 8


class LabelError(RuntimeError):
    """A geometry that the method gives no trustworthy label for."""


class Label(NamedTuple):
    """What a method tells of a geometry."""

    energy: float
    """Total, eV."""
    forces: np.ndarray
    """(n, 3), eV/Angstrom."""


class Labeller(Protocol):
    """A method of quantum chemistry with its settings."""

    @property
    def level_of_theory(self) -> str:
        """Written beside each label."""

    def settings(self) -> dict[str, Any]:
        """All that a reader needs to make the labels again, versions included; JSON."""

    def __call__(self, atoms: Atoms) -> Label:
        """Label one geometry; LabelError, or what the program raises, where there is no label."""


@dataclass(frozen=True, kw_only=True)
class DensityFunctional:
    """Kohn-Sham density functional theory by PySCF, with density fitting.

    Attributes
    ----------
    functional, basis : in PySCF's names. Shells of d and f functions are spherical.
    charge, spin_multiplicity : of the molecule; restricted for singlets, else unrestricted.
    unrestricted : for singlets too, where a lower solution has other orbitals for each spin: so a
        bond that is torn ends at its atoms. Costs a few times as much.
    grid_level : of the integration grid. Forces have the response of the grid, without which
        they miss the energy's gradient by 10 meV/Angstrom.
    energy_tolerance : at which the iteration ends, Hartree.
    """

    functional: str
    basis: str
    charge: int = 0
    spin_multiplicity: int = 1
    unrestricted: bool = False
    grid_level: int = 3
    energy_tolerance: float = 1e-8

    @property
    def level_of_theory(self) -> str:
        """``wB97X/6-31G(d)``, as it was asked for."""
        return f"{self.functional}/{self.basis}"

    def settings(self) -> dict[str, Any]:
        """Program, versions and every attribute."""
        return {"program": f"pyscf {_version('pyscf')}", "density_fitting": True, **asdict(self)}

    def __call__(self, atoms: Atoms) -> Label:
        """Label one geometry; LabelError where the iteration does not converge."""
        from pyscf import dft, gto

        _check_declared(atoms, self.charge, self.spin_multiplicity)
        molecule = gto.M(
            atom=list(zip(atoms.get_chemical_symbols(), atoms.positions.tolist(), strict=True)),
            unit="Angstrom",
            basis=self.basis,
            charge=self.charge,
            spin=self.spin_multiplicity - 1,
            verbose=0,
        )
        restricted = self.spin_multiplicity == 1 and not self.unrestricted
        method = (dft.RKS if restricted else dft.UKS)(molecule, xc=self.functional).density_fit()
        try:
            # Most of the iteration on a coarse grid, its end on the fine one: a quarter cheaper.
            method.grids.level = min(COARSE_GRID, self.grid_level)
            method.conv_tol = COARSE_TOLERANCE
            method.kernel()
            if self.unrestricted:
                _leave_saddle_points(method)
            density = method.make_rdm1()
            method.grids.level, method.conv_tol = self.grid_level, self.energy_tolerance
            method.grids.reset()
            energy = method.kernel(dm0=density)
            if not method.converged:
                raise LabelError(f"expected convergence within {method.max_cycle} cycles, got none")
            gradient = method.nuc_grad_method()
            gradient.grid_response = True
            return Label(float(energy) * Hartree, -gradient.kernel() * Hartree / Bohr)
        finally:  # its scratch files, which it would leave open until memory is short
            for file in (method._chkfile, method.with_df._cderi_to_save):
                if hasattr(file, "close"):
                    file.close()


def _leave_saddle_points(method: Any) -> None:
    """Along what the orbitals are unstable to, until they are stable; LabelError if they stay not.

    An iteration that begins with equal spins never tells them apart (R. Seeger and J. A. Pople,
    J. Chem. Phys. 66, 3045 (1977)).
    """
    for _ in range(DESCENTS):
        orbitals, _, stable, _ = method.stability(return_status=True)
        if stable:
            return
        method.kernel(dm0=method.make_rdm1(orbitals, method.mo_occ))
    raise LabelError(f"expected stable orbitals after {DESCENTS} descents, got none")


@dataclass(frozen=True, kw_only=True)
class AnyCalculator:
    """Any ASE calculator, made anew for each geometry: nothing of one gets into the next.

    Attributes
    ----------
    calculator : ``module:Class``. arguments : that it is made with.
    level_of_theory : written beside each label.
    charge, spin_multiplicity : that the arguments tell it.
    """

    calculator: str
    level_of_theory: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    charge: int = 0
    spin_multiplicity: int = 1

    def settings(self) -> dict[str, Any]:
        """Program, version and every attribute."""
        package = self.calculator.split(".")[0].split(":")[0]
        return {"program": f"{package} {_version(package)}", **asdict(self)}

    def __call__(self, atoms: Atoms) -> Label:
        """Label one geometry; what the calculator raises goes through."""
        _check_declared(atoms, self.charge, self.spin_multiplicity)
        atoms = Atoms(atoms.numbers, atoms.positions)  # without magnetic moments and the like
        atoms.calc = self.make()(**self.arguments)
        return Label(float(atoms.get_potential_energy()), atoms.get_forces())

    def make(self) -> Any:
        """The class; ValueError if there is none."""
        module, _, name = self.calculator.partition(":")
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(
                f"expected MODULE:CLASS of an ASE calculator, got {self.calculator!r}: {error}"
            ) from error


def make_labeller(
    method: str,
    *,
    charge: int = 0,
    spin_multiplicity: int = 1,
    options: Mapping[str, Any] | None = None,
) -> Labeller:
    """The labeller that a user names.

    Parameters
    ----------
    method : ``FUNCTIONAL/BASIS`` (PySCF), ``GFN2-xTB`` and the like (tblite), or ``MODULE:CLASS``,
        any ASE calculator.
    charge, spin_multiplicity : of every molecule; those of an ASE calculator belong into the
        options, as ``charge`` and ``multiplicity`` or ``spin_multiplicity`` if it has these names:
        a frame that declares others than the labeller knows of gets no label.
    options : ``grid_level``, ``energy_tolerance``, ``unrestricted`` for PySCF; else arguments of
        the calculator.

    Raises
    ------
    ValueError : a method or an option that there is not, or a package that is not installed.
    """
    options = dict(options or {})
    state = {"charge": charge, "spin_multiplicity": spin_multiplicity}
    if ":" in method:
        if state != {"charge": 0, "spin_multiplicity": 1}:
            raise ValueError(f"expected charge and spin among the options of {method}, got {state}")
        told = options.get("multiplicity", options.get("spin_multiplicity", 1))
        calculator = AnyCalculator(
            calculator=method,
            level_of_theory=method,
            arguments=options,
            charge=options.get("charge", 0),
            spin_multiplicity=told,
        )
        calculator.make()
        return calculator
    by_name = {name.lower(): name for name in TIGHT_BINDING}
    if method.lower() in by_name:
        _needs("tblite")
        name = by_name[method.lower()]
        arguments = {
            "method": name,
            "charge": charge,
            "multiplicity": spin_multiplicity,
            "verbosity": 0,
            **options,
        }
        calculator = AnyCalculator(
            calculator="tblite.ase:TBLite", level_of_theory=name, arguments=arguments, **state
        )
        known = calculator.make().default_parameters
        if unknown := sorted(set(options) - set(known)):
            raise ValueError(f"expected options out of {', '.join(known)}, got {unknown}")
        return calculator
    functional, _, basis = method.partition("/")
    if not (functional and basis):
        raise ValueError(
            f"expected FUNCTIONAL/BASIS, one of {', '.join(TIGHT_BINDING)}, or MODULE:CLASS of an "
            f"ASE calculator, got {method!r}"
        )
    _needs("pyscf")
    try:
        labeller = DensityFunctional(
            functional=functional,
            basis=basis,
            charge=charge,
            spin_multiplicity=spin_multiplicity,
            **options,
        )
    except TypeError as error:
        raise ValueError(
            f"expected options grid_level, energy_tolerance and unrestricted, got {sorted(options)}"
        ) from error
    _known(labeller)
    return labeller


def _check_declared(atoms: Atoms, charge: int, spin_multiplicity: int) -> None:
    """LabelError for a geometry that says it is of another charge or spin than it would get."""
    wanted = {"charge": charge, "spin_multiplicity": spin_multiplicity}
    for name, value in declared_charge_and_spin(atoms).items():
        if wanted[name] != value:
            raise LabelError(f"expected {name} {wanted[name]}, which was asked for, got {value}")


def _known(labeller: DensityFunctional) -> None:
    """ValueError if PySCF knows no such functional or basis."""
    from pyscf import dft, gto

    try:
        with warnings.catch_warnings():  # that another package might know it
            warnings.simplefilter("ignore")
            dft.libxc.parse_xc(labeller.functional)
            gto.basis.load(labeller.basis, "H")
    except (KeyError, RuntimeError) as error:
        raise ValueError(
            f"expected a functional and a basis that PySCF knows, got "
            f"{labeller.level_of_theory}: {error}"
        ) from error


def _needs(package: str) -> None:
    try:
        importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"labels need the package {package!r}: pip install 'se3set-ase[label]'"
        ) from error


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "of unknown version"
