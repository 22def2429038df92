"""The potential: symmetries, derivatives, isolated atoms, repulsion, precision, configuration."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.data import covalent_radii
from small_networks import SMALL_LIGHT, SMALL_PUBLISHED
from torch import Tensor

from se3set_ase.hypergraph.build import build_hypergraph
from se3set_ase.hypergraph.config import HypergraphConfig
from se3set_ase.nn.architecture import ARCHITECTURES, network_config, preset_values
from se3set_ase.nn.graph import Graph, Sizes, collate, sizes_of, weigh
from se3set_ase.nn.light.config import LightConfig
from se3set_ase.nn.model import SE3Set, energy_and_forces
from se3set_ase.nn.published.network import PublishedConfig

CONFIG = HypergraphConfig()
ELEMENTS = (1, 6, 8)
ATOMIC_ENERGIES = (-13.587222780835477, -1029.4889999168986, -2041.9816003861047)  # eV
NETWORKS = [SMALL_LIGHT, SMALL_PUBLISHED]
INVARIANCE = 1e-9  # eV, eV/Angstrom; of energies around 4000 eV
CONTROL = 1e-4
# The network on an atom minus the network on an isolated atom of the same batch: rounding alone.
EXACT = {torch.float64: 1e-15, torch.float32: 1e-9}
STEP, DIFFERENCE = 1e-4, 1e-6  # Angstrom, eV/Angstrom


def model(network: Any = NETWORKS[0], dtype: torch.dtype = torch.float64, **others: Any) -> SE3Set:
    values: dict[str, Any] = {
        "elements": ELEMENTS,
        "hypergraph": CONFIG,
        "network": network,
        "atomic_energies": ATOMIC_ENERGIES,
        "shifts": (-0.3, -0.2, 0.5),
        "scale": 1.7,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return SE3Set(**{**values, **others}).to(dtype)


def geometry() -> tuple[np.ndarray, np.ndarray]:
    """Rattled ethanol with a partially broken O-H bond, hence two sets of fragments."""
    atoms = molecule("CH3CH2OH")
    atoms.positions += np.random.default_rng(4).normal(0.0, 0.05, atoms.positions.shape)
    atoms.set_distance(2, 3, 1.33, fix=0)
    return atoms.numbers, atoms.positions


def tensors(
    numbers: np.ndarray, positions: np.ndarray, made: SE3Set, pad: Sizes | None = None
) -> tuple[Tensor, Graph]:
    hypergraph = build_hypergraph(numbers, positions, CONFIG)
    graph = collate([hypergraph], made.species_of, CONFIG, dtype=made.dtype, pad_to=pad)
    rest = np.zeros((len(graph.species) - len(numbers), 3))
    return torch.as_tensor(np.concatenate([positions, rest])), graph


def predict(
    numbers: np.ndarray, positions: np.ndarray, made: SE3Set
) -> tuple[float, np.ndarray, np.ndarray]:
    energy, forces, energies = energy_and_forces(made, *tensors(numbers, positions, made))
    return float(energy.detach()), forces.detach().numpy(), energies.detach().numpy()


@pytest.fixture(params=NETWORKS, ids=["light", "published"])
def made(request: pytest.FixtureRequest) -> SE3Set:
    return model(request.param)


def test_the_geometry_has_an_ambiguous_bond(made: SE3Set) -> None:
    positions, graph = tensors(*geometry(), made)
    weights = weigh(positions, graph, CONFIG)
    assert ((weights.bond > 0.05) & (weights.bond < 0.95)).any()
    assert ((weights.fragment > 0.05) & (weights.fragment < 0.95)).sum() >= 3


@pytest.mark.parametrize("determinant", [1.0, -1.0])
def test_energy_is_invariant_and_forces_rotate(made: SE3Set, determinant: float) -> None:
    numbers, positions = geometry()
    q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    q *= determinant * np.linalg.det(q)
    energy, forces, energies = predict(numbers, positions, made)
    turned = predict(numbers, positions @ q.T + [5.0, -3.0, 2.0], made)
    assert turned[0] == pytest.approx(energy, abs=INVARIANCE)
    np.testing.assert_allclose(turned[1], forces @ q.T, rtol=0, atol=INVARIANCE)
    np.testing.assert_allclose(turned[2], energies, rtol=0, atol=INVARIANCE)
    assert np.abs(turned[1] - forces).max() > 0.1
    sheared = positions + 0.05 * positions[:, [1, 2, 0]]
    assert abs(predict(numbers, sheared, made)[0] - energy) > CONTROL


def test_permutation_of_atoms(made: SE3Set) -> None:
    numbers, positions = geometry()
    energy, forces, energies = predict(numbers, positions, made)
    order = np.random.default_rng(0).permutation(len(numbers))
    permuted = predict(numbers[order], positions[order], made)
    assert permuted[0] == pytest.approx(energy, abs=INVARIANCE)
    np.testing.assert_allclose(permuted[1], forces[order], rtol=0, atol=INVARIANCE)
    np.testing.assert_allclose(permuted[2], energies[order], rtol=0, atol=INVARIANCE)
    # Control: the elements alone in another order make another molecule.
    assert abs(predict(numbers[order], positions, made)[0] - energy) > CONTROL


def test_forces_are_differences_of_the_energy_and_add_up_to_zero(made: SE3Set) -> None:
    numbers, positions = geometry()
    _, forces, _ = predict(numbers, positions, made)
    made_positions, graph = tensors(numbers, positions, made)
    for atom, axis in ((0, 0), (2, 1), (3, 0), (3, 1), (3, 2), (7, 2)):
        energies = []
        for sign in (1, -1, 2, -2):
            moved = made_positions.clone()
            moved[atom, axis] += sign * STEP
            energies.append(float(made(moved, graph).sum().detach()))
        slope = (8 * (energies[0] - energies[1]) - (energies[2] - energies[3])) / (12 * STEP)
        assert forces[atom, axis] == pytest.approx(-slope, abs=DIFFERENCE)
    np.testing.assert_allclose(forces.sum(axis=0), 0.0, rtol=0, atol=INVARIANCE)
    torque = np.cross(positions, forces).sum(axis=0)
    np.testing.assert_allclose(torque, 0.0, rtol=0, atol=10 * INVARIANCE)
    assert np.abs(forces[3]).max() > 0.1


def test_gradients_of_the_weights_are_differences_of_the_energy(made: SE3Set) -> None:
    positions, graph = tensors(*geometry(), made)
    made(positions, graph).sum().backward()
    generator = torch.Generator().manual_seed(0)
    parameters = [p for p in made.parameters() if p.grad is not None]
    for p in parameters:
        direction = torch.randn(p.shape, generator=generator, dtype=p.dtype)
        direction /= direction.norm()
        slope = float((p.grad * direction).sum())
        energies = []
        with torch.no_grad():
            before = p.clone()
            for sign in (1, -1):
                p.copy_(before + sign * STEP * direction)
                energies.append(float(made(positions, graph).sum()))
            p.copy_(before)
        numeric = (energies[0] - energies[1]) / (2 * STEP)
        assert numeric == pytest.approx(slope, abs=1e-5 * max(1.0, abs(slope)))
    assert max(float(p.grad.abs().max()) for p in parameters) > 0.1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_an_isolated_atom_has_exactly_its_atomic_energy(made: SE3Set, dtype: torch.dtype) -> None:
    made = made.to(dtype)
    for z, expected in zip(ELEMENTS, ATOMIC_ENERGIES, strict=True):
        energy, forces, _ = predict(np.array([z]), np.array([[1.0, 2.0, 3.0]]), made)
        assert energy == pytest.approx(expected, rel=EXACT[dtype])
        assert (forces == 0).all()
    # Two atoms: too far apart to interact, and closer.
    numbers = np.array([6, 8])
    for distance, alone in ((5.1, True), (3.5, False)):
        energy, forces, _ = predict(numbers, np.array([[0, 0, 0], [distance, 0, 0]]), made)
        together = ATOMIC_ENERGIES[1] + ATOMIC_ENERGIES[2]
        assert (abs(energy / together - 1.0) < EXACT[dtype]) == alone
        assert (np.abs(forces).max() == 0) == alone


def test_distant_molecules_do_not_interact(made: SE3Set) -> None:
    numbers, positions = geometry()
    energy, forces, _ = predict(numbers, positions, made)
    water = molecule("H2O")
    aside = np.array([1.0, 0.0, 0.0])
    both_numbers = np.concatenate([numbers, water.numbers])
    single = predict(water.numbers, water.positions, made)
    for distance, apart in ((30.0, True), (4.5, False)):
        both = predict(
            both_numbers, np.concatenate([positions, water.positions + distance * aside]), made
        )
        assert (abs(both[0] - energy - single[0]) < INVARIANCE) == apart
        assert (np.abs(both[1][:9] - forces).max() < INVARIANCE) == apart


def test_padding_contributes_exactly_nothing(made: SE3Set) -> None:
    numbers, positions = geometry()
    size = sizes_of([build_hypergraph(numbers, positions, CONFIG)])
    pad = Sizes(*(n + extra for n, extra in zip(size, (3, 2, 5, 1, 4, 3, 6, 11, 2), strict=True)))
    plain = energy_and_forces(made, *tensors(numbers, positions, made))
    padded = energy_and_forces(made, *tensors(numbers, positions, made, pad))
    torch.testing.assert_close(padded[0], plain[0], rtol=0, atol=INVARIANCE)
    torch.testing.assert_close(padded[1][:9], plain[1], rtol=0, atol=INVARIANCE)
    assert (padded[1][9:] == 0).all()
    assert (padded[2][9:] == 0).all()


@pytest.mark.parametrize("pair", [(1, 1), (1, 6), (6, 8), (1, 8)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_close_atoms_repel(pair: tuple[int, int], seed: int) -> None:
    """With random weights and the largest preset: repulsion must not depend on training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = SE3Set(
            elements=ELEMENTS,
            hypergraph=CONFIG,
            network=LightConfig(),
            atomic_energies=(0.0, 0.0, 0.0),
            scale=1.0,
        ).double()
    # From the distance where the repulsion exceeds outputs of the network (scale 1 eV).
    bond = float(covalent_radii[list(pair)].sum())
    distances = np.linspace(0.7 * bond, 0.1, 40)
    geometries = [np.array([[0.0, 0.0, 0.0], [d, 0.0, 0.0]]) for d in distances]
    hypergraphs = [build_hypergraph(np.array(pair), g, CONFIG) for g in geometries]
    graph = collate(hypergraphs, made.species_of, CONFIG, dtype=torch.float64)
    where = torch.as_tensor(np.concatenate(geometries))
    energy, forces, _ = energy_and_forces(made, where, graph)
    assert (energy[1:] > energy[:-1]).all()
    assert energy[-1] - energy[0] > 50.0
    assert (forces[1::2, 0] > 0).all()  # the second atom is pushed away


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_constants_stay_exact_whatever_the_dtype(dtype: torch.dtype) -> None:
    made = model().float().double().float().to(dtype)
    assert made.dtype == dtype
    assert made.reference.values.dtype == torch.float64
    assert made.reference.values[0].tolist() == list(ATOMIC_ENERGIES)
    assert made.to_config()["atomic_energies"] == list(ATOMIC_ENERGIES)
    energy, forces, energies = energy_and_forces(made, *tensors(*geometry(), made))
    assert energy.dtype == forces.dtype == energies.dtype == torch.float64


def test_float32_is_float64_to_single_precision() -> None:
    single, double = (predict(*geometry(), model(dtype=d)) for d in (torch.float32, torch.float64))
    assert single[0] == pytest.approx(double[0], abs=1e-4)
    np.testing.assert_allclose(single[1], double[1], rtol=0, atol=1e-3)
    assert single[0] != double[0]


def test_does_not_depend_on_the_default_dtype(made: SE3Set) -> None:
    expected = predict(*geometry(), made)
    network = made.network_config
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        other = model(network)
        assert model(network, torch.float32).dtype == torch.float32
        other.load_state_dict(made.state_dict())
        got = predict(*geometry(), other)
        single = SE3Set.from_config(made.to_config())
        assert single.dtype == torch.float32
    finally:
        torch.set_default_dtype(before)
    assert got[0] == expected[0]
    np.testing.assert_array_equal(got[1], expected[1])


def test_inputs_are_not_changed() -> None:
    made = model()
    positions, graph = tensors(*geometry(), made)
    before = [t.clone() for t in (positions, *graph)]
    energy_and_forces(made, positions, graph)
    assert not positions.requires_grad
    assert all(torch.equal(a, b) for a, b in zip(before, (positions, *graph), strict=True))


def test_number_of_parameters_of_the_presets() -> None:
    """The published network has 6,288,033 parameters; ours also has a sink per attention head."""
    number = {
        name: sum(p.numel() for p in model(network_config({"architecture": name})).parameters())
        for name in ARCHITECTURES
    }
    assert number["published"] == 6_288_033 + 6 * 2 * 4
    assert number["light"] < number["published"] / 10


def test_round_trip_through_plain_values(made: SE3Set) -> None:
    values = made.to_config()
    again = SE3Set.from_config(values).double()
    assert again.to_config() == values
    assert type(again.network_config) is type(made.network_config)
    assert again.network_config == made.network_config
    again.load_state_dict(made.state_dict())
    assert predict(*geometry(), again)[0] == predict(*geometry(), made)[0]


def test_state_dict_has_only_weights(made: SE3Set) -> None:
    assert set(made.state_dict()) == {name for name, _ in made.named_parameters()}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"elements": (6, 1, 8)}, r"expected ascending distinct elements, got \(6, 1, 8\)"),
        ({"elements": (1, 1, 8)}, r"expected ascending distinct elements, got \(1, 1, 8\)"),
        ({"atomic_energies": (0.0,)}, r"one of atomic_energies per element \(3\), got 1"),
        ({"shifts": (0.0,)}, r"one of shifts per element \(3\), got 1"),
    ],
)
def test_inconsistent_settings_are_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        model(**changes)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"architecture": "heavy"}, r"one of \['light', 'published'\], got 'heavy'"),
        ({"chanels": 3}, r"settings of the light network, got unknown keys \['chanels'\]"),
        ({"architecture": "published", "channels": 3}, r"published network, got .*'channels'"),
    ],
)
def test_unknown_networks_are_refused(values: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        network_config(values)


def test_presets_by_name() -> None:
    assert network_config(preset_values({})) == LightConfig()
    assert network_config(preset_values({"preset": "published"})) == PublishedConfig()
    changed = network_config(preset_values({"preset": "light", "channels": 16}))
    assert changed == LightConfig(channels=16)
    with pytest.raises(ValueError, match=r"one of \['light', 'published'\], got 'heavy'"):
        preset_values({"preset": "heavy"})


@pytest.mark.parametrize("network", NETWORKS, ids=["light", "published"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_with_another_backend_it_is_the_same_model(network: Any, dtype: torch.dtype) -> None:
    made = model(network, dtype).requires_grad_(False)
    positions, graph = tensors(*geometry(), made)
    random_before = torch.get_rng_state()
    other = made.with_backend("by_hand")
    assert torch.equal(torch.get_rng_state(), random_before)
    assert (made.backend, other.backend) == ("native", "by_hand")
    assert (other.dtype, other.training) == (dtype, made.training)
    assert not any(p.requires_grad for p in (*made.parameters(), *other.parameters()))
    expected, found = (energy_and_forces(m, positions, graph) for m in (made, other))
    same = 1e-10 if dtype == torch.float64 else 1e-4
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=same)
    # The weights are shared: nothing is copied, and the control changes both.
    with torch.no_grad():
        next(made.network.parameters()).add_(0.1)
    changed = energy_and_forces(other, positions, graph)
    assert float((changed[0] - found[0]).abs().max()) > CONTROL
