"""Make a bundled model again: data, pre-training, training.

    pip install 'se3set-ase[train,label]'
    python models/reproduce.py 3bpa --data ../shared/data

`organic` begins from `organic-gfn2`, all others but `gfn2` from `gfn2`. `organic-gfn2` takes
FOLDER/des-monomers/conformers.xyz.gz of the data, the others what benchmarks/accuracy.py does;
`gfn2` and `organic` take none. Each step leaves a file, and is passed over where that file is; a
training that was stopped goes on where it was. Afterwards runs/NAME/model is what models/NAME has.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: The molecule whose GFN2-xTB surface comes first: name in gfn2/frames.py, frames at each of three
#: temperatures, frames of rotamers.
OWN_FRAMES = {
    "3bpa": ("3bpa", 2000, 2000),
    "acac": ("acetylacetone", 3000, 3000),
    "ethanol": ("ethanol", 3000, 1000),
}
#: What each model begins with.
BEGINS_WITH = {
    "3bpa": "3bpa-gfn2",
    "acac": "acac-gfn2",
    "ethanol": "ethanol-gfn2",
    "rmd17-ethanol": "ethanol-gfn2",
}


def main() -> None:
    """Step by step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    bundled = sorted(path.parent.name for path in ROOT.glob("models/*/model.json"))
    parser.add_argument("name", choices=bundled)
    parser.add_argument("--data", type=Path, metavar="FOLDER")
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    name, data, processes = arguments.name, arguments.data, arguments.processes
    if data is None and name not in ("gfn2", "organic"):
        parser.error(f"expected --data, which {name} is trained on")
    if name == "gfn2":
        make_frames(ROOT / "models" / "gfn2", "--processes", processes)
    elif name == "organic-gfn2":
        make_many_frames(data / "des-monomers", processes)
        for stage, config in (("first", "pretrain.yaml"), ("second", "second.yaml")):
            if not (ROOT / "runs" / f"organic-gfn2-{stage}" / "model" / "model.json").exists():
                train(ROOT / "models" / "organic-gfn2" / config)
    elif name != "organic":  # whose labels are in the repository
        run("benchmarks/accuracy.py", "--data", data.resolve(), "--prepare")
    if first := BEGINS_WITH.get(name):
        folder = ROOT / "models" / first.removesuffix("-gfn2")
        system, frames, rotamers = OWN_FRAMES[folder.name]
        options = ("--system", system, "--frames", frames, "--rotamers", rotamers)
        make_frames(folder, *options, "--processes", processes)
        if not (ROOT / "runs" / first / "model" / "model.json").exists():
            train(folder / "pretrain.yaml")
    train(ROOT / "models" / name / "train.yaml")


def make_frames(folder: Path, *options: object) -> None:
    """Unless they are there."""
    if not (folder / "frames.xyz").exists():
        run("models/gfn2/frames.py", *options, "--output", folder / "frames.xyz")


def make_many_frames(monomers: Path, processes: int) -> None:
    """Of the molecules of models/organic/molecules.csv, with labels by GFN2-xTB."""
    folder = ROOT / "runs" / "geometries"
    make = ("models/organic/structures.py", "--processes", processes, "--output", folder)
    run(*make)
    run(*make, "--round", 2, "--monomers", (monomers / "conformers.xyz.gz").resolve())
    run(*make, "--round", 3)
    run(*make, "--paths")
    run("models/organic/turning.py", *make[1:])
    run("models/organic/smallest.py", *make[3:])
    for part in ("train", "validation", "test"):
        frames, labels = folder / f"{part}.xyz", folder / f"gfn2-{part}.xyz"
        names = (f"{kind}-{part}.xyz" for kind in ("monomers", "paths", "smallest", "turning"))
        kinds = (f"structures-{part}-*.xyz", *names)
        made = [path for kind in kinds for path in sorted(folder.glob(kind))]
        frames.write_text("".join(path.read_text() for path in made))
        options = ("--processes", processes, "--frames-per-task", 50, "--output", labels)
        run("-m", "se3set_ase", "label", frames, "--method", "GFN2-xTB", *options)


def train(config: Path) -> None:
    """As ``se3set-ase train`` does."""
    run("-m", "se3set_ase", "train", config)


def run(*arguments: object) -> None:
    """A command of this Python, from the repository."""
    subprocess.run([sys.executable, *map(str, arguments)], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
