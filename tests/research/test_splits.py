"""Parts that never mix molecules, reactions or potential energy surfaces."""

from __future__ import annotations

from collections import Counter

import pytest

from research.splits import PARTS, part_by_hash, part_of


def test_tautomers_and_isomers_share_a_part_or_the_stricter_one() -> None:
    """Every reaction C4H8 -> C4H8 is in one part; so is each molecule, or in a stricter one."""
    surface = part_of("C1CCC1>>C=C.C=C")
    assert surface == part_of("C=CCC>>CC=CC")
    for isomer in ("C1CCC1", "C=CCC", "CC=CC"):
        assert PARTS.index(part_of(isomer)) <= PARTS.index(surface)


def test_a_cluster_is_in_the_strictest_part() -> None:
    smiles = ["O", "C", "CC", "CNC", "CC(C)O", "CC(=O)O", "c1ccccc1"]
    parts = {one: part_of(one) for one in smiles}
    assert len(set(parts.values())) > 1
    for one in smiles:
        for other in smiles:
            strictest = min(parts[one], parts[other], key=PARTS.index)
            assert part_of(f"{one}.{other}") == strictest


def test_the_smallest_molecules_are_in_training() -> None:
    """By its hash, the formula of fluoromethane is in the test part."""
    for smiles in ("CN", "C#N", "CF", "O.CN", "C#N>>[C-]#[NH+]", "[H][H]"):
        assert part_of(smiles) == "train"
    assert part_by_hash("CH3F") == "test"
    assert part_of("CN.CNC") == part_of("CNC") != "train"


def test_shares() -> None:
    parts = Counter(part_by_hash(str(i)) for i in range(10_000))
    assert parts["test"] == pytest.approx(600, abs=80)
    assert parts["validation"] == pytest.approx(400, abs=80)


def test_unbalanced_reactions_and_nonsense_are_refused() -> None:
    with pytest.raises(ValueError, match="expected a balanced reaction"):
        part_of("CCO>>C=C")
    with pytest.raises(ValueError, match="expected SMILES, got 'Xx'"):
        part_of("Xx")
