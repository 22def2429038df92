"""torch-sim validates the model by its own rules, and moves molecules as ASE does."""

from __future__ import annotations

import runpy
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.morse import MorsePotential
from ase.io import read
from ase.md.verlet import VelocityVerlet
from untrained import METADATA, Make, save_committee, tiny_model

from se3set_ase import Potential, SE3SetCalculator
from se3set_ase.checkpoint.metadata import BaselineMethod
from se3set_ase.checkpoint.store import save_checkpoint
from se3set_ase.integrations import torchsim
from se3set_ase.integrations.torchsim import SE3SetModel
from se3set_ase.potential import UnsupportedSystem

EXAMPLES = Path(__file__).parents[2] / "examples"
SAME = 1e-9  # eV, eV/Angstrom: the same positions, in a batch and alone
SAME_WAY = 1e-6  # Angstrom, eV: after a short run, two programs with their own constants
SPREAD = 0.2  # meV/atom, standard deviation of the total energy, 0.5 fs


def test_without_torch_sim_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_sim.models.interface", None)
    without = runpy.run_path(torchsim.__file__)
    text = r'^SE3SetModel needs torch-sim .*: pip install "se3set-ase\[torch-sim\]"$'
    with pytest.raises(ImportError, match=text):
        without["SE3SetModel"](None)


if sys.version_info < (3, 11):
    pytest.skip("torch-sim needs Python 3.11", allow_module_level=True)
ts = pytest.importorskip("torch_sim", reason="torch-sim is not installed: extra torch-sim")


@pytest.fixture(scope="module")
def model(saved: Path) -> SE3SetModel:
    return SE3SetModel(Potential(saved, device="cpu"))


def several() -> list[Atoms]:
    molecules = [molecule("H2O"), Atoms("O"), molecule("CH3CH2OH"), molecule("C6H6")]
    for seed, atoms in enumerate(molecules):
        atoms.rattle(0.05, seed=seed)
    return molecules


def test_the_baseline_is_included(tmp_path: Path) -> None:
    method = BaselineMethod(
        name="Morse", calculator="ase.calculators.morse:MorsePotential", package="ase"
    )
    save_checkpoint(tmp_path, tiny_model(), replace(METADATA, baseline=method))
    potential = Potential(tmp_path, device="cpu", baseline=MorsePotential)
    found = SE3SetModel(potential)(state_of([molecule("H2O")]))
    (expected,) = potential.predict([molecule("H2O")])
    assert float(found["energy"]) == pytest.approx(expected.energy, abs=SAME)
    np.testing.assert_allclose(found["forces"], expected.forces, rtol=0, atol=SAME)
    assert abs(expected.energy - expected.correction.energy) > 0.1


def state_of(molecules: list[Atoms]) -> Any:
    return ts.initialize_state(molecules, torch.device("cpu"), torch.float64)


def integrator(name: str) -> Any:
    """Functions of torch-sim 0.3 became members of an enumeration."""
    return getattr(getattr(ts, "Integrator", ts), name)


# --- One call --------------------------------------------------------------------------------


def validate(model: SE3SetModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch-sim's own validation, with molecules of as many atoms in place of its crystals."""
    molecules = {8: molecule("C2H6"), 12: molecule("C6H6"), 1: Atoms("O")}
    convert = ts.io.atoms_to_state

    def with_molecules(atoms: list[Atoms], *args: Any, **kwargs: Any) -> Any:
        return convert([molecules[len(each)] for each in atoms], *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(ts.io, "atoms_to_state", with_molecules)
        ts.models.interface.validate_model_outputs(model, torch.device("cpu"), torch.float64)


def test_torch_sim_validates_it(model: SE3SetModel, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(model, ts.models.interface.ModelInterface)
    validate(model, monkeypatch)
    with pytest.raises(UnsupportedSystem):  # crystals
        ts.models.interface.validate_model_outputs(model, torch.device("cpu"), torch.float64)


def change_positions(state: Any, found: dict[str, Any]) -> None:
    state.positions += 0.1


def mix_molecules(state: Any, found: dict[str, Any]) -> None:
    found["energy"][:] = found["energy"].sum()


def drop_a_dimension(state: Any, found: dict[str, Any]) -> None:
    found["energy"] = found["energy"].sum()


@pytest.mark.parametrize("spoil", [change_positions, mix_molecules, drop_a_dimension])
def test_the_validation_finds_mistakes(
    spoil: Callable[[Any, dict[str, Any]], None], saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Spoiled(SE3SetModel):
        def forward(self, state: Any, **_: Any) -> dict[str, Any]:
            found = super().forward(state)
            spoil(state, found)
            return found

    with pytest.raises(ValueError, match="!="):
        validate(Spoiled(Potential(saved, device="cpu")), monkeypatch)


def test_energies_and_forces_are_the_calculators(model: SE3SetModel, make: Make) -> None:
    molecules = several()
    found = model(state_of(molecules))
    assert found["energy"].dtype == found["forces"].dtype == model.dtype == torch.float64
    forces = np.split(found["forces"].numpy(), np.cumsum([len(a) for a in molecules])[:-1])
    for k, atoms in enumerate(molecules):
        atoms.calc = make()
        assert found["energy"][k].item() == pytest.approx(atoms.get_potential_energy(), abs=SAME)
        np.testing.assert_allclose(forces[k], atoms.get_forces(), rtol=0, atol=SAME)
        assert str(model.hypergraphs[k]) == str(atoms.calc.hypergraph)
    assert len(set(np.round(found["energy"].tolist(), 6))) == len(molecules)
    assert not model.compute_stress
    with pytest.raises(NotImplementedError):
        model.compute_stress = True


def test_a_batch_is_its_systems(model: SE3SetModel) -> None:
    molecules = several()
    together = model(state_of(molecules))
    alone = [model(state_of([atoms])) for atoms in molecules]
    for key in ("energy", "forces"):
        parts = torch.cat([each[key] for each in alone])
        torch.testing.assert_close(together[key], parts, rtol=0, atol=SAME)
    molecules[3].rattle(0.05, seed=9)
    moved = model(state_of(molecules))["energy"]
    assert torch.equal(moved[:3], together["energy"][:3])
    assert abs(moved[3] - together["energy"][3]) > 1e-3


def test_what_is_refused(model: SE3SetModel) -> None:
    crystal = Atoms("CH", positions=[[0, 0, 0], [0, 0, 1.1]], cell=[5, 5, 5], pbc=True)
    with pytest.raises(
        UnsupportedSystem,
        match=r"^expected an isolated molecule, got periodic boundaries \[True, True, True\]",
    ):
        model(state_of([crystal]))
    with pytest.raises(
        UnsupportedSystem, match=r"^molecule 1: expected the elements H, C, O, .* N$"
    ):
        model(state_of([molecule("H2O"), molecule("NH3")]))
    state = state_of([molecule("H2O"), molecule("H2O")])
    state.charge = torch.tensor([0.0, 0.0])
    neutral = model(state)["energy"]
    assert neutral.shape == (2,)
    state.charge = torch.tensor([0.0, -1.0])
    with pytest.raises(UnsupportedSystem, match=r"^molecule 1: expected charge 0, .* got -1"):
        model(state)


def test_the_committee_warns(tmp_path: Path) -> None:
    model = SE3SetModel(Potential(save_committee(tmp_path), device="cpu"))
    state = state_of([molecule("CH3CH2OH"), molecule("CH3OCH3")])
    with pytest.warns(UserWarning, match=r"^molecule 1: model 'tiny' was not trained .* O\(C,C\)"):
        model(state)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(state)  # once
        model(state_of([molecule("CH3CH2OH")]))  # the control


# --- Dynamics --------------------------------------------------------------------------------


def acetylacetone(temperature: float) -> Atoms:
    atoms = read(EXAMPLES / "acetylacetone.xyz")
    rng = np.random.default_rng(5)
    widths = np.sqrt(atoms.get_masses() * units.kB * temperature)
    atoms.set_momenta(widths[:, None] * rng.standard_normal((len(atoms), 3)))
    return atoms


def moving(molecules: list[Atoms], model: SE3SetModel) -> Any:
    """A state that has the momenta of the atoms."""
    state = state_of(molecules)
    momenta = torch.tensor(np.concatenate([atoms.get_momenta() for atoms in molecules]))
    names = ("positions", "masses", "cell", "pbc", "atomic_numbers", "system_idx")
    return ts.integrators.MDState(
        **{name: getattr(state, name) for name in names}, momenta=momenta, **model(state)
    )


def nve(state: Any, model: SE3SetModel, steps: int, **options: Any) -> Any:
    return ts.integrate(
        state,
        model,
        integrator=integrator("nve"),
        n_steps=steps,
        temperature=300,  # of momenta that are not there
        timestep=0.0005,  # ps
        **options,
    )


def test_it_goes_where_ase_goes() -> None:
    potential, atoms = Potential("acac", device="cpu"), acetylacetone(600)
    cold = atoms.copy()
    cold.set_momenta(0.5 * atoms.get_momenta())
    state = moving([atoms, cold], SE3SetModel(potential))
    model = SE3SetModel(potential)
    final = nve(state, model, 25)
    for k, each in enumerate((atoms, cold)):
        start = each.positions.copy()
        each.calc = SE3SetCalculator("acac", device="cpu")
        VelocityVerlet(each, timestep=0.5 * units.fs).run(25)
        positions = final.positions[final.system_idx == k].numpy()
        np.testing.assert_allclose(positions, each.positions, rtol=0, atol=SAME_WAY)
        assert np.abs(positions - start).max() > 0.1
        assert final.energy[k].item() == pytest.approx(each.get_potential_energy(), abs=SAME_WAY)
        events = [(event.step, event.kind, event.atoms) for event in each.calc.events]
        assert [(e.step, e.kind, e.atoms) for e in model.events[k]] == events
    assert model.events[0]


def spread(membership: Any) -> float:
    """Standard deviation of the total energy, meV per atom."""
    model = SE3SetModel(Potential("acac", device="cpu", refragment=membership))
    total: list[float] = []

    def note(state: Any, _: Any) -> Any:
        kinetic = (state.momenta**2 / state.masses[:, None]).sum() / 2
        total.append((state.energy.sum() + kinetic).item())
        return state.energy

    reporter = ts.TrajectoryReporter(None, prop_calculators={1: {"total": note}})
    atoms = acetylacetone(600)
    nve(moving([atoms], model), model, 150, trajectory_reporter=reporter)
    assert len(total) >= 150
    return 1000 * float(np.std(total)) / len(atoms)


def test_energy_is_conserved() -> None:
    assert spread("smooth") < SPREAD
    assert spread("hard") > 3 * SPREAD


def test_langevin_of_several_molecules(model: SE3SetModel, make: Make) -> None:
    molecules = several()
    final = ts.integrate(
        molecules,
        model,
        integrator=integrator("nvt_langevin"),
        n_steps=20,
        temperature=300,
        timestep=0.0005,
    )
    ends = np.cumsum([len(a) for a in molecules])[:-1]
    positions = np.split(final.positions.numpy(), ends)
    forces = np.split(final.forces.numpy(), ends)
    for k, atoms in enumerate(molecules):
        before = atoms.positions.copy()
        atoms.calc = make()
        atoms.positions = positions[k]
        assert final.energy[k].item() == pytest.approx(atoms.get_potential_energy(), abs=SAME)
        np.testing.assert_allclose(forces[k], atoms.get_forces(), rtol=0, atol=SAME)
        assert np.abs(positions[k] - before).max() > 0.01


def test_in_batches_that_fit_the_memory() -> None:
    potential = Potential("acac", device="cpu")
    molecules = [acetylacetone(t) for t in (100, 300, 500)]
    model = SE3SetModel(potential)
    state = moving(molecules, model)
    at_once = nve(state.clone(), model, 2)
    batcher = ts.BinningAutoBatcher(
        model=model,
        memory_scales_with=model.memory_scales_with,
        max_memory_scaler=30,  # two molecules of 15 atoms
    )
    in_turn = nve(state.clone(), model, 2, autobatcher=batcher)
    torch.testing.assert_close(in_turn.energy, at_once.energy, rtol=0, atol=SAME_WAY)
    torch.testing.assert_close(in_turn.positions, at_once.positions, rtol=0, atol=SAME_WAY)
    assert len(model.hypergraphs) == 1  # of the last batch
