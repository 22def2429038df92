"""Trains a bundled model again: data, pre-training, training.

    pip install 'se3set-ase[train,label]'
    python -m research.reproduce 3bpa --data FOLDER

`organic` starts from `organic-gfn2`, `organic-xtb` from a network of its own, all others except
`gfn2` from `gfn2`. `organic-gfn2` needs FOLDER/des-monomers/conformers.xyz.gz, `gfn2` and
`organic` need no data, `organic-xtb` the benchmark reactions (research/truth/reactions.py), whose
near copies it leaves out, and the others those of research.benchmarks.accuracy. Each step writes a
file and is skipped if that file exists; an interrupted training resumes. The result, in
runs/NAME/model, corresponds to models/NAME.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from research.paths import CONFIGS, MODELS, ROOT, RUNS

#: The molecule whose GFN2-xTB surface comes first: name in research.gfn2.frames, frames at each of
#: three temperatures, frames of rotamers.
OWN_FRAMES = {
    "3bpa": ("3bpa", 2000, 2000),
    "acac": ("acetylacetone", 3000, 3000),
    "ethanol": ("ethanol", 3000, 1000),
}
#: Models that start from a model of :data:`OWN_FRAMES`, by its name.
PRETRAINED = {"3bpa": "3bpa", "acac": "acac", "ethanol": "ethanol", "rmd17-ethanol": "ethanol"}
#: Models that need no data from outside the repository.
WITHOUT_DATA = ("gfn2", "organic", "organic-xtb")
#: Geometries of large molecules and many contacts, from which bulk labels start too.
LARGE: dict[str, tuple[str, ...]] = {
    "large": ("--frames", "1000"), "stacks": (), "conformers": (),
}  # fmt: skip
#: Models that will be bundled.
COMING = ("organic-xtb",)


def main() -> None:
    """Run the steps of one model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    bundled = {path.parent.name for path in MODELS.glob("*/model.json")}
    parser.add_argument("name", choices=sorted(bundled.union(COMING)))
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="of published data")
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    name, data, processes = arguments.name, arguments.data, arguments.processes
    if data is None and name not in WITHOUT_DATA:
        parser.error(f"expected --data, the folder of the data that {name} is trained on")
    if name == "gfn2":
        make_frames("gfn2", "--processes", processes)
    elif name == "organic":
        make_isolated_atoms()
    elif name == "organic-xtb":
        make_bulk(processes)
        run("research.correction.dataset")
        run("research.correction.first")
        if not trained("organic-xtb-first"):
            train("organic-xtb-first")
    elif name == "organic-gfn2":
        make_isolated_atoms()
        make_many_frames(data / "des-monomers", processes)
        for stage, config in (("first", "pretrain"), ("second", "second")):
            if not trained(f"organic-gfn2-{stage}"):
                train(f"organic-gfn2-{config}")
    else:
        run("research.benchmarks.accuracy", "--data", data.resolve(), "--prepare")
    if own := PRETRAINED.get(name):
        system, frames, rotamers = OWN_FRAMES[own]
        options = ("--system", system, "--frames", frames, "--rotamers", rotamers)
        make_frames(own, *options, "--processes", processes)
        if not trained(f"{own}-gfn2"):
            train(f"{own}-pretrain")
    train(name)


def make_frames(name: str, *options: object) -> None:
    """Run GFN2-xTB dynamics for a model, unless its frames exist."""
    path = RUNS / "frames" / name / "frames.xyz"
    if not path.exists():
        run("research.gfn2.frames", *options, "--output", path)


def make_isolated_atoms() -> None:
    """Label isolated atoms, unless they exist."""
    if not (RUNS / "geometries" / "isolated_atoms.xyz").exists():
        run("research.organic.atoms")


def make_many_frames(monomers: Path, processes: int) -> None:
    """Geometries of the molecules in research/organic/molecules.csv, with labels by GFN2-xTB."""
    folder = RUNS / "geometries"
    output = ("--output", folder)
    parallel = ("--processes", processes, *output)
    structures = "research.organic.structures"
    run(structures, *parallel)
    run(
        structures,
        *parallel,
        "--round",
        2,
        "--monomers",
        (monomers / "conformers.xyz.gz").resolve(),
    )
    run(structures, *parallel, "--round", 3)
    run(structures, *parallel, "--paths")
    run("research.organic.torsions", *parallel)
    run("research.organic.smallest", *output)
    for part in ("train", "validation", "test"):
        frames, labels = folder / f"{part}.xyz", folder / f"gfn2-{part}.xyz"
        names = (f"{kind}-{part}.xyz" for kind in ("monomers", "paths", "smallest", "turning"))
        kinds = (f"structures-{part}-*.xyz", *names)
        made = [path for kind in kinds for path in sorted(folder.glob(kind))]
        frames.write_text("".join(path.read_text() for path in made))
        options = ("--processes", processes, "--frames-per-task", 50, "--output", labels)
        run("se3set_ase", "label", frames, "--method", "GFN2-xTB", *options)


def make_bulk(processes: int) -> None:
    """GFN2-xTB labels of twelve elements, and the networks that are trained on them first."""
    bulk, large = RUNS / "bulk", RUNS / "bulk-large"
    if not (bulk / "train.xyz").exists():
        pools = []
        for name, options in LARGE.items():
            pools.append(RUNS / "geometries" / f"{name}.xyz")
            run(f"research.geometries.{name}", *options, "--output", pools[-1])
        run("research.labels.bulk", "--processes", processes)
        run("research.labels.bulk", *pools, "--output", large, "--processes", processes)
        run("research.gfn2.dataset", "--more", large)
    for name in ("gfn2-bulk", "gfn2-large"):
        if not trained(name):
            train(name)


def trained(name: str) -> bool:
    """Whether a training has finished."""
    return (RUNS / name / "model" / "model.json").exists()


def train(config: str) -> None:
    """Run ``se3set-ase train`` with one of the configurations."""
    run("se3set_ase", "train", CONFIGS / f"{config}.yaml")


def run(module: str, *arguments: object) -> None:
    """Run a module with this Python from the root of the repository."""
    subprocess.run([sys.executable, "-m", module, *map(str, arguments)], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
