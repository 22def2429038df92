"""The benchmark reactions, and the score of a method on them.

The file is gzipped JSON: ``{set: {category, reactions: [{species: {name: coefficient}, energy}],
species: {name: {charge, symbols, positions}}}}``, with energies in kcal/mol and positions in
Angstrom. Reference: J. Liang and M. Head-Gordon, GSCDB138, arXiv:2508.13468 (mostly CCSD(T) at the
basis-set limit).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms, units

TRUTH = Path(__file__).parents[3] / "shared" / "data" / "truth" / "reactions.json.gz"
KCAL = units.kcal / units.mol
CATEGORIES = ("noncovalent", "conformers", "isomers and reactions", "barriers")
#: Elements of neutral organic molecules, which every method supports.
ORGANIC = frozenset({"H", "C", "N", "O", "F", "S", "Cl"})
#: Mean absolute reference energy of GMTKN55, kcal/mol, used in the weights of WTMAD-2: L. Goerigk
#: et al., Phys. Chem. Chem. Phys. 19, 32184 (2017).
WTMAD2 = 56.84


@dataclass(frozen=True, kw_only=True)
class Reaction:
    """A reference energy of a sum of species, each multiplied by its coefficient.

    Attributes
    ----------
    set, category : benchmark set and category of the reaction.
    species : coefficients by name; names are unique among all sets.
    energy : reference, kcal/mol.
    """

    set: str
    category: str
    species: Mapping[str, float]
    energy: float


def load(path: Path = TRUTH) -> tuple[list[Reaction], dict[str, Atoms]]:
    """Read the reactions, and their species by name with ``info["charge"]``.

    Raises
    ------
    FileNotFoundError : the file is missing; it is not part of the repository.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"no benchmark reactions at {path}: the sets of GSCDB138 (arXiv:2508.13468) as JSON, "
            "see research/truth/reactions.py"
        )
    sets = json.loads(gzip.decompress(path.read_bytes()))
    species = {
        f"{name}/{s}": Atoms(one["symbols"], one["positions"], info={"charge": one["charge"]})
        for name, content in sets.items()
        for s, one in content["species"].items()
    }
    reactions = [
        Reaction(
            set=name,
            category=content["category"],
            species=balanced({f"{name}/{s}": c for s, c in reaction["species"].items()}, species),
            energy=reaction["energy"],
        )
        for name, content in sets.items()
        for reaction in content["reactions"]
    ]
    return reactions, species


def balanced(coefficients: Mapping[str, float], species: Mapping[str, Atoms]) -> dict[str, float]:
    """Coefficients that conserve the atoms.

    The file lists the monomer of a homodimer once; here its coefficient is doubled.

    Raises
    ------
    ValueError : the reaction does not conserve atoms in this way either.
    """

    def surplus(trial: Mapping[str, float]) -> np.ndarray:
        counts = [
            c * np.bincount(species[name].numbers, minlength=119) for name, c in trial.items()
        ]
        return np.sum(counts, axis=0)

    doubled = [{**coefficients, name: 2 * c} for name, c in coefficients.items()]
    for trial in (dict(coefficients), *doubled):
        if not surplus(trial).any():
            return trial
    raise ValueError(f"expected a reaction that conserves atoms, got {dict(coefficients)}")


def is_neutral_organic(atoms: Atoms) -> bool:
    """Whether a species is neutral and has only H, C, N, O, F, S and Cl."""
    return atoms.info["charge"] == 0 and set(atoms.get_chemical_symbols()) <= ORGANIC


@dataclass(frozen=True, kw_only=True)
class SetErrors:
    """Errors of a method on one set, kcal/mol.

    Attributes
    ----------
    n : number of reactions.
    mean_abs_energy : mean absolute reference energy.
    mad : mean absolute deviation from the references.
    """

    set: str
    category: str
    n: int
    mean_abs_energy: float
    mad: float


def errors(reactions: Iterable[Reaction], energies: Mapping[str, float]) -> Iterator[SetErrors]:
    """Yield the errors of each set; reactions with a species without an energy are left out.

    Parameters
    ----------
    energies : total energy of each species by name, eV.
    """
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for reaction in reactions:
        if reaction.species.keys() <= energies.keys():
            calculated = sum(c * energies[name] for name, c in reaction.species.items()) / KCAL
            found.setdefault((reaction.set, reaction.category), []).append(
                (reaction.energy, calculated)
            )
    for (name, category), pairs in found.items():
        reference, calculated = np.array(pairs).T
        yield SetErrors(
            set=name,
            category=category,
            n=len(pairs),
            mean_abs_energy=float(np.abs(reference).mean()),
            mad=float(np.abs(calculated - reference).mean()),
        )


def score(sets: Sequence[SetErrors]) -> float:
    """Weighted mean absolute deviation of a category, kcal/mol; smaller is better.

    sum_s N_s (56.84 / mean|E_s|) MAD_s / sum_s N_s: the WTMAD-2 of GMTKN55 (L. Goerigk et al.,
    Phys. Chem. Chem. Phys. 19, 32184 (2017)) for these sets.
    """
    total = sum(s.n for s in sets)
    return sum(s.n * WTMAD2 / s.mean_abs_energy * s.mad for s in sets) / total if total else np.nan
