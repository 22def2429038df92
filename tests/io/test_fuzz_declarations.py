"""Files of several molecules with charges and isotopes: all that a file declares, or an error.

    pytest tests/io/test_fuzz_declarations.py --fuzz 10000

Inputs are drawn with a seed each, which a failure names.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.data import atomic_masses
from ase.io import write
from damage import damaged
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from se3set_ase.io.structures import read_structures
from se3set_ase.system import declared_charge_and_spin

#: With total charges from -2 to 2, a radical, isotopes, charges that cancel.
MOLECULES = (
    "O", "[OH-]", "[NH4+]", "CC(=O)[O-]", "[O-]C(=O)CC(=O)[O-]", "C[N+](=O)[O-]",
    "[NH3+]CC(=O)[O-]", "[NH3+]CC[NH3+]", "[2H]OC([2H])([2H])[2H]", "[13CH3][18OH]", "[CH3]",
    "[2H][N+]([2H])([2H])[2H]",
)  # fmt: skip
POSITIONS = 2e-3  # Angstrom, of the coarsest format (PDB)


@cache
def embedded(smiles: str) -> Chem.Mol:
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert rdDistGeom.EmbedMolecule(molecule, randomSeed=1) == 0
    return molecule


def expected(smiles: str, *, spin: bool) -> Atoms:
    """What a reader has to find."""
    molecule = embedded(smiles)
    atoms = Atoms(
        [a.GetAtomicNum() for a in molecule.GetAtoms()], molecule.GetConformer().GetPositions()
    )
    atoms.info["charge"] = Chem.GetFormalCharge(molecule)
    if spin:
        radicals = sum(a.GetNumRadicalElectrons() for a in molecule.GetAtoms())
        atoms.info["spin_multiplicity"] = 1 + radicals
    table, masses = Chem.GetPeriodicTable(), atoms.get_masses()
    for k, atom in enumerate(molecule.GetAtoms()):
        if isotope := atom.GetIsotope():
            masses[k] = table.GetMassForIsotope(atom.GetAtomicNum(), isotope)
    atoms.set_masses(masses)
    return atoms


def sdf(path: Path, names: list[str], rng: np.random.Generator) -> list[Atoms]:
    blocks = [Chem.MolToMolBlock(embedded(s), forceV3000=bool(rng.integers(2))) for s in names]
    path.write_text("".join(f"{block}> <id>\n{k}\n\n$$$$\n" for k, block in enumerate(blocks)))
    return [expected(s, spin=True) for s in names]


def extended_xyz(path: Path, names: list[str], rng: np.random.Generator) -> list[Atoms]:
    frames = [expected(s, spin=True) for s in names]
    written = [atoms.copy() for atoms in frames]
    for atoms in written:
        charge, spin = atoms.info.pop("charge"), atoms.info.pop("spin_multiplicity")
        atoms.info[str(rng.choice(["charge", "total_charge"]))] = charge
        atoms.info[str(rng.choice(["spin_multiplicity", "multiplicity", "total_spin"]))] = spin
    write(path, written, format="extxyz", columns=["symbols", "positions", "masses"])
    return frames


def plain_xyz(path: Path, names: list[str], rng: np.random.Generator) -> list[Atoms]:
    """Comments of other programs, and D for deuterium."""
    frames, text = [], ""
    for s in names:
        atoms = expected(s, spin=True)
        heavy = atoms.get_masses() - atomic_masses[atoms.numbers] > 0.5
        if (heavy & (atoms.numbers > 1)).any():  # no symbol for these
            atoms.set_masses(None)
            heavy[:] = False
        symbols = ["D" if h else x for x, h in zip(atoms.symbols, heavy, strict=True)]
        sign = rng.choice([" = ", "=", ": "])
        text += f"{len(atoms)}\nE = -1.5 charge{sign}{atoms.info['charge']} "
        text += f"mult{sign}{atoms.info['spin_multiplicity']}\n"
        rows = zip(symbols, atoms.positions.tolist(), strict=True)
        text += "".join(f"{x} {a:.6f} {b:.6f} {c:.6f}\n" for x, (a, b, c) in rows)
        frames.append(atoms)
    path.write_text(text)
    return frames


def pdb(path: Path, names: list[str], rng: np.random.Generator) -> list[Atoms]:
    """Charge columns. A file without any charge declares none."""
    frames, text = [], ""
    for k, s in enumerate(names, start=1):
        atoms = expected(s, spin=False)
        atoms.set_masses(None)
        text += f"MODEL     {k:4d}\n"
        charges = [a.GetFormalCharge() for a in embedded(s).GetAtoms()]
        for j, (x, r, q) in enumerate(zip(atoms.symbols, atoms.positions, charges, strict=True), 1):
            sign = f"{abs(q)}{'-' if q < 0 else '+'}" if q else "  "
            text += f"HETATM{j:5d} {x:>2s}   LIG A   1    {r[0]:8.3f}{r[1]:8.3f}{r[2]:8.3f}"
            text += f"  1.00  0.00          {x:>2s}{sign}\n"
        text += "ENDMDL\n"
        if not any(charges):
            del atoms.info["charge"]
        frames.append(atoms)
    path.write_text(text + "END\n")
    return frames


def gaussian(path: Path, names: list[str], rng: np.random.Generator) -> list[Atoms]:
    """An input has one molecule."""
    (atoms,) = (expected(s, spin=True) for s in names[:1])
    symbols = []
    for x, z, m in zip(atoms.symbols, atoms.numbers, atoms.get_masses(), strict=True):
        heavy = m - atomic_masses[z] > 0.5
        symbols.append(f"{x}(Iso={round(m)})" if heavy else str(x))
    rows = zip(symbols, atoms.positions.tolist(), strict=True)
    text = "%mem=1GB\n#p B3LYP/6-31G(d)\n\ntitle\n\n"
    text += f"{atoms.info['charge']} {atoms.info['spin_multiplicity']}\n"
    text += "".join(f"{x} {a:.6f} {b:.6f} {c:.6f}\n" for x, (a, b, c) in rows) + "\n"
    path.write_text(text)
    return [atoms]


Writer = Callable[[Path, list[str], np.random.Generator], list[Atoms]]
WRITERS: dict[str, Writer] = {
    "many.sdf": sdf,
    "many.xyz": extended_xyz,
    "plain.xyz": plain_xyz,
    "many.pdb": pdb,
    "job.gjf": gaussian,
}


def read_all(path: Path) -> list[Atoms]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ASE's readers, of damaged files
        return list(read_structures(path))


@pytest.mark.parametrize("name", list(WRITERS))
def test_everything_declared_is_read(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = tmp_path / name
    charged = 0
    for seed in range(request.config.getoption("--fuzz")):
        rng = np.random.default_rng(seed)
        names = [str(s) for s in rng.choice(MOLECULES, rng.integers(1, 5))]
        wanted, found = WRITERS[name](path, names, rng), read_all(path)
        message = f"seed {seed}: {names}"
        assert len(found) == len(wanted), message
        for one, other in zip(wanted, found, strict=True):
            assert (one.numbers == other.numbers).all(), message
            assert np.abs(one.positions - other.positions).max() < POSITIONS, message
            np.testing.assert_allclose(one.get_masses(), other.get_masses(), atol=0.02)
            assert declared_charge_and_spin(other) == declared_charge_and_spin(one), message
            charged += bool(one.info.get("charge"))
    assert charged > 0


@pytest.mark.parametrize("name", list(WRITERS))
def test_damaged_files_are_reported(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = tmp_path / name
    refused = read = 0
    for seed in range(request.config.getoption("--fuzz")):
        rng = np.random.default_rng(seed)
        names = [str(s) for s in rng.choice(MOLECULES, rng.integers(1, 5))]
        WRITERS[name](path, names, rng)
        path.write_bytes(damaged(path.read_bytes(), rng))
        why = ""
        try:
            for atoms in read_all(path):
                declared_charge_and_spin(atoms)
        except (ValueError, OSError) as error:
            why = str(error)
        refused += bool(why)
        read += not why
        assert not why or len(why) > 20, f"seed {seed}: {why}"
    assert min(refused, read) > 0
