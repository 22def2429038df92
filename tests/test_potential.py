"""Several molecules in one pass; what a model refuses; options."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from untrained import ATOMIC_ENERGIES, save_committee

from se3set_ase import Potential
from se3set_ase.checkpoint.metadata import CheckpointError
from se3set_ase.hypergraph.build import build_hypergraph
from se3set_ase.nn.graph import collate
from se3set_ase.potential import UnsupportedSystem
from se3set_ase.system import declared_charge_and_spin

SAME_ENERGY = 1e-10  # eV: alone and in a batch, float64
SAME_FORCES = 1e-9  # eV/Angstrom
SINGLE_ENERGY = 1e-3  # eV: float32 against float64
SINGLE_FORCES = 1e-3  # eV/Angstrom


@pytest.fixture(scope="module")
def potential(saved: Path) -> Potential:
    return Potential(saved, device="cpu")


def batch() -> list[Atoms]:
    """Different molecules, an isolated atom, duplicates and a partially broken bond."""
    broken = molecule("CH3CH2OH")
    broken.set_distance(2, 3, 0.97 * 1.37, fix=0)
    molecules = [molecule("H2O"), Atoms("O"), broken, molecule("C6H6"), molecule("H2O")]
    for k, atoms in enumerate(molecules[:4]):
        atoms.rattle(0.03, seed=k)
    return molecules


# --- Batches ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_batch_is_its_molecules(saved: Path, dtype: Any) -> None:
    potential = Potential(saved, device="cpu", dtype=dtype)
    tolerance = (SAME_ENERGY, SAME_FORCES) if dtype == "float64" else (SINGLE_ENERGY, SINGLE_FORCES)
    molecules = batch()
    together = potential.predict(molecules)
    assert len(together) == len(molecules)
    for atoms, prediction in zip(molecules, together, strict=True):
        (alone,) = potential.predict([atoms])
        assert prediction.energy == pytest.approx(alone.energy, abs=tolerance[0])
        assert np.allclose(prediction.forces, alone.forces, rtol=0, atol=tolerance[1])
        assert np.allclose(prediction.energies, alone.energies, rtol=0, atol=tolerance[0])
        assert prediction.hypergraph.bonds == alone.hypergraph.bonds
        assert prediction.hypergraph.fragments == alone.hypergraph.fragments
        assert prediction.hypergraph.hyperedges == alone.hypergraph.hyperedges
        assert prediction.forces.shape == (len(atoms), 3)
        assert prediction.energies.shape == (len(atoms),)
        assert type(prediction.energy) is float
        assert prediction.forces.dtype == prediction.energies.dtype == np.float64
    assert len(together[2].hypergraph.fragments) > 3  # the partially broken bond was in it


def test_molecules_of_a_batch_do_not_see_one_another(potential: Potential) -> None:
    molecules = batch()
    before = potential.predict(molecules)
    molecules[3].rattle(0.1, seed=9)
    after = potential.predict(molecules)
    for k in (0, 1, 2, 4):
        assert after[k].energy == before[k].energy  # to the last bit
        assert np.array_equal(after[k].forces, before[k].forces)
    assert abs(after[3].energy - before[3].energy) > 1e-3


def test_cross_gradients_of_a_batch_are_exactly_zero(potential: Potential) -> None:
    molecules, model = batch(), potential.model
    hypergraphs = [build_hypergraph(a.numbers, a.positions, model.hypergraph) for a in molecules]
    graph = collate(hypergraphs, model.species_of, model.hypergraph, dtype=torch.float64)
    r = torch.tensor(np.concatenate([a.positions for a in molecules]), requires_grad=True)
    energies = model(r, graph)
    for m in range(len(molecules)):
        mine = graph.molecule == m
        (gradient,) = torch.autograd.grad(energies[mine].sum(), r, retain_graph=True)
        assert not gradient[~mine].any()
        assert gradient[mine].any() == (m != 1)  # the control; the isolated atom feels nothing


def test_order_of_a_batch_does_not_matter(potential: Potential) -> None:
    molecules = batch()
    there = [p.energy for p in potential.predict(molecules)]
    back = [p.energy for p in potential.predict(molecules[::-1])]
    assert back[::-1] == pytest.approx(there, abs=SAME_ENERGY)
    assert len({round(e, 6) for e in there}) == 5


def test_no_molecules(potential: Potential) -> None:
    assert potential.predict([]) == []
    assert len(potential.predict([molecule("H2O")])) == 1


def test_energy_is_the_sum_of_the_energies(potential: Potential) -> None:
    for prediction in potential.predict(batch()):
        assert prediction.energies.sum() == pytest.approx(prediction.energy, abs=SAME_ENERGY)


def test_predictions_are_one_anothers_and_nobody_elses(potential: Potential) -> None:
    molecules = batch()
    copies = [a.copy() for a in molecules]
    first = potential.predict(molecules)
    kept = first[0].forces.copy(), first[1].forces.copy()
    second = potential.predict(molecules)
    first[0].forces[:] = 7.0
    assert np.array_equal(first[1].forces, kept[1])
    assert np.array_equal(second[0].forces, kept[0])
    molecules[0].numbers[0] = 6
    assert first[0].hypergraph.structure.numbers.tolist() == [8, 1, 1]
    molecules[0].numbers[0] = 8
    assert molecules == copies
    with pytest.raises(dataclasses.FrozenInstanceError):
        first[0].energy = 0.0  # type: ignore[misc]


def test_atoms_alone_have_their_atomic_energies(potential: Potential) -> None:
    for symbol, energy, spin in zip("HCO", ATOMIC_ENERGIES, (2, 3, 3), strict=True):
        ground = {"spin_multiplicity": spin}  # as ASE's molecule("O") declares it
        lone = Atoms(symbol, positions=[[5.0, -3.0, 100.0]], info=ground)
        (prediction,) = potential.predict([lone])
        assert prediction.energy == energy
        assert prediction.energies.tolist() == [energy]
        assert prediction.forces.tolist() == [[0.0, 0.0, 0.0]]
    (near,) = potential.predict([Atoms("CO", positions=[[0, 0, 0], [0, 0, 1.2]])])
    assert abs(near.energy - sum(ATOMIC_ENERGIES[1:])) > 0.01


# --- What is refused -------------------------------------------------------------------------

REFUSED = {
    "no atoms": (Atoms(), r"expected at least one atom, got none"),
    "periodic": (
        Atoms("H2", np.eye(3)[:2], cell=[5, 0, 5], pbc=[False, True, False]),
        r"expected linearly independent cell vectors in the periodic directions "
        r"\[False, True, False\], got \[\[0\.0, 0\.0, 0\.0\]\]",
    ),
    "element": (
        Atoms("NClH", positions=np.diag([1.0, 2.0, 3.0])),
        r"expected the elements H, C, O, which model 'tiny' was trained on, got N, Cl",
    ),
    "dummy": (Atoms("X"), r"which model 'tiny' was trained on, got X"),
    "charge": (
        Atoms("H", info={"charge": -1}),
        r"expected charge 0, which model 'tiny' was trained on, got -1",
    ),
    "spin": (
        Atoms("H2", positions=np.diag([0.0, 0.7])[:, [0, 0, 1]], info={"spin_multiplicity": 3}),
        r"expected spin_multiplicity 1, which model 'tiny' was trained on, got 3",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_system_the_model_does_not_cover(potential: Potential, name: str) -> None:
    atoms, text = REFUSED[name]
    with pytest.raises(UnsupportedSystem, match="^" + text if name != "dummy" else text):
        potential.predict([atoms])
    with pytest.raises(UnsupportedSystem, match="^molecule 1: .*" + text):
        potential.predict([molecule("H2O"), atoms, molecule("H2O")])
    assert issubclass(UnsupportedSystem, ValueError)


def test_charge_and_spin_as_arguments(potential: Potential) -> None:
    water = [molecule("H2O")]
    with pytest.raises(UnsupportedSystem, match=r"expected charge 0, .* got 1"):
        potential.predict(water, charge=1)
    with pytest.raises(UnsupportedSystem, match=r"expected spin_multiplicity 1, .* got 3"):
        potential.check(water[0], spin_multiplicity=3)
    potential.check(water[0], charge=0, spin_multiplicity=1)
    water[0].info["charge"] = 0  # what the atoms say comes first
    assert len(potential.predict(water, charge=1)) == 1


def test_a_geometry_that_is_none_names_its_molecule(potential: Potential) -> None:
    bad = molecule("H2O")
    bad.positions[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"^molecule 2: expected finite positions, .* atoms \[1\]"):
        potential.predict([molecule("H2O"), Atoms("O"), bad])


# --- Charge and spin that atoms declare ------------------------------------------------------


def declared(**changes: Any) -> dict[str, int]:
    atoms = Atoms("CO", positions=[[0, 0, 0], [0, 0, 1.1]])
    if "charges" in changes:
        atoms.set_initial_charges(changes.pop("charges"))
    if "magmoms" in changes:
        atoms.set_initial_magnetic_moments(changes.pop("magmoms"))
    atoms.info.update(changes)
    return dict(declared_charge_and_spin(atoms))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {}),
        ({"charge": 0}, {"charge": 0}),
        ({"charge": -2.0}, {"charge": -2}),
        ({"charge": np.int64(1)}, {"charge": 1}),
        ({"charge": np.array(1)}, {"charge": 1}),
        ({"charge": "1"}, {"charge": 1}),
        ({"spin_multiplicity": 3}, {"spin_multiplicity": 3}),
        ({"charges": [0.4, -0.4]}, {}),
        ({"charges": [0.0, 0.0]}, {}),
        ({"charges": [0.3, 0.699]}, {"charge": 1}),
        ({"charges": [0.5, 0.5], "charge": 0}, {"charge": 0}),  # said outright comes first
        ({"magmoms": [1.0, 1.0]}, {"spin_multiplicity": 3}),
        ({"magmoms": [-1.0, 0.0]}, {"spin_multiplicity": 2}),
        ({"magmoms": [1.0, -1.0]}, {}),
        ({"other": 5}, {}),
        ({"total_charge": 1, "charge": 1}, {"charge": 1}),
        ({"spin": 0, "mult": 3}, {"spin_multiplicity": 3}),
        ({"spin": "0"}, {}),
        ({"total_spin": 3}, {"spin_multiplicity": 3}),
        ({"total_spin": 0, "charge": -1}, {"charge": -1}),
        ({"Charge": -2, "MULT": 3}, {"charge": -2, "spin_multiplicity": 3}),
        ({"Spin": 0, "Charge": 1, "charge": 1}, {"charge": 1}),
    ],
)
def test_declared_charge_and_spin(changes: dict[str, Any], expected: dict[str, int]) -> None:
    assert declared(**changes) == expected


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"charge": 0.5}, r"expected a whole number as atoms\.info\['charge'\], got 0\.5"),
        ({"charge": "minus one"}, r"expected a number as atoms\.info\['charge'\], got 'minus one'"),
        ({"charge": None}, r"expected a number as atoms\.info\['charge'\], got None"),
        ({"charge": np.nan}, r"expected a number as atoms\.info\['charge'\], got nan"),
        ({"spin": np.array([1, 2])}, r"expected a number as atoms\.info\['spin'\], got array"),
        ({"charge": [1, 2]}, r"expected a number as atoms\.info\['charge'\], got \[1, 2\]"),
        (
            {"spin_multiplicity": 1.5},
            r"expected a whole number as atoms\.info\['spin_multiplicity'",
        ),
        (
            {"charge": 0, "total_charge": 1},
            r"expected one charge .* {'charge': 0, 'total_charge': 1}",
        ),
        ({"charge": 0, "Charge": 1}, r"expected one charge .* {'charge': 0, 'Charge': 1}"),
        ({"Charge": 0.5}, r"expected a whole number as atoms\.info\['Charge'\], got 0\.5"),
        ({"mult": 3, "spin": 1}, r"expected one spin_multiplicity in atoms.info, got {'mult': 3, "),
        ({"charges": [np.nan, 0.0]}, r"expected a number as the sum of the initial charges, got"),
        ({"magmoms": [np.inf, 0.0]}, r"expected a number as the sum of the initial magnetic"),
    ],
)
def test_declared_charge_and_spin_that_are_none(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(UnsupportedSystem, match=text):
        declared(**changes)


@pytest.mark.parametrize("key", ["net_charge", "uhf", "spin_mult", "NElectrons"])
def test_similar_keys_are_warned_of(key: str) -> None:
    text = rf"atoms.info\['{key}'\] is not read; use (charge|spin_mult)"
    with pytest.warns(UserWarning, match=text):
        assert declared(**{key: 1}) == {}


# --- Options ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"dtype": "float16"}, r"expected dtype 'float64' or 'float32', got 'float16'"),
        ({"dtype": torch.float64}, r"expected dtype 'float64' or 'float32', got torch\.float64"),
        ({"refragment": "never"}, r"expected refragment 'smooth' or 'hard' .*, got 'never'"),
        ({"device": "abacus"}, r"expected device 'cpu' or .*, got 'abacus'"),
        ({"device": "cuda"}, r"expected device 'cpu' or .*, got 'cuda'"),
    ],
)
def test_unknown_options(saved: Path, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Potential(saved, **options)


def test_auto_device_is_the_cpu_where_there_is_no_other(saved: Path) -> None:
    assert Potential(saved).model.device.type == "cpu"


def test_missing_and_broken_models(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no model 'nowhere': expected a bundled model"):
        Potential("nowhere")
    (tmp_path / "model.json").write_text("{")
    with pytest.raises(CheckpointError):
        Potential(tmp_path)


def test_single_precision_is_near_double(saved: Path) -> None:
    double = Potential(saved, device="cpu").predict(batch())
    single = Potential(saved, device="cpu", dtype="float32").predict(batch())
    for a, b in zip(double, single, strict=True):
        assert b.energy == pytest.approx(a.energy, abs=SINGLE_ENERGY)
        assert np.allclose(b.forces, a.forces, rtol=1e-4, atol=SINGLE_FORCES)
    assert any(a.energy != b.energy for a, b in zip(double, single, strict=True))


def test_hard_membership_differs_only_where_something_is_undecided(saved: Path) -> None:
    smooth, hard = (Potential(saved, device="cpu", refragment=r) for r in ("smooth", "hard"))  # type: ignore[arg-type]
    assert smooth.model.hypergraph.hard is False
    water, broken = batch()[4], batch()[2]
    assert hard.predict([water])[0].energy == pytest.approx(
        smooth.predict([water])[0].energy, abs=SAME_ENERGY
    )
    assert abs(hard.predict([broken])[0].energy - smooth.predict([broken])[0].energy) > 1e-4


def test_nothing_is_printed_or_warned(
    potential: Potential, capfd: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        potential.predict(batch())
    assert tuple(capfd.readouterr()) == ("", "")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_mixed_precision_of_the_caller_is_not_ours(saved: Path, dtype: Any) -> None:
    atoms = batch()[2]
    potential = Potential(saved, device="cpu", dtype=dtype)
    (expected,) = potential.predict([atoms])
    structure = expected.hypergraph.structure
    hessian = potential.hessian(structure, atoms.positions)
    with torch.autocast("cpu"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16  # the control
        (found,) = potential.predict([atoms])
        np.testing.assert_array_equal(potential.hessian(structure, atoms.positions), hessian)
    assert found.energy == expected.energy
    np.testing.assert_array_equal(found.forces, expected.forces)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_forces_inside_contexts_without_gradients(
    potential: Potential, saved: Path, context: Any
) -> None:
    atoms = batch()[2]
    (expected,) = potential.predict([atoms])
    with context():
        made_inside = Potential(saved, device="cpu")
        found = [p.predict([atoms])[0] for p in (potential, made_inside)]
        hessian = potential.hessian(expected.hypergraph.structure, atoms.positions)
    found += made_inside.predict([atoms])
    for prediction in found:
        np.testing.assert_array_equal(prediction.forces, expected.forces)
    assert np.abs(hessian).max() > 1.0
    assert np.abs(expected.forces).max() > 0.1


@pytest.mark.parametrize("name", ["CH3", "OH", "HCO"])
def test_refuses_an_odd_number_of_electrons(potential: Potential, name: str) -> None:
    radical = molecule(name)
    radical.set_initial_magnetic_moments(None)  # says nothing about itself
    n = int(radical.numbers.sum())
    with pytest.raises(UnsupportedSystem, match=f"an even number of electrons .*, got {n} of"):
        potential.predict([radical])
    hydrogen = Atoms([*radical.symbols, "H"], [*radical.positions, (5.0, 5.0, 5.0)])
    assert np.isfinite(potential.predict([hydrogen])[0].energy)


def test_an_isolated_atom_has_the_energy_of_an_atom(potential: Potential) -> None:
    (found,) = potential.predict([Atoms("H")])
    assert found.energy == pytest.approx(potential.metadata.atomic_energies[0], abs=1e-9)


# --- The committee ---------------------------------------------------------------------------


def test_the_committee_warns(tmp_path: Path) -> None:
    potential = Potential(save_committee(tmp_path), device="cpu")
    ethanol, ether = molecule("CH3CH2OH"), molecule("CH3OCH3")
    with pytest.warns(UserWarning, match=r"^model 'tiny' was not trained on .* O\(C,C\)"):
        expected = potential.predict([ether])[0].energy
    with pytest.warns(UserWarning, match=r"^molecule 1: model 'tiny' was not trained on"):
        potential.predict([ethanol, ether])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        potential.predict([ethanol])  # the control
        assert potential.predict([ether], warn=False)[0].energy == expected
