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

#: The SCF starts with a coarse PySCF grid and a loose energy threshold (Hartree).
COARSE_GRID, COARSE_TOLERANCE = 0, 1e-4
#: Maximum number of restarts of an unrestricted SCF from unstable solutions; most need one.
DESCENTS = 8
#: eV. Restricted orbitals with a larger HOMO-LUMO gap are considered stable without an analysis.
#: With wB97X-3c, those of stretched bonds (H2, F2, N2, HF) become unstable at 10 to 12 eV.
STABLE_GAP = 13.0
#: Hartree. Unrestricted orbitals are tried if the lowest eigenvalue of the triplet Hessian is below
#: this. If it is positive, they converge to the restricted solution.
CURVATURE = 5e-3
#: Initial mixing of occupied and virtual orbitals of an unrestricted SCF.
ROTATION = 0.5
#: A singlet with a smaller <S^2> has the restricted solution.
NOT_MIXED = 1e-3


@dataclass(frozen=True, kw_only=True)
class Composite:
    """The parts of a published composite method.

    Attributes
    ----------
    functional : name in PySCF, without the non-local part.
    basis : name in the Basis Set Exchange; its effective core potentials are used too.
    auxiliary_basis : name in PySCF of the basis for density fitting.
    dispersion : name of the parameters in DFT-D4.
    """

    functional: str
    basis: str
    auxiliary_basis: str
    dispersion: str


#: wB97X-3c: wB97X-V without VV10, with refitted D4 and the vDZP basis (M. Mueller, A. Hansen,
#: S. Grimme, J. Chem. Phys. 158, 014103 (2023)).
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
    level : ``FUNCTIONAL/BASIS`` with names of PySCF, or one of ``COMPOSITES``. The d and f
        functions are spherical.
    charge, spin_multiplicity : the same for all molecules, or None for what each molecule declares;
        a molecule that declares nothing is a neutral singlet.
    unrestricted : whether singlets may break spin symmetry, so that bonds dissociate into atoms.
        None does so if the restricted solution is unstable, and marks the label. True always
        starts with an unrestricted SCF; False is always restricted.
    grid_level : PySCF level of the integration grid. Forces include the response of the grid;
        without it they differ from the gradient of the energy by up to 10 meV/Angstrom.
    energy_tolerance : convergence threshold of the SCF, Hartree.
    """

    level: str
    charge: int | None = None
    spin_multiplicity: int | None = None
    unrestricted: bool | None = None
    grid_level: int = 3
    energy_tolerance: float = 1e-8

    @property
    def level_of_theory(self) -> str:
        """Name of the level, such as ``wB97X/6-31G(d)`` or ``wB97X-3c``."""
        return self.level

    def settings(self) -> dict[str, Any]:
        """Return the programs with their versions, and all attributes."""
        parts = [f"pyscf {version('pyscf')}"]
        if composite := COMPOSITES.get(self.level):
            parts += [f"{p} {version(p)}" for p in ("pyscf-dispersion", "basis-set-exchange")]
        recipe = asdict(composite) if composite else {"density_fitting": True}
        return {"program": ", ".join(parts), **recipe, **asdict(self)}

    def __call__(self, atoms: Atoms) -> Label:
        """Label one geometry.

        Returns
        -------
        Label with energy, forces, dipole and Hirshfeld charges. Its ``info`` has
        ``dispersion_energy`` (eV, included in the energy) if the method includes D4, and, for a
        singlet with broken spin symmetry, ``unrestricted`` and ``spin_squared`` (<S^2>, 0 for a
        pure singlet).

        Raises
        ------
        LabelError : the SCF does not converge; the number of electrons does not fit the spin
            multiplicity; atoms overlap; an element has no basis functions.
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
        if state[1] == 1 and np.ndim(method.mo_coeff) == 3:  # an unrestricted singlet
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
        """Raise ValueError if PySCF does not know the functional or the basis."""
        from pyscf import dft, gto

        functional, _, basis = self.level.partition("/")
        try:
            with warnings.catch_warnings():  # PySCF suggests other packages
                warnings.simplefilter("ignore")
                if self.level not in COMPOSITES:
                    dft.libxc.parse_xc(functional)
                    gto.basis.load(basis, "H")
        except (KeyError, RuntimeError) as error:
            raise ValueError(
                f"expected a functional and a basis that PySCF knows, got {self.level}: {error}"
            ) from error

    def _converged(self, molecule: Any) -> Any:
        """Converge the SCF to stable orbitals, mostly on a coarse grid."""
        from pyscf.scf import hf

        singlet, core = molecule.spin == 0, hf.get_hcore(molecule)
        unrestricted = not singlet or bool(self.unrestricted)
        method = self._on_coarse_grid(molecule, core, unrestricted=unrestricted)
        method.kernel()
        if singlet and self.unrestricted is None and _gap(method) < STABLE_GAP:
            if (density := _density_of_lower_spins(method)) is not None:
                method = self._on_coarse_grid(molecule, core, unrestricted=True)
                method.kernel(dm0=density)
                _leave_saddle_points(method)
        elif singlet and self.unrestricted:
            _leave_saddle_points(method)
        density = method.make_rdm1()
        method.grids.level, method.conv_tol = self.grid_level, self.energy_tolerance
        method.grids.reset()
        method.kernel(dm0=density)
        if not method.converged:  # a second-order SCF is slower and more robust
            second = method.newton()
            _close_scratch_file(second)
            second.kernel(method.mo_coeff, method.mo_occ)
            if not second.converged:
                raise LabelError(f"the SCF did not converge within {method.max_cycle} cycles")
            for name in ("mo_coeff", "mo_occ", "mo_energy", "e_tot", "converged"):
                setattr(method, name, getattr(second, name))
        return method

    def _on_coarse_grid(self, molecule: Any, core: np.ndarray, *, unrestricted: bool) -> Any:
        """An SCF that is to start; ``core`` is the core Hamiltonian, whose ECP part is slow."""
        from pyscf import dft

        composite = COMPOSITES.get(self.level)
        functional = composite.functional if composite else self.level.partition("/")[0]
        method = (dft.UKS if unrestricted else dft.RKS)(molecule, xc=functional)
        method = method.density_fit(auxbasis=composite.auxiliary_basis if composite else None)
        method.get_hcore = lambda *_: core
        if composite:
            method.nlc = 0  # switches VV10 off; an empty name does not
        _close_scratch_file(method)
        method.grids.level = min(COARSE_GRID, self.grid_level)
        method.conv_tol = COARSE_TOLERANCE
        return method

    def _forces(self, method: Any, density: np.ndarray) -> np.ndarray:
        """Compute forces (N, 3), Hartree/Bohr."""
        from pyscf.grad import rhf

        gradient = method.nuc_grad_method()
        gradient.grid_response = True
        bare = method.mol.copy()
        bare._ecpbas = bare._ecpbas[:0]  # PySCF's ECP gradient is slow; ecp_gradient replaces it
        gradient.get_hcore = lambda mol=None: rhf.get_hcore(bare)
        gradient.hcore_generator = lambda mol=None: rhf.hcore_generator(gradient, bare)
        return -gradient.kernel() - ecp_gradient(method.mol, density)


def build_molecule(level: str, atoms: Atoms, charge: int, spin_multiplicity: int) -> Any:
    """Build a ``pyscf.gto.Mole`` with the basis of a level; LabelError for an unknown element."""
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
    """Density matrix (n, n) of a spherically averaged Hartree-Fock atom."""
    from pyscf.scf import atom_hf

    atom = Atoms(symbol)
    molecule = build_molecule(level, atom, 0, 1 + int(atom.numbers[0]) % 2)
    with warnings.catch_warnings():  # PySCF leaves a file open and calls a deprecated function
        warnings.simplefilter("ignore")
        _, _, orbitals, occupations = atom_hf.get_atm_nrhf(molecule)[symbol]
        gc.collect()
    return (orbitals * occupations) @ orbitals.T


def _close_scratch_file(method: Any) -> None:
    """Close the scratch file, which PySCF leaves open until garbage collection."""
    method.chkfile = None
    if (file := getattr(method, "_chkfile", None)) is not None:
        file.close()


def _gap(method: Any) -> float:
    """Compute the HOMO-LUMO gap, eV."""
    occupied = method.mo_occ > 0
    if occupied.all():
        return np.inf
    return float(method.mo_energy[~occupied].min() - method.mo_energy[occupied].max()) * Hartree


def _density_of_lower_spins(method: Any) -> np.ndarray | None:
    """Initial densities (2, n, n) of an unrestricted SCF; None if the restricted one is stable.

    If the lowest eigenvalue of the triplet Hessian A + B is negative, rotating the orbitals of the
    two spins in opposite directions lowers the energy (R. Seeger and J. A. Pople, J. Chem. Phys.
    66, 3045 (1977), eq. 31). PySCF's stability analysis also considers complex orbitals and takes
    twice as long.
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
        rotated = inside + sign * outside @ amplitudes
        overlap = np.eye(inside.shape[1]) + amplitudes.T @ amplitudes  # of the rotated orbitals
        densities.append(rotated @ np.linalg.solve(overlap, rotated.T))
    return np.stack(densities)


def _leave_saddle_points(method: Any) -> None:
    """Follow instabilities of the orbitals to a stable solution; LabelError if none is found.

    An SCF that starts with the same orbitals for both spins keeps them equal (R. Seeger and
    J. A. Pople, J. Chem. Phys. 66, 3045 (1977)).
    """
    for _ in range(DESCENTS):
        orbitals, _, stable, _ = method.stability(return_status=True)
        if stable:
            return
        method.kernel(dm0=method.make_rdm1(orbitals, method.mo_occ))
    raise LabelError(f"the orbitals are still unstable after {DESCENTS} restarts of the SCF")


@cache
def _basis_and_potential(name: str, symbol: str) -> tuple[Any, Any]:
    """Basis functions of an element, and its effective core potential or None."""
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
