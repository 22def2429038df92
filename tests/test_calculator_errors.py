"""The right error with the right text, and no number of an earlier geometry left behind."""

from __future__ import annotations

import os
import pickle
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import CalculatorSetupError, InputError
from rdkit import Chem
from untrained import METADATA, Make, tiny_model

from se3set_ase import SE3SetCalculator
from se3set_ase.checkpoint.files import METADATA_FILE, WEIGHTS_FILE
from se3set_ase.checkpoint.metadata import CheckpointError
from se3set_ase.checkpoint.store import save_checkpoint

SAME_ENERGY = 1e-10  # eV


# --- Systems and geometries ------------------------------------------------------------------


def nan_position() -> Atoms:
    atoms = molecule("H2O")
    atoms.positions[1, 2] = np.nan
    return atoms


def infinite_position() -> Atoms:
    atoms = molecule("H2O")
    atoms.positions[2] = np.inf
    return atoms


def coincident() -> Atoms:
    atoms = molecule("H2O")
    atoms.positions[2] = atoms.positions[1]
    return atoms


def with_charges() -> Atoms:
    atoms = molecule("H2O")
    atoms.set_initial_charges([-0.4, 0.7, 0.7])
    return atoms


def with_moments() -> Atoms:
    atoms = molecule("H2O")
    atoms.set_initial_magnetic_moments([0.0, 0.0, 1.0])
    return atoms


def with_info(**info: Any) -> Callable[[], Atoms]:
    def make_it() -> Atoms:
        atoms = molecule("H2O")
        atoms.info.update(info)
        return atoms

    return make_it


BAD: dict[str, tuple[Callable[[], Atoms], type[Exception], str]] = {
    "no atoms": (Atoms, InputError, r"^expected at least one atom, got none$"),
    "NaN": (
        nan_position,
        InputError,
        r"^expected finite positions, got NaN or infinite ones for atoms \[1\]$",
    ),
    "infinite": (
        infinite_position,
        InputError,
        r"^expected finite positions, got NaN or infinite ones for atoms \[2\]$",
    ),
    "coincident": (
        coincident,
        InputError,
        r"^expected atoms apart from each other, got atoms 1 and 2 at a distance of 0 Angstrom$",
    ),
    "element": (
        lambda: molecule("NH3"),
        InputError,
        r"^expected the elements H, C, O, which model 'tiny' was trained on, got N$",
    ),
    "no element": (
        lambda: Atoms([8, 119], [[0, 0, 0], [0, 0, 1]]),
        InputError,
        r"^expected the elements H, C, O, which model 'tiny' was trained on, got Z=119$",
    ),
    "periodic": (
        lambda: Atoms("H2O", positions=np.eye(3), cell=[9, 9, 0], pbc=True),
        InputError,
        r"^expected linearly independent cell vectors in the periodic directions .*",
    ),
    "charge in info": (
        with_info(charge=-1),
        InputError,
        r"^expected charge 0, which model 'tiny' was trained on, got -1$",
    ),
    "initial charges": (
        with_charges,
        InputError,
        r"^expected charge 0, which model 'tiny' was trained on, got 1$",
    ),
    "spin in info": (
        with_info(spin_multiplicity=3),
        InputError,
        r"^expected spin_multiplicity 1, which model 'tiny' was trained on, got 3$",
    ),
    "spin in info, by other calculators' name": (
        with_info(spin=2),
        InputError,
        r"^expected spin_multiplicity 1, which model 'tiny' was trained on, got 2$",
    ),
    "magnetic moments": (
        with_moments,
        InputError,
        r"^expected spin_multiplicity 1, which model 'tiny' was trained on, got 2$",
    ),
    "half a charge": (
        with_info(charge=0.5),
        InputError,
        r"^expected a whole number as atoms\.info\['charge'\], got 0\.5$",
    ),
    "no charge": (
        with_info(charge="anion"),
        InputError,
        r"^expected a number as atoms\.info\['charge'\], got 'anion'$",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_the_error_and_nothing_stale(make: Make, name: str) -> None:
    build, kind, text = BAD[name]
    calculator = make()
    good = molecule("H2O")
    energy = calculator.get_potential_energy(good)
    n_events = len(calculator.events)
    bad = build()
    bad.calc = calculator
    calls: list[Callable[[], Any]] = [
        bad.get_potential_energy,
        bad.get_forces,
        lambda: calculator.calculate(bad),
        bad.get_potential_energy,  # asked again: still no number
        lambda: calculator.get_property("energy", bad),
        bad.get_potential_energies,
    ]
    for call in calls:
        with pytest.raises(kind, match=text):
            call()
        assert calculator.results == {}
        assert calculator.hypergraph is None
    assert calculator.get_property("energy", bad, allow_calculation=False) is None
    assert len(calculator.events) == n_events
    # The calculator is as good as before.
    assert calculator.get_potential_energy(good) == pytest.approx(energy, abs=SAME_ENERGY)
    assert calculator.hypergraph is not None


def test_a_failed_geometry_called_directly_leaves_nothing_stale(
    make: Make,
) -> None:
    """As drivers do that call calculate() themselves, past ASE's own reset."""
    calculator = make()
    calculator.calculate(molecule("H2O"))
    assert set(calculator.results) == {"energy", "free_energy", "energies", "forces"}
    bad = nan_position()
    with pytest.raises(InputError):
        calculator.calculate(bad)
    assert calculator.results == {}
    with pytest.raises(InputError, match="finite positions"):
        calculator.get_potential_energy(bad)


def test_an_error_of_the_network_leaves_nothing_stale(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    calculator, water = make(), molecule("H2O")
    energy = calculator.get_potential_energy(water)

    def out_of_memory(*_: object) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(calculator.potential, "evaluate", out_of_memory)
        moved = water.copy()
        moved.positions[0, 0] += 0.05
        with pytest.raises(RuntimeError, match="out of memory"):
            calculator.get_potential_energy(moved)
        assert calculator.results == {}
    assert calculator.get_potential_energy(moved) != energy
    assert calculator.get_potential_energy(water) == pytest.approx(energy, abs=SAME_ENERGY)


def test_info_that_turns_bad_afterwards(make: Make) -> None:
    water = molecule("H2O")
    water.calc = make()
    energy = water.get_potential_energy()
    for value, text in ((1, "expected charge 0"), (0.5, "whole number"), (None, "a number")):
        water.info["charge"] = value
        with pytest.raises(InputError, match=text):
            water.get_potential_energy()
        with pytest.raises(InputError, match=text):
            water.get_forces()
    water.info["charge"] = 0
    assert water.get_potential_energy() == energy
    del water.info["charge"]
    assert water.get_potential_energy() == energy


def test_no_atoms_given(make: Make) -> None:
    with pytest.raises(InputError, match=r"^expected atoms to calculate, got none$"):
        make().calculate()
    with pytest.raises(InputError, match=r"^expected atoms to calculate, got none$"):
        make().get_property("energy")


# --- Charge and spin as parameters -----------------------------------------------------------


def test_charge_and_spin_parameters(make: Make) -> None:
    water = molecule("H2O")
    for options, text in (
        ({"charge": 1}, r"^expected charge 0, which model 'tiny' was trained on, got 1$"),
        ({"spin_multiplicity": 2}, r"^expected spin_multiplicity 1, .* got 2$"),
    ):
        with pytest.raises(InputError, match=text):
            make(**options).get_potential_energy(water)
    calculator = make(charge=1)
    water.info["charge"] = 0  # what the atoms say comes first
    water.info["spin"] = 0  # unknown, by the convention of those who read this key
    assert np.isfinite(calculator.get_potential_energy(water))


def test_set_forgets_results_only_if_something_changed(
    make: Make,
) -> None:
    water = molecule("H2O")
    water.calc = make()
    energy = water.get_potential_energy()
    assert water.calc.set(charge=0) == {}
    assert water.calc.results["energy"] == energy
    assert water.calc.set(charge=1) == {"charge": 1}
    assert water.calc.results == {}
    with pytest.raises(InputError, match="expected charge 0"):
        water.get_potential_energy()
    water.calc.set(charge=0)
    assert water.get_potential_energy() == energy


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"dtype": "float32"}, r"expected charge or spin_multiplicity to be set, got \['dtype'\]"),
        ({"model": "other"}, r"got \['model'\]: make a new calculator for those"),
        ({"skin": 1.0, "refragment": "hard"}, r"got \['refragment', 'skin'\]"),
        ({"colour": "blue"}, r"expected parameters among \['charge', .*\], got \['colour'\]"),
        ({"colour": None}, r"expected parameters among \['charge', .*\], got \['colour'\]"),
    ],
)
def test_what_cannot_be_set(make: Make, changes: dict[str, Any], text: str) -> None:
    calculator = make()
    before = dict(calculator.parameters)
    with pytest.raises(CalculatorSetupError, match=text):
        calculator.set(**changes)
    assert dict(calculator.parameters) == before


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"dtype": "double"}, r"^expected dtype 'float64' or 'float32', got 'double'$"),
        (
            {"refragment": "off"},
            r"^expected refragment 'smooth' or 'hard' \(a calculator also takes 'frozen'\), "
            r"got 'off'$",
        ),
        ({"skin": -1.0}, r"^expected a skin of 0 Angstrom or more, got -1\.0$"),
        ({"skin": float("nan")}, r"^expected a skin of 0 Angstrom or more, got nan$"),
        ({"skin": "wide"}, r"^expected a skin of 0 Angstrom or more, got 'wide'$"),
        ({"charge": 0.5}, r"^expected a whole number as charge, got 0\.5$"),
        ({"spin_multiplicity": "1"}, r"^expected a whole number as spin_multiplicity, got '1'$"),
        ({"scatter": "segment"}, r"^expected scatter 'native' or 'torch_scatter', got 'segment'$"),
        ({"scatter": "by_hand"}, r"^expected scatter 'native' or 'torch_scatter', got 'by_hand'$"),
        ({"device": "abacus"}, r"^expected device 'cpu' or .*, got 'abacus'$"),
        ({"dytpe": "float32"}, r"^expected parameters among \['charge', .*\], got \['dytpe'\]$"),
    ],
)
def test_unknown_options(saved: Path, options: dict[str, Any], text: str) -> None:
    with pytest.raises(CalculatorSetupError, match=text):
        SE3SetCalculator(saved, **options)


def test_torch_scatter_that_is_not_installed(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_scatter", None)
    with pytest.raises(ImportError, match=r"install the extra `scatter`"):
        SE3SetCalculator(saved, scatter="torch_scatter")


# --- An RDKit molecule that does not fit -----------------------------------------------------


@pytest.mark.parametrize("smiles", ["O", "[H]O", "[H][H].O"])
def test_a_molecule_of_other_atoms(make: Make, smiles: str) -> None:
    mol = Chem.MolFromSmiles(smiles, sanitize=False)
    calculator = make(molecule=mol)
    with pytest.raises(
        InputError,
        match=rf"^expected the atoms of the given molecule, in its order \({mol.GetNumAtoms()} "
        r"atoms\), got H2O$",
    ):
        calculator.get_potential_energy(molecule("H2O"))
    fitting = make(molecule=Chem.AddHs(Chem.MolFromSmiles("O")))
    assert np.isfinite(fitting.get_potential_energy(molecule("H2O")))


# --- Files -----------------------------------------------------------------------------------


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "tiny"))


class Exploit:
    """Would leave a mark if anybody unpickled it."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.mark),))


def test_missing_model(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^no model 'no such model': expected a bundled"):
        SE3SetCalculator("no such model")
    with pytest.raises(FileNotFoundError, match=r"no model .*missing.*: expected a bundled model"):
        SE3SetCalculator(tmp_path / "missing")
    with pytest.raises((FileNotFoundError, CheckpointError), match=str(tmp_path)):
        SE3SetCalculator(tmp_path)  # an empty folder
    with pytest.raises(CheckpointError, match="expected a model name or path, got ''"):
        SE3SetCalculator("")


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_truncated_weights(folder: Path, keep: int) -> None:
    path = folder / WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=WEIGHTS_FILE):
        SE3SetCalculator(folder)


@pytest.mark.parametrize("keep", [0, 1, 100, -3])
def test_truncated_metadata(folder: Path, keep: int) -> None:
    path = folder / METADATA_FILE
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=METADATA_FILE):
        SE3SetCalculator(folder)


@pytest.mark.parametrize("file", [WEIGHTS_FILE, METADATA_FILE, "model.pt"])
def test_a_pickle_in_disguise_is_never_run(folder: Path, tmp_path: Path, file: str) -> None:
    mark = tmp_path / "mark"
    content = pickle.dumps(Exploit(mark))
    (folder / file).write_bytes(content)
    with pytest.raises(CheckpointError):
        SE3SetCalculator(folder / file)
    assert not mark.exists()
    pickle.loads(content)  # the control: it is live
    assert mark.exists()


def test_the_copy_that_was_broken_was_whole(folder: Path) -> None:
    """The control of all the tests of broken files."""
    assert np.isfinite(SE3SetCalculator(folder).get_potential_energy(molecule("H2O")))


def test_warns_of_a_molecule_that_the_model_never_saw(tmp_path: Path) -> None:
    metadata = replace(METADATA, formulas=("C2H6O", "CH4O"))
    save_checkpoint(tmp_path / "model", tiny_model(), metadata)
    water = molecule("H2O")
    water.calc = SE3SetCalculator(tmp_path / "model", device="cpu")
    with pytest.warns(
        UserWarning, match="trained on C2H6O, CH4O only, got H2O: .* not reliable"
    ) as w:
        water.get_potential_energy()
    assert len(w) == 1
    water.rattle(0.01)
    water.get_potential_energy()  # reported once; a warning is an error here
    other_order = water[[1, 0, 2]]
    other_order.calc = water.calc
    other_order.get_potential_energy()
    known = molecule("CH3OH")
    known.calc = water.calc
    known.get_potential_energy()
