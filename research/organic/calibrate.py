"""Calibrates the uncertainty of a committee, and lists the environments in its training data.

    python -m research.organic.calibrate models/organic member-1 member-2 \\
        --labels research/organic/data/validation.xyz.gz \\
        --tests research/organic/data/test.xyz.gz --saw research/organic/data/train.xyz.gz

The members are folders in the folder of the model. Factors and minima (floors) maximise the
likelihood of the errors on labelled geometries of the validation part. An uncertainty is familiar
if 99 % of these geometries, including hot ones, have a smaller one. Known environments are those of
the SMILES of the training geometries, not of dissociated geometries, because the models are
inaccurate for isolated atoms. The plot and the printed shares are of test geometries, which have no
influence on the calibration. With ``--kinds``, contacts, ions and reactions have scales of their
own. Writes committee.json and calibration.png to the folder of the model.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rdkit import Chem
from tqdm import tqdm

from se3set_ase.checkpoint.registry import COMMITTEE_FILE
from se3set_ase.io.extended_xyz import frames_of_file
from se3set_ase.potential import Potential
from se3set_ase.uncertainty.calibration import (
    Kind,
    Scale,
    kind_of,
    read_calibration,
    write_calibration,
)
from se3set_ase.uncertainty.committee import disagreement, environments_of
from se3set_ase.uncertainty.fit import fit, rms

FAMILIAR = 0.99
#: Least number of geometries for a scale of their kind.
LEAST = 20
#: Number of points of the plot, each with the same number of atoms.
BINS = 20
TICKS = (0.02, 0.05, 0.1, 0.2, 0.5)


def main() -> None:
    """Fit on the validation part, measure on the tests, write both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("members", nargs="+", help="folders in the folder of the model")
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--tests", type=Path, required=True)
    parser.add_argument("--kinds", action="store_true", help="a scale for each kind of system")
    parser.add_argument("--saw", type=Path, nargs="+", required=True, help="training geometries")
    arguments = parser.parse_args()
    folder, members = arguments.model, arguments.members
    models = [Potential(folder), *(Potential(folder / member) for member in members)]
    found = doubts(models, arguments.labels)
    smiles = {atoms.info["smiles"] for path in arguments.saw for atoms in frames_of_file(path)}
    seen = set().union(*map(neighbourhoods, smiles))
    scales = {}
    if arguments.kinds:
        for kind, own in sorted(by_kind(found).items()):
            if len(own) >= LEAST:
                scales[kind] = scale_of(own)
                print(f"{kind}: {len(own)} geometries, {scales[kind]}")
    write_calibration(
        folder,
        members,
        **(scales.get("molecule") or scale_of(found)),
        kinds={kind: Scale(**values) for kind, values in scales.items() if kind != "molecule"},
        environments=tuple(sorted(seen)),
    )
    calibration = read_calibration(folder / COMMITTEE_FILE)
    tested = doubts(models, arguments.tests)
    expected = np.concatenate(
        [
            np.hypot(scale.forces_factor * d.forces, scale.forces_floor)
            for d in tested
            for scale in [calibration.kinds.get(d.kind, calibration)]
        ]
    )
    off = np.concatenate([d.forces_error for d in tested])
    draw(expected, off, folder / "calibration.png")
    report("forces", off / expected)
    for kind, own in sorted(by_kind(tested).items()):
        scale = calibration.kinds.get(kind, calibration)
        energies = np.hypot(scale.energy_factor * array("energy", own), scale.energy_floor)
        report(f"energies, {kind}", np.abs(array("energy_error", own)) / energies)


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """Disagreement and error of one geometry, of its energy (eV) and its forces (eV/Angstrom)."""

    kind: Kind
    energy: float
    energy_error: float
    forces: np.ndarray
    forces_error: np.ndarray


def by_kind(found: Sequence[Doubt]) -> dict[Kind, list[Doubt]]:
    """Geometries of each kind."""
    kinds: dict[Kind, list[Doubt]] = {}
    for one in found:
        kinds.setdefault(one.kind, []).append(one)
    return kinds


def array(name: str, found: Sequence[Doubt]) -> np.ndarray:
    """Values of all geometries, in one array."""
    return np.array([getattr(one, name) for one in found])


def scale_of(found: Sequence[Doubt]) -> dict[str, float]:
    """Factors, minima and familiar values, see :class:`.calibration.Scale`."""
    spread = [(one.energy, one.forces) for one in found]
    return asdict(fit(spread, [(one.energy_error, one.forces_error) for one in found]))


def report(what: str, beyond: np.ndarray) -> None:
    """Print the shares of test errors beyond one, two and three uncertainties."""
    shares = ", ".join(f"{100 * np.mean(beyond > n):.0f} % beyond {n} times" for n in (1, 2, 3))
    print(f"test errors of {what} against their uncertainties: {shares}")


def neighbourhoods(smiles: str) -> set[str]:
    """Environments (:func:`~se3set_ase.uncertainty.committee.environments`) of a whole molecule."""
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    bonds = ((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds())
    return environments_of([atom.GetSymbol() for atom in molecule.GetAtoms()], bonds)


def doubts(models: Sequence[Potential], labels: Path) -> list[Doubt]:
    """Disagreement of the models and errors of the first one, for each geometry."""
    results = []
    for atoms in tqdm(list(frames_of_file(labels)), labels.stem, disable=None):
        found = [model.predict([atoms], warn=False)[0] for model in models]
        first = found[0]
        energy, forces = disagreement(found)
        results.append(
            Doubt(
                kind=kind_of(first.hypergraph, first.charge),
                energy=energy,
                energy_error=first.energy - atoms.get_potential_energy(),
                forces=forces,
                forces_error=np.linalg.norm(first.forces - atoms.get_forces(), axis=1),
            )
        )
    return results


def draw(said: np.ndarray, error: np.ndarray, path: Path) -> None:
    """Plot errors of forces against uncertainties, in bins of atoms sorted by uncertainty."""
    bins = np.array_split(np.argsort(said), BINS)
    figure = Figure(figsize=(4, 4), layout="constrained")
    axes = figure.subplots()
    x, y = ([rms(values[b]) for b in bins] for values in (said, error))
    axes.loglog(x, y, "o-")
    axes.loglog([min(x), max(x)], [min(x), max(x)], color="black", lw=0.8)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(TICKS, [f"{tick:g}" for tick in TICKS])
        axis.set_ticks([], minor=True)
    axes.set_xlabel("uncertainty of a force, eV/Å")
    axes.set_ylabel("error, root mean square, eV/Å")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
