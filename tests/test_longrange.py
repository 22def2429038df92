"""Models with charges, electrostatics and dispersion: conservation, limits, derivatives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from scipy.spatial.transform import Rotation
from test_contract import LIGHT, LONG_RANGE
from untrained import METADATA

from se3set_ase import Potential, SE3SetCalculator
from se3set_ase.checkpoint.store import save_checkpoint
from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.integrations.replicas import Replicas
from se3set_ase.nn.longrange.config import LongRangeConfig
from se3set_ase.nn.longrange.electrostatics import coulomb
from se3set_ase.nn.model import SE3Set
from se3set_ase.nn.radial import COULOMB
from se3set_ase.simulate import relax_many
from se3set_ase.uncertainty.calibration import write_calibration

CONSERVED = 1e-10  # e
EXACT = 1e-10  # eV, eV/Angstrom
GRADIENT = 2e-6  # eV/Angstrom, central differences of STEP
STEP = 1e-4  # Angstrom


def made(long_range: LongRangeConfig = LONG_RANGE, seed: int = 11) -> SE3Set:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SE3Set(
            elements=(1, 6, 7, 8, 17),
            hypergraph=HypergraphConfig(),
            network=LIGHT,
            atomic_energies=(-10.0, -11.0, -12.0, -13.0, -14.0),
            shifts=(-2.0, -5.0, -4.0, -4.0, -1.0),
            long_range=long_range,
        ).double()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "charged"
    values = {**vars(METADATA), "charges": (-1, 0, 1)}
    save_checkpoint(path, made(), type(METADATA)(**values))
    return path


@pytest.fixture(scope="module")
def potential(folder: Path) -> Potential:
    return Potential(folder, device="cpu")


def glycine() -> Atoms:
    atoms = molecule("CH3CONH2")
    atoms.rattle(0.05, seed=2)
    return atoms


def side_by_side(first: Atoms, second: Atoms, apart: float) -> Atoms:
    """Two molecules, the centre of the second at this distance from that of the first."""
    other = second.copy()
    direction = np.array([0.48, 0.6, 0.64])
    other.positions += first.positions.mean(0) - other.positions.mean(0) + apart * direction
    return first + other


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_charges_add_up(folder: Path, dtype: str) -> None:
    potential = Potential(folder, device="cpu", dtype=dtype)
    for charge in (-1, 0, 1):
        ion = side_by_side(molecule("NH3"), molecule("HCl"), 4.0)
        ion += Atoms("H", [ion.positions[0] + (0.0, 0.0, 2.0)])
        atoms = ion if charge else ion[:-1]
        (found,) = potential.predict([atoms], charge=charge)
        assert found.charges is not None
        assert found.charges.sum() == pytest.approx(charge, abs=CONSERVED)
        assert np.ptp(found.charges) > 0.01


def test_charge_is_an_argument_of_the_energy(potential: Potential) -> None:
    atoms = molecule("NH3") + Atoms("H", [[0.0, 0.0, 1.5]])
    cation, anion = (potential.predict([atoms], charge=q)[0] for q in (1, -1))
    assert abs(cation.energy - anion.energy) > 0.1
    assert np.abs(cation.forces - anion.forces).max() > 0.01


def test_results_of_ase_have_charges_and_a_dipole_that_turns(folder: Path) -> None:
    atoms = glycine()
    atoms.calc = SE3SetCalculator(folder)
    charges, dipole = atoms.get_charges(), atoms.get_dipole_moment()
    np.testing.assert_allclose(dipole, charges @ atoms.positions, atol=1e-12)
    assert np.linalg.norm(dipole) > 0.01
    turn = Rotation.random(rng=3).as_matrix()
    turned = atoms.copy()
    turned.positions = atoms.positions @ turn.T + [5.0, -3.0, 2.0]
    turned.calc = atoms.calc
    np.testing.assert_allclose(turned.get_charges(), charges, atol=CONSERVED)
    np.testing.assert_allclose(turned.get_dipole_moment(), dipole @ turn.T, atol=1e-9)


@pytest.mark.parametrize("charge", [0, 1])
def test_forces_and_second_derivatives(folder: Path, charge: int) -> None:
    atoms = glycine()
    if charge:
        atoms += Atoms("H", [atoms.positions[1] + (0.0, 0.3, 2.5)])
    atoms.info["charge"] = charge
    calc = atoms.calc = SE3SetCalculator(folder)
    forces, hessian = atoms.get_forces(), calc.get_hessian(atoms)
    for k in range(0, 3 * len(atoms), 4):
        found = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.calc = calc
            moved.positions.flat[k] += sign * STEP
            found.append((moved.get_potential_energy(), moved.get_forces().ravel()))
        (e_up, f_up), (e_down, f_down) = found
        assert forces.flat[k] == pytest.approx(-(e_up - e_down) / (2 * STEP), abs=GRADIENT)
        row = -(f_up - f_down) / (2 * STEP)
        np.testing.assert_allclose(hessian[k], row, atol=1e-4)
    assert np.abs(forces).max() > 0.1


def test_neutral_molecules_interact_as_their_dipoles(tmp_path: Path, potential: Potential) -> None:
    """The form of the contract for distant molecules: the tail of the electrostatics alone.

    It needs molecules in which the network finds no ionic group.
    """
    first, second = glycine(), molecule("H2O")
    control, _ = potential.predict([first, second])
    (both,) = potential.predict([side_by_side(first, second, 60.0)])
    assert np.abs(both.charges[:9] - control.charges).max() > 1e-3  # ionic groups everywhere
    model = made()
    with torch.no_grad():
        model.long_range.charges.readout.weight[0] *= 0.01
    save_checkpoint(tmp_path, model, METADATA)
    potential = Potential(tmp_path, device="cpu")
    alone = potential.predict([first, second])

    def interaction(apart: float) -> float:
        (both,) = potential.predict([side_by_side(first, second, apart)])
        # Charges of neutral molecules do not depend on each other.
        expected = np.concatenate([p.charges for p in alone])
        np.testing.assert_allclose(both.charges, expected, atol=CONSERVED)
        return both.energy - sum(p.energy for p in alone)

    near, far = interaction(60.0), interaction(120.0)
    assert abs(near) > 1e-7
    assert near / far == pytest.approx(8.0, rel=0.15)


def test_dispersion_alone_falls_with_the_sixth_power(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, made(LongRangeConfig(dispersion=True)), METADATA)
    potential = Potential(tmp_path, device="cpu")
    first, second = Atoms("O"), Atoms("O")
    alone = sum(p.energy for p in potential.predict([first, second]))

    def interaction(apart: float) -> float:
        pair = side_by_side(first, second, apart)
        return potential.predict([pair], warn=False)[0].energy - alone

    near, far = interaction(5.9), interaction(11.8)
    assert near < -1e-4
    assert near / far == pytest.approx(64.0, rel=0.1)
    assert interaction(30.0) == pytest.approx(0.0, abs=1e-12)


def test_an_ion_pair_separates_as_the_inverse_distance() -> None:
    charge = torch.tensor([1.0, -1.0], dtype=torch.float64)
    pair, one = torch.tensor([[0, 1]]), torch.ones(1, dtype=torch.float64)
    for apart in (5.0, 10.0, 40.0):
        distance = torch.tensor([apart], dtype=torch.float64)
        energy = coulomb(charge, pair, distance, one, 1.0)
        rel = 1e-9 if apart > 9.0 else 1e-3
        assert float(energy.sum()) == pytest.approx(-COULOMB / apart, rel=rel)
        assert energy[0] == energy[1]


def test_isolated_atoms_are_exact(potential: Potential) -> None:
    for symbol, energy in zip("HCNO", (-10.0, -11.0, -12.0, -13.0), strict=True):
        (found,) = potential.predict([Atoms(symbol)], warn=False)
        assert found.energy == energy
        assert found.charges is not None
        assert found.charges[0] == 0.0


def test_batches_and_precision(folder: Path, potential: Potential) -> None:
    molecules = [
        glycine(),
        molecule("H2O"),
        Atoms("O"),
        side_by_side(molecule("CH4"), glycine(), 6.0),
    ]
    single = Potential(folder, device="cpu", dtype="float32")
    together, rounded = potential.predict(molecules), single.predict(molecules)
    for atoms, found, less in zip(molecules, together, rounded, strict=True):
        (alone,) = potential.predict([atoms])
        assert found.energy == pytest.approx(alone.energy, abs=EXACT)
        np.testing.assert_allclose(found.forces, alone.forces, atol=EXACT)
        np.testing.assert_allclose(found.charges, alone.charges, atol=EXACT)
        assert less.energy == pytest.approx(found.energy, abs=1e-3)
        np.testing.assert_allclose(less.forces, found.forces, atol=1e-3)


def test_every_path_heeds_the_charge(folder: Path, potential: Potential, tmp_path: Path) -> None:
    """The same positions with another charge: cached graphs, relaxations, replicas, committees."""
    atoms = molecule("NH3") + Atoms("H", [[0.0, 0.0, 1.5]])
    ions = [atoms.copy(), atoms.copy()]
    for ion, charge in zip(ions, (1, -1), strict=True):
        ion.info["charge"] = charge
    expected = [p.energy for p in potential.predict(ions)]
    assert abs(expected[0] - expected[1]) > 0.1
    calc = SE3SetCalculator(folder)
    assert [calc.get_potential_energy(ion) for ion in ions] == pytest.approx(expected, abs=EXACT)
    replicas = Replicas(potential)
    for order in (1, -1):
        found = [p.energy for p in replicas.predict(ions[::order])]
        assert found[::order] == pytest.approx(expected, abs=EXACT)
    relaxed = relax_many(ions, potential, steps=0)
    assert [r.energy[0] for r in relaxed] == pytest.approx(expected, abs=EXACT)

    members = tmp_path / "members"
    for seed, path in enumerate((members, members / "member-1")):
        save_checkpoint(path, made(seed=seed), replace(METADATA, charges=(-1, 0, 1)))
    known = ("H(N)", "N(H,H,H,H)", "N(H,H,H)", "H()", "H()*")
    write_calibration(members, ["member-1"], familiar_forces=1e6, environments=known)
    both = SE3SetCalculator(members), SE3SetCalculator(members / "member-1")
    for ion in ions:
        energies = [calc.get_potential_energy(ion) for calc in both]
        spread = float(np.std(energies, ddof=1))
        assert both[0].energy_uncertainty == pytest.approx(spread, abs=1e-9)
        assert spread > 0.01


def test_dipole_derivatives_of_an_ion(folder: Path) -> None:
    ion = molecule("NH3") + Atoms("H", [[0.1, 0.2, 1.5]])
    ion.info["charge"] = 1
    calc = ion.calc = SE3SetCalculator(folder)
    derivatives = calc.get_dipole_derivatives(ion)
    for k in (0, 7, 14):
        found = []
        for sign in (1, -1):
            moved = ion.copy()
            moved.calc = calc
            moved.positions.flat[k] += sign * STEP
            found.append(moved.get_dipole_moment())
        row = (found[0] - found[1]) / (2 * STEP)
        np.testing.assert_allclose(derivatives[k], row, atol=1e-6)
    # An ion that moves as a whole takes its charge along.
    np.testing.assert_allclose(derivatives.reshape(-1, 3, 3).sum(0), np.eye(3), atol=1e-9)


@pytest.mark.parametrize(
    ("option", "value", "wanted"),
    [
        ("charges", "false", "true or false"),
        ("hidden", 32.5, "a whole number"),
        ("width", 0, "a num"),
    ],
)
def test_invalid_settings_are_refused(option: str, value: object, wanted: str) -> None:
    with pytest.raises(ValueError, match=f"expected {option} of long_range to be {wanted}"):
        LongRangeConfig.from_dict({option: value})


def test_a_graph_without_pairs_is_refused(potential: Potential) -> None:
    from se3set_ase.hypergraph.build import build_hypergraph
    from se3set_ase.nn.graph import collate

    model, atoms = potential.model, glycine()
    structure = build_hypergraph(atoms.numbers, atoms.positions, model.hypergraph)
    graph = collate([structure], model.species_of, model.hypergraph, dtype=torch.float64)
    with pytest.raises(ValueError, match="a graph with pairs"):
        model(torch.as_tensor(atoms.positions), graph)
