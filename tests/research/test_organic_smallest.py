"""The smallest molecules and their geometries."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem

from research.organic import smallest
from research.organic.molecules import key, read_molecules, read_smiles
from research.paths import ORGANIC

#: Angstrom, tolerance of bond lengths against experiment (r_e): minima by GFN2-xTB, and means.
OF_MINIMUM, OF_MEAN = 0.01, 0.02


def test_each_molecule_has_one_part() -> None:
    rows = read_molecules()
    keys = [key(Chem.MolFromSmiles(row["smiles"])) for row in rows]
    assert len(set(keys)) == len(keys)
    known = dict(zip(keys, rows, strict=True))
    listed = [known[key(molecule)] for molecule in read_smiles(ORGANIC / "smallest.smi")]
    assert {row["part"] for row in listed if int(row["round"]) == smallest.ROUND} == {"train"}
    # The control: some of the list had their part before there was one.
    assert {int(row["round"]) for row in listed} > {smallest.ROUND}


def test_molecules_that_force_fields_lack_have_geometries() -> None:
    frames = list(smallest.geometries(Chem.MolFromSmiles("N#N")))
    assert len(frames) == smallest.MODES + smallest.SWOLLEN
    lengths: dict[str, list[float]] = {"modes": [], "stretched": []}
    for atoms in frames:
        assert atoms.get_chemical_formula() == "N2"
        lengths[atoms.info["kind"]].append(atoms.get_distance(0, 1))
    minimum = smallest.relaxed(Chem.MolFromSmiles("N#N"), 1)
    assert minimum is not None
    assert minimum.get_distance(0, 1) == pytest.approx(1.098, abs=OF_MINIMUM)
    assert np.mean(lengths["modes"]) == pytest.approx(1.098, abs=OF_MEAN)
    assert np.std(lengths["stretched"]) > np.std(lengths["modes"]) > 0


def test_rearranged_molecules_are_left_out() -> None:
    assert smallest.relaxed(Chem.MolFromSmiles("[H][H].FF"), 1) is None  # they react
    assert smallest.relaxed(Chem.MolFromSmiles("C1#CC1"), 1) is None  # no such ring
    found = smallest.relaxed(Chem.MolFromSmiles("C1=CC1"), 1)  # the control
    assert found is not None
    assert found.get_distance(0, 1) == pytest.approx(1.296, abs=OF_MINIMUM)
