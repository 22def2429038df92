"""Lists, enumeration and files of geometries."""

import csv
from collections import Counter

import numpy as np
import pytest
from ase import Atoms
from ase.io import read
from rdkit import Chem

from research.geometries import (
    bends,
    conformers,
    contacts,
    elements,
    enumeration,
    everyday,
    exchanges,
    ions,
    large,
    larger,
    limits,
    molecules,
    names,
    stacks,
    tautomers,
    xtb,
)
from research.geometries.bonding import canonical
from research.geometries.sampling import embedded, minimum
from research.geometries.store import Entry, append, finished
from research.paths import ORGANIC
from research.splits import PARTS, part_of


@pytest.mark.parametrize("family", [ions, elements, limits, contacts])
def test_families_have_many_different_closed_shell_entries(family) -> None:
    entries = family.entries(0)
    assert len({entry.smiles for entry in entries}) >= 500
    for entry in entries:
        molecule = Chem.MolFromSmiles(entry.smiles)
        electrons = sum(atom.GetAtomicNum() for atom in Chem.AddHs(molecule).GetAtoms())
        assert (electrons - Chem.GetFormalCharge(molecule)) % 2 == 0, entry
        assert abs(Chem.GetFormalCharge(molecule)) <= (1 if family is ions else 0), entry


def test_ions_and_elements_are_what_they_say() -> None:
    def charges(entry: Entry) -> list[int]:
        return [a.GetFormalCharge() for a in Chem.MolFromSmiles(entry.smiles).GetAtoms()]

    entries = ions.entries(0)
    assert all(any(charges(entry)) for entry in entries)
    kinds = Counter(entry.kind for entry in entries)
    assert min(kinds[kind] for kind in ("ion pair", "proton-bound dimer", "zwitterion")) >= 25
    inside = Counter(
        symbol
        for entry in elements.entries(0)
        for symbol in {a.GetSymbol() for a in Chem.MolFromSmiles(entry.smiles).GetAtoms()}
    )
    assert min(inside[symbol] for symbol in ("P", "Br", "I", "Si", "B", "S")) >= 90


def test_the_seed_decides_which_clusters() -> None:
    one, same, other = ({entry.smiles for entry in contacts.entries(seed)} for seed in (0, 0, 1))
    assert one == same
    assert len(one - other) > 300


def test_benchmark_dimers_have_no_relaxed_frames() -> None:
    pair, control = (
        contacts.sample(Entry(smiles=smiles, kind="hydrogen bond"), 0, 0)
        for smiles in ("N.O", "O.CNC")
    )
    assert {atoms.info["sampling"] for atoms in pair} == {"pulled"}
    assert "relaxed" in {atoms.info["sampling"] for atoms in control}


def test_templates_are_expanded(tmp_path, monkeypatch) -> None:
    assert names.expanded(["{}C{}", "N"], ["F", "O"]) == ["FCF", "FCO", "OCF", "OCO", "N"]
    monkeypatch.setattr(names, "FOLDER", tmp_path)
    for text, message in (
        ("CCO\n", "expected KIND: SMILES, got 'CCO'"),
        ("alcohol: C(O\n", r"expected SMILES, got 'C\(O' in 'alcohol: C\(O'"),
        ("radical: [CH3]\n", r"expected an even number of electrons, got '\[CH3\]'"),
    ):
        (tmp_path / "bad.txt").write_text(text)
        with pytest.raises(ValueError, match=message):
            names.read("bad")
    (tmp_path / "good.txt").write_text("# comment\nalcohol: {}O | C CC\nother: OC N\n")
    assert names.by_kind("good") == {"alcohol": ["CO", "CCO"], "other": ["N"]}


def test_enumerated_molecules_are_small_new_and_varied(rng) -> None:
    found = enumeration.molecules(200, rng, frozenset({"CCO"}))
    assert len(set(found)) == 200
    assert "CCO" not in found
    heavy = [Chem.MolFromSmiles(smiles).GetNumHeavyAtoms() for smiles in found]
    assert set(heavy) == {3, 4, 5, 6, 7}
    elements_found = {a.GetSymbol() for s in found for a in Chem.MolFromSmiles(s).GetAtoms()}
    assert elements_found == {"C", "N", "O", "F", "S", "Cl"}
    assert all(Chem.GetFormalCharge(Chem.MolFromSmiles(smiles)) == 0 for smiles in found)


def test_thinning_prefers_different_kinds(rng) -> None:
    frames = [Atoms("H", info={"kind": kind}) for kind in [*["a"] * 20, *["b"] * 20, "c", "d"]]
    chosen = [atoms.info["kind"] for atoms in molecules.thinned(frames, rng)]
    assert sorted(chosen) == ["a", "b", "c", "d"]


def sampler(entry: Entry, seed: int, draw: int) -> list[Atoms]:
    """Atoms at a distance that the entry and the draw decide; none of methane."""
    if entry.smiles == "C":
        return []
    info = {"start": entry.smiles, "draw": draw, "smiles": entry.smiles, "charge": 0}
    distance = 1.0 + draw + seed
    return [Atoms("H2", [[0, 0, 0], [0, 0, distance]], info=dict(info)) for _ in range(3)]


def test_a_stopped_run_resumes(tmp_path) -> None:
    entries = [Entry(smiles=smiles, kind="k") for smiles in ("CO", "C", "[H]F", "[Cl-].O", "N")]
    whole, parts = tmp_path / "whole.xyz", tmp_path / "parts.xyz"
    append(whole, entries, sampler, seed=0, draws=2, most=10**9)
    for most in (3, 9, 10**9):
        append(parts, entries, sampler, seed=0, draws=2, most=most)
    assert parts.read_text() == whole.read_text()
    assert (tmp_path / "parts.empty").read_text() == "0 C\n1 C\n"
    done, count = finished(whole)
    assert count == 24
    assert {name.split()[1] for name in done} == {"CO", "[H]F", "[Cl-].O", "N"}
    frames = read(whole, ":")
    assert {atoms.info["smiles"] for atoms in frames} == {"CO", "[H]F", "[Cl-].O", "N"}
    assert np.mean([atoms.get_distance(0, 1) for atoms in frames]) == pytest.approx(1.5)


def test_old_geometries_stay_in_their_part_or_a_stricter_one() -> None:
    found = molecules.old_geometries()
    with (molecules.ORGANIC / "molecules.csv").open() as file:
        rows = list(csv.DictReader(file))
    part_of_old = {canonical(row["smiles"]): row["part"] for row in rows}
    checked: Counter[str] = Counter()
    for smiles, frames in found.items():
        for atoms in frames:
            part = atoms.info["part"]
            assert PARTS.index(part) <= PARTS.index(part_of(smiles))
            assert PARTS.index(part) <= PARTS.index(part_of_old.get(smiles, "train"))
            checked[part] += 1
            whole = Chem.AddHs(Chem.MolFromSmiles(smiles))
            assert sorted(atoms.numbers) == sorted(a.GetAtomicNum() for a in whole.GetAtoms())
    assert min(checked[part] for part in PARTS) > 50
    assert sum("." in smiles for smiles in found) > 200  # pairs have both names


def test_one_bad_entry_does_not_affect_the_others(tmp_path, caplog) -> None:
    def failing(entry: Entry, seed: int, draw: int) -> list[Atoms]:
        if entry.smiles == "N":
            raise RuntimeError("no convergence")
        return sampler(entry, seed, draw)

    path = tmp_path / "some.xyz"
    entries = [Entry(smiles=smiles, kind="k") for smiles in ("CO", "N", "O")]
    append(path, entries, failing, seed=0, draws=1, most=10**9)
    assert {atoms.info["start"] for atoms in read(path, ":")} == {"CO", "O"}
    assert path.with_suffix(".empty").read_text() == "0 N\n"
    assert "no geometry of 0 N" in caplog.text


def test_conformers_of_a_molecule_are_different_minima() -> None:
    entry = Entry(smiles=canonical("FCCF"), kind="halide")
    frames = conformers.sample(entry, 0, 0)
    relaxed = [atoms for atoms in frames if atoms.info["sampling"] == "relaxed"]
    assert [atoms.info["sampling"] for atoms in frames].count("modes") == len(relaxed) >= 2
    energies = [xtb.energy(atoms, 0) for atoms in relaxed]
    assert max(energies) - min(energies) > conformers.SAME
    for atoms in relaxed:
        force, _ = xtb.force_and_gap(atoms, 0)
        assert force < 0.06
    moved, _ = xtb.force_and_gap(next(a for a in frames if a.info["sampling"] == "modes"), 0)
    assert moved > 0.2


def test_large_systems_belong_to_training_and_have_these_sizes() -> None:
    entries = large.entries(0)
    kinds = Counter(entry.kind for entry in entries)
    assert kinds["dimer"] == large.DIMERS
    assert kinds["molecule"] > 2000
    with (ORGANIC / "drugs.smi").open() as file:
        drugs = {canonical(line.split()[0]) for line in file if line.strip() and line[0] != "#"}
    assert not drugs & {entry.smiles for entry in entries}
    assert large.entries(0) == entries
    assert large.entries(1) != entries
    (atoms,) = large.sample(entries[3], 0, 0)
    assert len(atoms) == 17
    assert atoms.info["family"] == "large"


#: Rotations of rigid molecules are exact but for rounding.
EXACT = 1e-9


def test_stacks_are_parallel_and_in_contact() -> None:
    entries = stacks.entries(0)
    assert len({entry.smiles for entry in entries}) == stacks.PAIRS
    relaxed, stack, across = stacks.sample(Entry(smiles="c1ccoc1.c1cncnc1", kind="stack"), 0, 0)
    n = len(Atoms("C4H4O"))
    for atoms, cosine in ((stack, 1.0), (across, 0.0)):
        normals = [np.linalg.svd(p - p.mean(axis=0))[2][2] for p in np.split(atoms.positions, [n])]
        assert abs(normals[0] @ normals[1]) == pytest.approx(cosine, abs=EXACT)
    for atoms in (relaxed, stack, across):
        between = np.linalg.norm(atoms.positions[:n, None] - atoms.positions[n:], axis=-1)
        assert 1.5 < between.min() < 5.5


def test_everyday_pairs_of_benchmark_molecules_are_away_from_the_minimum() -> None:
    entries = {entry.smiles: entry for entry in everyday.entries(0)}
    assert {"O.O", "CN.O", "F.F", "C=O.CCl"} <= entries.keys()
    assert "c1ccccc1.c1ccccc1" not in entries  # too large
    pair, control = (everyday.sample(entries[name], 0, 0) for name in ("CN.O", "CNC.O"))
    assert {atoms.info["sampling"] for atoms in pair} == {"pulled", "hot"}
    assert "relaxed" in {atoms.info["sampling"] for atoms in control}
    n = len(Atoms("CH5N"))
    closest = [np.linalg.norm(a.positions[:n, None] - a.positions[n:], axis=-1).min() for a in pair]
    assert max(closest) - min(closest) > 1.0


@pytest.mark.parametrize("smiles", ["O", "N", "CNC", "C=N", "CSC"])
def test_flattened_atoms_keep_their_bonds(smiles: str) -> None:
    rng = np.random.default_rng(0)
    molecule = embedded(smiles, rng)
    best = minimum(molecule, rng)
    (centre, *_), *_ = molecule.GetSubstructMatches(bends.CENTRE)
    bonds = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()]
    around = [k for pair in bonds for k in pair if centre in pair and k != centre]
    flat = bends.flattened(molecule, best, centre, 1.0)
    for pair in bonds:
        assert flat.get_distance(*pair) == pytest.approx(best.get_distance(*pair), abs=EXACT)
    before, after = (abs(_height(atoms, centre, around)) for atoms in (best, flat))
    assert before > 0.1
    assert after == pytest.approx(0.0, abs=EXACT)


def _height(atoms: Atoms, centre: int, around: list[int]) -> float:
    """Sum of the unit vectors along two or three bonds, zero if they are opposite or 120 apart."""
    bonds = atoms.positions[around] - atoms.positions[centre]
    units = bonds / np.linalg.norm(bonds, axis=1, keepdims=True)
    if len(around) == 3:
        return float(np.linalg.det(units))
    return float(np.linalg.norm(units.sum(axis=0)))


def test_tautomers_have_one_formula_for_each_molecule() -> None:
    entries = {entry.smiles for entry in tautomers.entries(0)}
    assert {canonical(s) for s in ("Oc1ccccn1", "O=c1cccc[nH]1", "NC=O", "N=CO")} <= entries
    assert len(entries) > 250
    relaxed, moved = tautomers.sample(Entry(smiles="N=CO", kind="tautomer"), 0, 0)
    assert relaxed.info["smiles"] == canonical("N=CO")
    assert moved.get_chemical_formula() == "CH3NO"


@pytest.mark.parametrize("names", ["O O", "F O N", "CO O F O"])
def test_protons_of_a_ring_are_between_two_donors(names: str) -> None:
    rng = np.random.default_rng(0)
    parts = [minimum(embedded(name, rng), rng) for name in names.split()]
    ring = exchanges.ring(parts, rng)
    donors, protons = ring_pairs = np.array(exchanges.ring_atoms(parts)).reshape(-1, 2).T
    assert set(ring.numbers[protons]) == {1}
    assert not set(ring.numbers[donors]) & {1, 6}
    distances = np.sort(ring.get_all_distances()[np.ix_(protons, donors)], axis=1)
    assert distances[:, 1].max() < 2.2
    assert distances[:, 0].min() > 0.75
    rest = np.setdiff1d(np.arange(len(ring)), ring_pairs)
    if len(rest):
        centre = ring.positions[donors].mean(axis=0)
        out = np.linalg.norm(ring.positions - centre, axis=1)
        assert out[rest].mean() > out[donors].mean()
    assert len({entry.smiles for entry in exchanges.entries(0)}) == 45 + 56 + exchanges.OF_FOUR
    relaxed = exchanges.sample(Entry(smiles=".".join(names.split()), kind="ring"), 0, 0)
    assert len(relaxed) == exchanges.GEOMETRIES


def test_larger_molecules_are_displaced_from_their_minima() -> None:
    entries = larger.entries(0)
    sizes = [Chem.MolFromSmiles(entry.smiles).GetNumHeavyAtoms() for entry in entries]
    assert len(entries) > 110
    assert (min(sizes), max(sizes)) == (4, 9)
    alkane = next(entry for entry in entries if entry.smiles == "CCCCCC")
    one, other = larger.sample(alkane, 0, 0)
    assert one.get_chemical_formula() == other.get_chemical_formula() == "C6H14"
    assert one.info["sampling"] == "modes"
    assert np.abs(one.get_all_distances() - other.get_all_distances()).max() > 0.05
