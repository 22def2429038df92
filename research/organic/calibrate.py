"""Calibrates the uncertainty of a committee, and lists the environments in its training data.

    python -m research.organic.calibrate models/organic member-1 member-2 \\
        --labels research/organic/data/validation.xyz.gz \\
        --tests research/organic/data/test.xyz.gz --saw research/organic/data/train.xyz.gz

The members are folders in the folder of the model. Factors and minima (floors) maximise the
likelihood of the errors on labelled geometries of the validation part. An uncertainty is familiar
if 99 % of these geometries, including hot ones, have a smaller one. Known environments are those of
the SMILES of the training geometries, not of dissociated geometries, because the models are
inaccurate for isolated atoms. The plot and the printed shares are of test geometries, which have no
influence on the calibration. Writes committee.json and calibration.png to the folder of the model.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rdkit import Chem
from tqdm import tqdm

from se3set_ase.io.extended_xyz import frames_of_file
from se3set_ase.potential import Potential
from se3set_ase.uncertainty.calibration import Doubt, compare, fit, joined, rms
from se3set_ase.uncertainty.committee import environments_of, write_calibration

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
    parser.add_argument("--saw", type=Path, nargs="+", required=True, help="training geometries")
    arguments = parser.parse_args()
    folder, members = arguments.model, arguments.members
    models = [Potential(folder), *(Potential(folder / member) for member in members)]
    said, errors = doubts(models, arguments.labels)
    found = fit(said, errors)
    smiles = {atoms.info["smiles"] for path in arguments.saw for atoms in frames_of_file(path)}
    seen = set().union(*map(neighbourhoods, smiles))
    write_calibration(
        folder,
        members,
        **asdict(found),
        environments=tuple(sorted(seen)),
    )
    said, errors = doubts(models, arguments.tests)
    expected = np.hypot(found.forces_factor * joined(said), found.forces_floor)
    draw(expected, joined(errors), folder / "calibration.png")
    report("forces", joined(errors) / expected)
    expected = np.hypot(found.energy_factor * np.array([e for e, _ in said]), found.energy_floor)
    report("energies", np.abs([e for e, _ in errors]) / expected)


def report(what: str, beyond: np.ndarray) -> None:
    """Print the shares of test errors beyond one, two and three uncertainties."""
    shares = ", ".join(f"{100 * np.mean(beyond > n):.0f} % beyond {n} times" for n in (1, 2, 3))
    print(f"test errors of {what} against their uncertainties: {shares}")


def neighbourhoods(smiles: str) -> set[str]:
    """Environments (:func:`~se3set_ase.uncertainty.committee.environments`) of a whole molecule."""
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    bonds = ((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds())
    return environments_of([atom.GetSymbol() for atom in molecule.GetAtoms()], bonds)


def doubts(models: Sequence[Potential], labels: Path) -> tuple[list[Doubt], list[Doubt]]:
    """Disagreement of the models and errors of the first one, for each geometry."""
    frames = list(frames_of_file(labels))
    predictions = (
        [model.predict([atoms])[0] for model in models]
        for atoms in tqdm(frames, labels.stem, disable=None)
    )
    return compare(predictions, ((a.get_potential_energy(), a.get_forces()) for a in frames))


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
