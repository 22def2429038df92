"""Recorded energies and forces of every bundled model for 20 geometries.

A change of the code that is not meant to change a number shows here. Where a model itself has
changed, record it again: ``python tests/test_reference.py`` writes the file.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from se3set_ase import Potential
from se3set_ase.checkpoint import list_models

RECORD = Path(__file__).parent / "data" / "reference_energies.json"
RECORDED = json.loads(RECORD.read_text(encoding="utf-8"))
MODELS = [info.name for info in list_models()]
SAME = 1e-12  # relative, of the energy and of the largest force of a molecule


def geometries(name: str) -> list[Atoms]:
    group = RECORDED["geometries"][RECORDED["models"][name]["geometries"]]
    return [Atoms(each["numbers"], each["positions"]) for each in group]


def computed(name: str) -> list[tuple[float, np.ndarray]]:
    """Energy and forces of each geometry, float64; hot molecules warn."""
    potential = Potential(name, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = [potential.predict([atoms], warn=False)[0] for atoms in geometries(name)]
    return [(one.energy, one.forces) for one in found]


@pytest.mark.parametrize("name", MODELS)
def test_numbers_are_the_recorded_ones(name: str) -> None:
    recorded = RECORDED["models"][name]["results"]
    found = computed(name)
    assert len(found) == len(recorded) == 20
    for (energy, forces), expected in zip(found, recorded, strict=True):
        assert energy == pytest.approx(expected["energy"], rel=SAME)
        largest = np.abs(expected["forces"]).max()
        assert largest > 0.1
        np.testing.assert_allclose(forces, expected["forces"], rtol=0, atol=SAME * largest)


def test_a_changed_weight_is_detected() -> None:
    """The control: a change of one weight in its eleventh digit."""
    potential = Potential("acac", device="cpu")
    atoms = geometries("acac")[10]
    (before,) = potential.predict([atoms])
    weight = potential.model.network.blocks[0].second
    weight *= 1 + 1e-10
    (after,) = potential.predict([atoms])
    change = np.abs(after.forces - before.forces).max() / np.abs(before.forces).max()
    assert change > SAME
    assert change < 1e-8


def test_some_bonds_are_partially_broken() -> None:
    """The recorded geometries have weights between 0 and 1."""
    potential = Potential("acac", device="cpu")
    found = potential.predict(geometries("acac"))
    ambiguous = [((p.hypergraph.bond_weights > 0) & (p.hypergraph.bond_weights < 1)) for p in found]
    assert sum(each.any() for each in ambiguous) >= 5


def record() -> None:
    models = {}
    for name in MODELS:
        results = [
            json.dumps({"energy": e, "forces": f.tolist()}, separators=(",", ":"))
            for e, f in computed(name)
        ]
        group = json.dumps(RECORDED["models"][name]["geometries"])
        models[name] = f'{{"geometries": {group}, "results": [\n' + ",\n".join(results) + "\n]}"
    groups = {
        name: "[\n" + ",\n".join(json.dumps(g, separators=(",", ":")) for g in group) + "\n]"
        for name, group in RECORDED["geometries"].items()
    }
    parts = (
        f'"{key}": {{\n' + ",\n".join(f'"{name}": {text}' for name, text in part.items()) + "\n}"
        for key, part in (("geometries", groups), ("models", models))
    )
    RECORD.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    record()
