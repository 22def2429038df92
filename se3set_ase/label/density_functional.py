"""Kohn-Sham density functional theory by PySCF, with density fitting."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import Bohr, Hartree

from se3set_ase.label.ecp_gradient import ecp_gradient
from se3set_ase.label.hirshfeld import hirshfeld_charges
from se3set_ase.label.protocol import Label, LabelError, charge_and_spin, check_overlap

#: Where the iteration begins: level of PySCF's grids, and Hartree.
COARSE_GRID, COARSE_TOLERANCE = 0, 1e-4
#: From saddle points of the unrestricted iteration; most need one.
DESCENTS = 8
#: Gap between occupied and virtual orbitals above which restricted orbitals are taken as stable
#: without an analysis, eV. Of bonds that are stretched (H2, F2, N2, HF) they become unstable at
#: 10 to 12 eV with wB97X-3c.
STABLE_GAP = 13.0
#: Lowest eigenvalue of the triplet Hessian, Hartree, up to which unrestricted orbitals are tried;
#: they become equal again where it is positive.
CURVATURE = 5e-3
#: Mixing of an occupied and a virtual orbital that an unrestricted iteration begins with.
ROTATION = 0.5
#: Below this <S^2> a singlet with orbitals of each spin is a restricted one.
NOT_MIXED = 1e-3


@dataclass(frozen=True, kw_only=True)
class Composite:
    """A published composite method: what it is made of.

    Attributes
    ----------
    functional : in PySCF's names, without its non-local part.
    basis : in the Basis Set Exchange's names, with its effective core potentials.
    auxiliary_basis : for density fitting, in PySCF's names.
    dispersion : name that DFT-D4 has the parameters under.
    """

    functional: str
    basis: str
    auxiliary_basis: str
    dispersion: str


#: wB97X-3c: M. Mueller, A. Hansen, S. Grimme, J. Chem. Phys. 158, 014103 (2023). wB97X-V without
#: VV10, D4 refitted, vDZP.
COMPOSITES: Mapping[str, Composite] = {
    "wB97X-3c": Composite(
        functional="wb97x-v",
        basis="Grimme vDZP",
        auxiliary_basis="def2-universal-jkfit",
        dispersion="wb97x-3c",
    )
}


@dataclass(frozen=True, kw_only=True)
class DensityFunctional:
    """A density functional in a basis, or a composite method.

    Attributes
    ----------
    level : ``FUNCTIONAL/BASIS`` in PySCF's names, or a name out of ``COMPOSITES``. Shells of d and
        f functions are spherical.
    charge, spin_multiplicity : of every molecule; None takes what each one declares, and a
        neutral singlet where it declares nothing.
    unrestricted : whether singlets may have different orbitals for each spin, so that a bond that
        breaks ends at its atoms. None does so where the restricted solution is not the lowest;
        the label says where. True begins with both, False never looks.
    grid_level : of the integration grid. Forces have the response of the grid, without which
        they miss the energy's gradient by 10 meV/Angstrom.
    energy_tolerance : at which the iteration ends, Hartree.
    """

    level: str
    charge: int | None = None
    spin_multiplicity: int | None = None
    unrestricted: bool | None = None
    grid_level: int = 3
    energy_tolerance: float = 1e-8

    @property
    def level_of_theory(self) -> str:
        """As it was asked for: ``wB97X/6-31G(d)``, ``wB97X-3c``."""
        return self.level

    def settings(self) -> dict[str, Any]:
        """Program, versions and every attribute."""
        parts = [f"pyscf {version('pyscf')}"]
        if composite := COMPOSITES.get(self.level):
            parts += [f"{p} {version(p)}" for p in ("pyscf-dispersion", "basis-set-exchange")]
        recipe = asdict(composite) if composite else {"density_fitting": True}
        return {"program": ", ".join(parts), **recipe, **asdict(self)}

    def __call__(self, atoms: Atoms) -> Label:
        """Label one geometry.

        Returns
        -------
        Label with energy, forces, dipole and Hirshfeld charges; ``dispersion_energy`` (eV, part of
        the energy) where the method has D4; ``unrestricted`` where the orbitals of the two spins
        of a singlet differ, with ``spin_squared`` (0 for a pure singlet).

        Raises
        ------
        LabelError : no convergence, no such charge and spin, an element without a basis.
        """
        state = charge_and_spin(atoms, self.charge, self.spin_multiplicity)
        check_overlap(atoms)
        molecule = build_molecule(self.level, atoms, *state)
        method = self._converged(molecule)
        density = method.make_rdm1()
        density = density.sum(axis=0) if density.ndim == 3 else density
        energy, forces = float(method.e_tot), self._forces(method, density)
        info: dict[str, Any] = {}
        if composite := COMPOSITES.get(self.level):
            from pyscf.dispersion.dftd4 import DFTD4Dispersion

            dispersion = DFTD4Dispersion(molecule, composite.dispersion).get_dispersion(grad=True)
            energy += float(dispersion["energy"])
            forces -= dispersion["gradient"]
            info["dispersion_energy"] = float(dispersion["energy"]) * Hartree
        if state[1] == 1 and np.ndim(method.mo_coeff) == 3:  # orbitals of each spin
            squared = float(method.spin_square()[0])
            if squared > NOT_MIXED:
                info |= {"unrestricted": True, "spin_squared": squared}
        return Label(
            energy=energy * Hartree,
            forces=forces * Hartree / Bohr,
            dipole=np.asarray(method.dip_moment(unit="AU", verbose=0)) * Bohr,
            charges=hirshfeld_charges(
                method, density, [_free_atom(self.level, s) for s in atoms.get_chemical_symbols()]
            ),
            info=info,
        )

    def check(self) -> None:
        """Raise ValueError if PySCF knows no such functional or basis."""
        from pyscf import dft, gto

        functional, _, basis = self.level.partition("/")
        try:
            with warnings.catch_warnings():  # that another package might know it
                warnings.simplefilter("ignore")
                if self.level not in COMPOSITES:
                    dft.libxc.parse_xc(functional)
                    gto.basis.load(basis, "H")
        except (KeyError, RuntimeError) as error:
            raise ValueError(
                f"expected a functional and a basis that PySCF knows, got {self.level}: {error}"
            ) from error

    def _converged(self, molecule: Any) -> Any:
        """The method with stable orbitals. Most of the iteration takes place on a coarse grid."""
        singlet = molecule.spin == 0
        method = self._on_coarse_grid(molecule, unrestricted=not singlet or bool(self.unrestricted))
        method.kernel()
        if singlet and self.unrestricted is None and _gap(method) < STABLE_GAP:
            if (density := _density_of_lower_spins(method)) is not None:
                method = self._on_coarse_grid(molecule, unrestricted=True)
                method.kernel(dm0=density)
                _leave_saddle_points(method)
        elif singlet and self.unrestricted:
            _leave_saddle_points(method)
        density = method.make_rdm1()
        method.grids.level, method.conv_tol = self.grid_level, self.energy_tolerance
        method.grids.reset()
        method.kernel(dm0=density)
        if not method.converged:  # second order: slower, and surer
            second = method.newton()
            _close_scratch_file(second)
            second.kernel(method.mo_coeff, method.mo_occ)
            if not second.converged:
                raise LabelError(f"expected convergence within {method.max_cycle} cycles, got none")
            for name in ("mo_coeff", "mo_occ", "mo_energy", "e_tot", "converged"):
                setattr(method, name, getattr(second, name))
        return method

    def _on_coarse_grid(self, molecule: Any, *, unrestricted: bool) -> Any:
        from pyscf import dft

        composite = COMPOSITES.get(self.level)
        functional = composite.functional if composite else self.level.partition("/")[0]
        method = (dft.UKS if unrestricted else dft.RKS)(molecule, xc=functional)
        method = method.density_fit(auxbasis=composite.auxiliary_basis if composite else None)
        if composite:
            method.nlc = 0  # VV10 would be added; an empty name does not switch it off
        _close_scratch_file(method)
        method.grids.level = min(COARSE_GRID, self.grid_level)
        method.conv_tol = COARSE_TOLERANCE
        return method

    def _forces(self, method: Any, density: np.ndarray) -> np.ndarray:
        """(N, 3), Hartree/Bohr."""
        from pyscf.grad import rhf

        gradient = method.nuc_grad_method()
        gradient.grid_response = True
        bare = method.mol.copy()
        bare._ecpbas = bare._ecpbas[:0]  # PySCF's gradient of these is slow; ours is added
        gradient.get_hcore = lambda mol=None: rhf.get_hcore(bare)
        gradient.hcore_generator = lambda mol=None: rhf.hcore_generator(gradient, bare)
        return -gradient.kernel() - ecp_gradient(method.mol, density)


def build_molecule(level: str, atoms: Atoms, charge: int, spin_multiplicity: int) -> Any:
    """``pyscf.gto.Mole`` with the basis of a level; LabelError for an element that it lacks."""
    from pyscf import gto

    symbols = atoms.get_chemical_symbols()
    basis: Any = level.partition("/")[2]
    potentials: Any = {}
    if composite := COMPOSITES.get(level):
        sets = {s: _basis_and_potential(composite.basis, s) for s in set(symbols)}
        basis = {s: functions for s, (functions, _) in sets.items()}
        potentials = {s: potential for s, (_, potential) in sets.items() if potential}
    return gto.M(
        atom=list(zip(symbols, atoms.positions.tolist(), strict=True)),
        unit="Angstrom",
        basis=basis,
        ecp=potentials,
        charge=charge,
        spin=spin_multiplicity - 1,
        verbose=0,
    )


@cache
def _free_atom(level: str, symbol: str) -> np.ndarray:
    """(n, n): density matrix of a spherically averaged Hartree-Fock atom."""
    from pyscf.scf import atom_hf

    atom = Atoms(symbol)
    molecule = build_molecule(level, atom, 0, 1 + int(atom.numbers[0]) % 2)
    with warnings.catch_warnings():  # it leaves a scratch file open and calls a deprecated function
        warnings.simplefilter("ignore")
        _, _, orbitals, occupations = atom_hf.get_atm_nrhf(molecule)[symbol]
        gc.collect()
    return (orbitals * occupations) @ orbitals.T


def _close_scratch_file(method: Any) -> None:
    """PySCF would leave it open until memory is short."""
    method.chkfile = None
    if (file := getattr(method, "_chkfile", None)) is not None:
        file.close()


def _gap(method: Any) -> float:
    """Between the highest occupied and the lowest virtual orbital, eV."""
    occupied = method.mo_occ > 0
    if occupied.all():
        return np.inf
    return float(method.mo_energy[~occupied].min() - method.mo_energy[occupied].max()) * Hartree


def _density_of_lower_spins(method: Any) -> np.ndarray | None:
    """(2, n, n) that an unrestricted iteration may begin with; None if the restricted is stable.

    Where the lowest eigenvalue of the triplet Hessian A + B is negative, orbitals of the two spins
    that are rotated in opposite directions have a lower energy (R. Seeger and J. A. Pople, J. Chem.
    Phys. 66, 3045 (1977), eq. 31). PySCF's own analysis also looks for complex orbitals, at twice
    the cost.
    """
    from pyscf import lib

    occupied = method.mo_occ > 0
    orbitals, energies = method.mo_coeff, method.mo_energy
    inside, outside = orbitals[:, occupied], orbitals[:, ~occupied]  # (n, i), (n, a)
    differences = energies[~occupied][:, None] - energies[occupied]  # (a, i)
    response = method.gen_response(singlet=False, hermi=1)

    def hessian(rotation: np.ndarray) -> np.ndarray:
        rotation = rotation.reshape(differences.shape)
        change = outside @ (2.0 * rotation) @ inside.T
        coupling = outside.T @ response(change + change.T) @ inside
        return (differences * rotation + coupling).ravel()

    guess = 1.0 / differences.ravel()
    guess[differences.argmin()] += 1.0
    lowest, rotation = lib.davidson(
        hessian, guess, lambda residual, value, _: residual / (differences.ravel() - value + 1e-6),
        tol=CURVATURE / 5.0, max_cycle=20, verbose=0,
    )  # fmt: skip
    if lowest > CURVATURE:
        return None
    amplitudes = ROTATION * rotation.reshape(differences.shape) / np.linalg.norm(rotation)
    densities = []
    for sign in (1.0, -1.0):
        turned = inside + sign * outside @ amplitudes
        overlap = np.eye(inside.shape[1]) + amplitudes.T @ amplitudes  # of the turned orbitals
        densities.append(turned @ np.linalg.solve(overlap, turned.T))
    return np.stack(densities)


def _leave_saddle_points(method: Any) -> None:
    """Follow instabilities of the orbitals until they are stable; LabelError if they never are.

    An iteration that begins with equal spins never tells them apart (R. Seeger and J. A. Pople,
    J. Chem. Phys. 66, 3045 (1977)).
    """
    for _ in range(DESCENTS):
        orbitals, _, stable, _ = method.stability(return_status=True)
        if stable:
            return
        method.kernel(dm0=method.make_rdm1(orbitals, method.mo_occ))
    raise LabelError(f"expected stable orbitals after {DESCENTS} descents, got none")


@cache
def _basis_and_potential(name: str, symbol: str) -> tuple[Any, Any]:
    """From the Basis Set Exchange; no potential (None) for light elements."""
    import basis_set_exchange
    from pyscf.gto.basis import parse_nwchem, parse_nwchem_ecp

    try:
        text = basis_set_exchange.get_basis(name, elements=symbol, fmt="nwchem", header=False)
    except KeyError as error:
        raise LabelError(f"{name} has no functions for {symbol}") from error
    functions, _, potential = text.partition("\nECP")
    return (
        parse_nwchem.parse(functions, symbol),
        parse_nwchem_ecp.parse(f"ECP{potential}", symbol) if potential else None,
    )
