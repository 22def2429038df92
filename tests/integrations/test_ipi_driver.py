"""i-PI moves the beads of a path integral on our surface: the real program, over its socket."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import read, write
from untrained import Make, save_committee

from se3set_ase import SE3SetCalculator
from se3set_ase.integrations import ipi_driver
from se3set_ase.integrations.ipi_driver import SE3SetDriver
from se3set_ase.potential import UnsupportedSystem

EXAMPLE = Path(__file__).parents[2] / "examples" / "10_path_integral.py"
SAME = 1e-9  # relative: the same positions, units apart
PRINTED = 2e-5  # eV: i-PI prints nine digits of some 9400 eV
FLAT = 0.01  # spread of the conserved quantity, over that of the potential energy


def test_without_ipi_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipi.pes", None)
    without = runpy.run_path(ipi_driver.__file__)
    text = r'^SE3SetDriver needs i-PI: pip install "se3set-ase\[ipi\]"$'
    with pytest.raises(ImportError, match=text):
        without["SE3SetDriver"]("molecule.xyz", "acac")


units = pytest.importorskip("ipi.utils.units", reason="i-PI is not installed: extra ipi")


def in_bohr(atoms: Atoms) -> np.ndarray:
    return units.unit_to_internal("length", "angstrom", atoms.positions)


@pytest.fixture
def driver(saved: Path, tmp_path: Path) -> SE3SetDriver:
    write(tmp_path / "ethanol.xyz", molecule("CH3CH2OH"))
    return SE3SetDriver(tmp_path / "ethanol.xyz", saved, device="cpu")


def test_one_structure_or_many(driver: SE3SetDriver, make: Make) -> None:
    beads = [molecule("CH3CH2OH") for _ in range(3)]
    for seed, atoms in enumerate(beads):
        atoms.rattle(0.1, seed=seed)
    cell = 100 * np.eye(3)
    many = driver([cell] * 3, [in_bohr(atoms) for atoms in beads])
    assert len(many) == 3
    for atoms, found in zip(beads, many, strict=True):
        energy, forces, virial, extras = found
        atoms.calc = make()
        expected = units.unit_to_internal("energy", "electronvolt", atoms.get_potential_energy())
        assert energy == pytest.approx(expected, rel=SAME)
        expected = units.unit_to_internal("force", "ev/ang", atoms.get_forces())
        np.testing.assert_allclose(forces, expected, rtol=0, atol=SAME)
        assert virial.shape == (3, 3)
        assert not virial.any()
        assert extras == ""
        alone = driver(2 * cell, in_bohr(atoms))
        assert alone[0] == pytest.approx(energy, rel=SAME)
    assert np.ptp([found[0] for found in many]) > 1e-4
    assert len(driver.replicas.events) == 3


@pytest.mark.parametrize(
    ("atoms", "text"),
    [
        (molecule("NH3"), r"expected the elements H, C, O, .* got N"),
        (
            Atoms("H", cell=[9, 9, 9], pbc=True),
            r"expected an isolated molecule, got periodic boundaries \[True, True, True\]",
        ),
        (Atoms("H", info={"charge": 1}), r"expected charge 0, .* got 1"),
    ],
)
def test_what_is_refused(atoms: Atoms, text: str, saved: Path, tmp_path: Path) -> None:
    write(tmp_path / "template.xyz", atoms)
    with pytest.raises(UnsupportedSystem, match=text):
        SE3SetDriver(tmp_path / "template.xyz", saved)


def test_the_committee_warns(tmp_path: Path) -> None:
    folder, cell = save_committee(tmp_path / "model"), 100 * np.eye(3)
    ether, ethanol = molecule("CH3OCH3"), molecule("CH3CH2OH")
    for name, atoms in (("ether", ether), ("ethanol", ethanol)):
        write(tmp_path / f"{name}.xyz", atoms)
    driver = SE3SetDriver(tmp_path / "ether.xyz", folder, device="cpu")
    with pytest.warns(UserWarning, match=r"^molecule 0 and 1 more: .* not trained on .* O\(C,C\)"):
        driver([cell] * 2, [in_bohr(ether)] * 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        driver([cell] * 2, [in_bohr(ether)] * 2)  # once
        control = SE3SetDriver(tmp_path / "ethanol.xyz", folder, device="cpu")
        control([cell] * 2, [in_bohr(ethanol)] * 2)


BEADS, STEPS = 4, 20


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of i-PI: the example, with the bundled model."""
    folder = tmp_path_factory.mktemp("pimd")
    shutil.copy(EXAMPLE.with_name("acetylacetone.xyz"), folder)
    text, long = EXAMPLE.read_text(), "BEADS, STEPS = 16, 100"
    assert long in text
    script = folder / EXAMPLE.name
    script.write_text(text.replace(long, f"BEADS, STEPS = {BEADS}, {STEPS}"))
    done = subprocess.run(
        [sys.executable, script],
        cwd=folder,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr + (folder / "i-pi.log").read_text()
    return folder


def test_energies_are_the_calculators(ran: Path) -> None:
    printed = np.loadtxt(ran / "pimd.out")[:, 6:]
    assert printed.shape == (STEPS + 1, BEADS)
    calc = SE3SetCalculator("acac", device="cpu")
    for bead in range(BEADS):
        frames: Any = read(ran / f"pimd.beads_{bead}.extxyz", index=":")
        assert len(frames) == len(printed)
        energies = []
        for atoms in frames[::5]:
            atoms.pbc = False  # a molecule, in the cell that i-PI wants
            atoms.calc = calc
            energies.append(atoms.get_potential_energy())
        np.testing.assert_allclose(printed[::5, bead], energies, rtol=0, atol=PRINTED)
        assert np.ptp(energies) > 100 * PRINTED
    assert np.ptp(printed[-1]) > 100 * PRINTED  # the beads are at different places


SPOILED = """
from se3set_ase.integrations.ipi_driver import SE3SetDriver

__DRIVER_NAME__ = "spoiled"
__DRIVER_CLASS__ = "Spoiled"


class Spoiled(SE3SetDriver):
    def _compute(self, cells, positions):
        return [(e, 0.9 * f, v, x) for e, f, v, x in super()._compute(cells, positions)]
"""


def unevenness(folder: Path) -> float:
    """Spread of the conserved quantity, over that of the potential energy."""
    _, _, conserved, _, potential, *_ = np.loadtxt(folder / "pimd.out", unpack=True)
    assert np.std(potential) > 0.05
    return float(np.std(conserved) / np.std(potential))


def test_the_conserved_quantity_is_flat(ran: Path, tmp_path: Path) -> None:
    assert unevenness(ran) < FLAT
    # The control: the same again, with forces that are not the gradient.
    for name in ("input.xml", "start.xyz"):
        shutil.copy(ran / name, tmp_path)
    (tmp_path / "spoiled.py").write_text(SPOILED)
    found = re.search("<address>(.*)</address>", (ran / "input.xml").read_text())
    assert found
    programs, address = Path(sysconfig.get_path("scripts")), found[1]
    with subprocess.Popen(
        [sys.executable, programs / "i-pi", "input.xml"], cwd=tmp_path, stdout=subprocess.DEVNULL
    ) as server:
        while not Path(f"/tmp/ipi_{address}").exists():
            assert server.poll() is None
            time.sleep(0.1)
        options = ["-u", "-a", address, "-m", "custom", "-P", "spoiled.py"]
        options += ["-o", "start.xyz,model=acac,device=cpu"]
        try:
            subprocess.run(
                [sys.executable, programs / "i-pi-driver-py", *options],
                cwd=tmp_path,
                stdout=subprocess.DEVNULL,
                check=True,
                timeout=900,
            )
            server.wait(60)
        finally:
            server.terminate()
    assert unevenness(tmp_path) > 3 * FLAT
