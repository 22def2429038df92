"""Geometries of molecules and clusters: intact, reproducible, labelled."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule as g2
from ase.data import vdw_radii
from rdkit import Chem

from research.geometries import clusters, sampling, xtb, zwitterions
from research.geometries.bonding import clash, identify
from research.splits import part_of


@pytest.mark.parametrize("smiles", ["CO", "C[NH3+]", "[O-]C=O", "CP", "FB(F)F"])
def test_frames_are_intact_closed_shells_with_their_labels(smiles: str) -> None:
    frames = sampling.frames_of(smiles, "kind", "family", 0, 1)
    assert {"modes", "hot"} <= {atoms.info["sampling"] for atoms in frames}
    for atoms in frames:
        assert not clash(atoms.numbers, atoms.positions)
        assert atoms.info["charge"] == Chem.GetFormalCharge(Chem.MolFromSmiles(smiles))
        assert (sum(atoms.numbers) - atoms.info["charge"]) % 2 == 0
        assert xtb.force_and_gap(atoms, atoms.info["charge"])[0] <= sampling.LARGEST_FORCE
        assert atoms.info["smiles"] == Chem.CanonSmiles(smiles)
        assert atoms.info["part"] == part_of(smiles)


def test_the_same_seed_gives_the_same_geometries() -> None:
    one, same, other, later = (
        sampling.frames_of("CN", "amine", "test", seed, draw)
        for seed, draw in ((0, 0), (0, 0), (1, 0), (0, 1))
    )
    assert [a.positions.tolist() for a in one] == [a.positions.tolist() for a in same]
    assert not np.allclose(one[0].positions, other[0].positions, atol=1e-3)
    assert len(later) > len(one)


def test_one_bond_is_stretched(rng) -> None:
    molecule = sampling.embedded("CCl", rng)
    best = sampling.minimum(molecule, rng)
    changes = []
    for _ in range(30):
        atoms = sampling.stretched(molecule, best, rng)
        ratio = [
            atoms.get_distance(i, j) / best.get_distance(i, j)
            for i, j in ((0, 1), (0, 2), (0, 3), (0, 4))
        ]
        changes.append(np.sort(np.abs(np.array(ratio) - 1.0)))
    assert np.mean(changes, axis=0)[:3] == pytest.approx(0.0, abs=0.06)  # noise only
    assert max(change[3] for change in changes) > 0.4


def test_hypervalent_centres_are_embedded(rng) -> None:
    sulfur = sampling.embedded("FS(F)(F)(F)(F)F", rng)
    best = sampling.minimum(sulfur, rng)
    centre = int(np.flatnonzero(best.numbers == 16)[0])
    bonds = np.delete(best.get_distances(centre, range(7)), centre)
    assert bonds == pytest.approx(1.56, abs=0.04)  # by electron diffraction
    assert identify(sulfur, best.positions) is not None
    assert sampling.star(Chem.AddHs(Chem.MolFromSmiles("C"))) is None


def test_odd_electrons_are_recognised() -> None:
    assert sampling.has_closed_shell(Chem.MolFromSmiles("[CH2]"))
    assert not sampling.has_closed_shell(Chem.MolFromSmiles("[CH3]"))
    assert sampling.has_closed_shell(Chem.MolFromSmiles("[CH3+]"))


@pytest.mark.parametrize("contact", [0.6, 1.0, 1.5])
def test_contact_is_exact(contact: float, rng) -> None:
    one, other = g2("CH3OH"), g2("C6H6")
    together = clusters.placed(one, other, contact, rng)
    assert together.get_all_distances()[:6, :6] == pytest.approx(one.get_all_distances())
    assert together.get_all_distances()[6:, 6:] == pytest.approx(other.get_all_distances())
    radii = vdw_radii[one.numbers][:, None] + vdw_radii[other.numbers]
    assert (together.get_all_distances()[:6, 6:] / radii).min() == pytest.approx(contact)


def test_pulling_moves_one_molecule(rng) -> None:
    water = g2("H2O")
    dimer = clusters.placed(water, water, 0.9, rng)
    dimer.info["kept"] = True
    before = dimer.positions.copy()
    shortest = []
    for _ in range(40):
        pulled = clusters.pulled(dimer, [3, 3], rng)
        inside = pulled.get_all_distances()
        assert inside[0, 1] == pytest.approx(dimer.get_distance(0, 1), abs=0.25)
        assert inside[4, 5] == pytest.approx(dimer.get_distance(4, 5), abs=0.25)
        shortest.append(inside[:3, 3:].min())
    assert min(shortest) < dimer.get_all_distances()[:3, 3:].min()
    assert 4.0 < max(shortest) < clusters.FURTHEST + 0.7
    assert np.array_equal(dimer.positions, before)


def test_a_cluster_keeps_its_molecules() -> None:
    frames = clusters.frames_of("[NH4+].O.O", "hydrated", "test", 0, 1)
    assert {"relaxed", "pulled"} <= {atoms.info["sampling"] for atoms in frames}
    assert len({len(atoms) for atoms in frames}) == 1
    assert {atoms.info["charge"] for atoms in frames} == {1}
    assert "O.O.[NH4+]" in {atoms.info["smiles"] for atoms in frames}
    far = clusters.frames_of("C.O", "pair", "test", 0, 0, at_minimum=False)
    assert {atoms.info["sampling"] for atoms in far} == {"pulled"}


def test_a_zwitterion_keeps_its_proton_only_when_held(rng) -> None:
    glycine = sampling.embedded("[NH3+]CC(=O)[O-]", rng)
    held = zwitterions.held(glycine)
    assert identify(glycine, held.positions) == "[NH3+]CC(=O)[O-]"
    free = xtb.relaxed(sampling.as_atoms(glycine), 0)
    assert identify(glycine, free.positions) == "NCC(=O)O"


def test_a_proton_transfer_is_named() -> None:
    rng = np.random.default_rng(0)
    glycine = sampling.embedded("[NH3+]CC(=O)[O-]", rng)
    free = xtb.relaxed(sampling.as_atoms(glycine), 0)
    label = {"family": "test", "kind": "zwitterion", "start": "[NH3+]CC(=O)[O-]", "draw": 0}
    (frame,) = sampling.accepted(glycine, iter([("relaxed", free)]), label)
    assert frame.info["kind"] == "proton transferred"
    assert frame.info["smiles"] == "NCC(=O)O"
    broken = Atoms(free.numbers, 1.7 * free.positions)
    assert not list(sampling.accepted(glycine, iter([("relaxed", broken)]), label))


@pytest.mark.parametrize(
    ("smiles", "turns"), [("OO", True), ("CC", True), ("CC#N", False), ("CS(C)(=O)=O", True)]
)
def test_bonds_next_to_linear_atoms_have_no_torsion(smiles: str, turns: bool) -> None:
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert molecule.HasSubstructMatch(sampling.TORSION) == turns
