"""What the disagreement of a committee is worth: factors, and what is familiar.

    python models/organic/calibrate.py models/organic member-1 member-2 member-3 \\
        --labels models/organic/data/validation.xyz.gz --saw runs/organic/gfn2-train.xyz

The members lie in the folder of the model. On labelled geometries of molecules that were neither
trained on nor are tests, each factor makes the root mean square of what the committee says that of
the errors. Familiar is an uncertainty that 99.9 % of these geometries stay below; seen are the
bonded neighbourhoods of the training geometries. Writes committee.json and calibration.png into the
folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase.io import iread, read
from matplotlib.figure import Figure
from tqdm import tqdm

from se3set_ase.committee import Committee, environments, write_calibration
from se3set_ase.files import unpacked
from se3set_ase.potential import Potential
from se3set_ase.weighted import weighted_hypergraph

FAMILIAR = 0.999
#: Points of the plot, of as many atoms each.
BINS = 20


def main() -> None:
    """Predict, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("members", nargs="+", help="folders in that of the model")
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--saw", type=Path, nargs="+", required=True, help="training geometries")
    arguments = parser.parse_args()
    folder, members = arguments.model, arguments.members
    first = Potential(folder)
    write_calibration(folder, members, familiar_forces=1.0)  # factors of one
    committee = Committee(folder, first)
    said_energy, said_forces, longest = [], [], []
    energy_error, forces_error = [], []
    for atoms in tqdm(read(unpacked(arguments.labels), ":", format="extxyz"), disable=None):
        (prediction,) = first.predict([atoms])
        energy, forces = committee.uncertainty(prediction)
        said_energy.append(energy)
        said_forces.append(forces)
        longest.append(forces.max())
        energy_error.append(prediction.energy - atoms.get_potential_energy())
        forces_error.append(np.linalg.norm(prediction.forces - atoms.get_forces(), axis=1))
    config = first.model.hypergraph
    said, error = np.concatenate(said_forces), np.concatenate(forces_error)
    forces_factor = rms(error) / rms(said)
    seen = {
        environment
        for path in arguments.saw
        for atoms in tqdm(iread(unpacked(path), ":", format="extxyz"), path.stem, disable=None)
        for environment in environments(weighted_hypergraph(atoms.numbers, atoms.positions, config))
    }
    write_calibration(
        folder,
        members,
        energy_factor=rms(energy_error) / rms(said_energy),
        forces_factor=forces_factor,
        familiar_forces=forces_factor * float(np.quantile(longest, FAMILIAR)),
        environments=tuple(sorted(seen)),
    )
    draw(forces_factor * said, error, folder / "calibration.png")


def rms(values: object) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


def draw(said: np.ndarray, error: np.ndarray, path: Path) -> None:
    """Errors of forces against what was said of them, atoms in order of the latter."""
    bins = np.array_split(np.argsort(said), BINS)
    figure = Figure(figsize=(4, 4), layout="constrained")
    axes = figure.subplots()
    x, y = ([rms(values[b]) for b in bins] for values in (said, error))
    axes.loglog(x, y, "o-")
    axes.loglog([min(x), max(x)], [min(x), max(x)], color="black", lw=0.8)
    axes.set_xlabel("uncertainty of a force, eV/Å")
    axes.set_ylabel("error, root mean square, eV/Å")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
