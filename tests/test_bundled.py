"""Every bundled model with its own molecule: the contract, dynamics, and its card."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.io import read
from rdkit import Chem
from rdkit.Chem import AllChem
from scans import CompiledSurface, Surface, roughness
from test_contract import GRADIENT, MOST_ENERGY, MOST_FORCES, STEP

from se3set_ase import SE3SetCalculator
from se3set_ase.checkpoint.files import METADATA_FILE, WEIGHTS_FILE
from se3set_ase.checkpoint.registry import list_models, resolve_model
from se3set_ase.checkpoint.store import load_checkpoint
from se3set_ase.nn import compiled
from se3set_ase.potential import Potential
from se3set_ase.simulate.dynamics import md
from se3set_ase.simulate.relaxation import relax
from se3set_ase.train.config import load_config

#: Hot molecules may be far from what was seen, and warn.
pytestmark = pytest.mark.filterwarnings("ignore:model 'organic' may be wrong")
EXAMPLES = Path(__file__).parents[1] / "examples"
CONFIGS = Path(__file__).parents[1] / "research" / "configs"
MODELS = [info.name for info in list_models()]
SPREAD = 0.5  # meV/atom, standard deviation of the total energy, 0.5 fs
DRIFT = 0.05  # meV/atom/ps, over 2 ps


def embedded(smiles: str) -> Atoms:
    found = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(found, randomSeed=7)
    AllChem.MMFFOptimizeMolecule(found)
    numbers = [atom.GetAtomicNum() for atom in found.GetAtoms()]
    return Atoms(numbers, found.GetConformer().GetPositions())


GEOMETRIES = {
    "acac": partial(read, EXAMPLES / "acetylacetone.xyz"),
    "gfn2": partial(read, EXAMPLES / "acetylacetone.xyz"),
    "ethanol": partial(molecule, "CH3CH2OH"),
    "rmd17-ethanol": partial(molecule, "CH3CH2OH"),
    "rmd17-ethanol-50": partial(molecule, "CH3CH2OH"),
    "rmd17-aspirin-50": partial(embedded, "CC(=O)Oc1ccccc1C(=O)O"),
    "3bpa": partial(embedded, "Nc1ncccc1OCc1ccccc1"),
    "organic": partial(embedded, "O=S(=O)(Nc1ccccn1)c1ccc(Cl)cc1F"),
    "organic-gfn2": partial(embedded, "CC(=O)Nc1ccc(O)cc1"),
}


@pytest.fixture(scope="module", params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def hot(name: str) -> Atoms:
    """The molecule of a model at about 600 K, from dynamics with the model."""
    atoms = GEOMETRIES[name]()
    atoms.calc = SE3SetCalculator(name, device="cpu")
    relax(atoms, fmax=0.05)
    md(atoms, temperature_K=600, timestep=0.5, steps=200, seed=2)
    return atoms


def surface_through(hot: Atoms, name: str) -> Surface:
    """All atoms move at once, up to 0.25 Angstrom from the hot geometry."""
    direction = np.random.default_rng(5).normal(size=hot.positions.shape)
    direction /= np.linalg.norm(direction, axis=1).max()
    model, _ = load_checkpoint(resolve_model(name), dtype=torch.float64)
    return Surface(model, hot.numbers, lambda t: hot.positions + t * direction)


def test_energy_is_smooth(hot: Atoms, name: str) -> None:
    surface = surface_through(hot, name)
    events = surface.events(-0.25, 0.25, n=80, most=6)
    assert events
    worst = [roughness(surface, t, STEP) for t in events]
    assert max(r.energy for r in worst) < MOST_ENERGY
    assert max(r.forces for r in worst) < MOST_FORCES


def test_forces_are_the_gradient(hot: Atoms, name: str, rng: np.random.Generator) -> None:
    potential = Potential(name, device="cpu")
    (found,) = potential.predict([hot], warn=False)
    for coordinate in rng.choice(found.forces.size, 6, replace=False):
        step = np.zeros(found.forces.size)
        step[coordinate] = STEP
        moved = [Atoms(hot.numbers, hot.positions + s * step.reshape(-1, 3)) for s in (1, -1)]
        plus, minus = (p.energy for p in potential.predict(moved, warn=False))
        slope = (plus - minus) / (2 * STEP)
        assert found.forces.flat[coordinate] == pytest.approx(-slope, abs=GRADIENT)
    assert np.abs(found.forces).max() > 1e3 * GRADIENT


def test_energy_is_conserved(hot: Atoms, name: str) -> None:
    atoms = hot.copy()
    atoms.calc = SE3SetCalculator(name, device="cpu")
    result = md(atoms, ensemble="nve", velocities="keep", timestep=0.5, steps=300)
    assert result.events or len(atoms) < 10  # ethanol is all in reach, all the time
    assert 1000 * float(result.total.std()) / len(atoms) < SPREAD
    assert 1000 * float(result.potential.std()) / len(atoms) > 5 * SPREAD  # it moves


def test_model_agrees_with_its_files(name: str) -> None:
    folder = resolve_model(name)
    assert {METADATA_FILE, WEIGHTS_FILE, "README.md"} <= {path.name for path in folder.iterdir()}
    config = load_config(CONFIGS / f"{name}.yaml")
    metadata = Potential(name, device="cpu").metadata
    assert config.name == metadata.name == name
    settings = config.training.model_dump(mode="json") | {"seed": config.seed}
    changing_nothing = {"device", "devices", "threads"}
    shared = (settings.keys() & metadata.training.keys()) - changing_nothing
    assert {k: metadata.training[k] for k in shared} == {k: settings[k] for k in shared}
    assert {"epochs", "learning_rate", "batch_size", "loss", "energy_weight"} <= shared
    assert metadata.level_of_theory == config.data.level_of_theory
    assert name in GEOMETRIES


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec.:FutureWarning")
def test_compiled_model_is_the_same(
    hot: Atoms,
    name: str,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path_factory.getbasetemp().parent / "compiled"
    monkeypatch.setenv(compiled.CACHE_VARIABLE, str(folder))
    slow, numbers = surface_through(hot, name), hot.numbers
    fast = CompiledSurface(Potential(name, device="cpu", compile=True), numbers, slow.path)
    for t in np.linspace(-0.2, 0.2, 5):
        assert fast(t)[0] == pytest.approx(slow(t)[0], abs=1e-9)
        np.testing.assert_allclose(fast(t)[1], slow(t)[1], atol=1e-9)
    worst = [roughness(fast, t, STEP) for t in fast.events(-0.25, 0.25, n=80, most=3)]
    assert max(r.energy for r in worst) < MOST_ENERGY
    assert max(r.forces for r in worst) < MOST_FORCES

    atoms = hot.copy()
    atoms.calc = SE3SetCalculator(name, device="cpu", compile=True)
    result = md(atoms, ensemble="nve", velocities="keep", timestep=0.5, steps=4000, interval=4)
    assert len(result.events) > 20 or len(atoms) < 10
    assert abs(result.drift()) < DRIFT
