"""Make a bundled model again: data, pre-training, training. All but `gfn2` begin from `gfn2`.

    pip install 'se3set-ase[train]' tblite
    python models/reproduce.py 3bpa --data ../shared/data

Each step leaves a file, and is passed over where that file is; a training that was stopped goes on
where it was. Afterwards runs/NAME/model is what models/NAME has.
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
    parser.add_argument("--data", type=Path, help="as of benchmarks/accuracy.py; not for gfn2")
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.name == "gfn2":
        make_frames(ROOT / "models" / "gfn2", "--processes", arguments.processes)
    elif arguments.data is None:
        parser.error(f"expected --data, which {arguments.name} is trained on")
    else:
        run("benchmarks/accuracy.py", "--data", arguments.data.resolve(), "--prepare")
    if first := BEGINS_WITH.get(arguments.name):
        folder = ROOT / "models" / first.removesuffix("-gfn2")
        system, frames, rotamers = OWN_FRAMES[folder.name]
        options = ("--system", system, "--frames", frames, "--rotamers", rotamers)
        make_frames(folder, *options, "--processes", arguments.processes)
        if not (ROOT / "runs" / first / "model" / "model.json").exists():
            train(folder / "pretrain.yaml")
    train(ROOT / "models" / arguments.name / "train.yaml")


def make_frames(folder: Path, *options: object) -> None:
    """Unless they are there."""
    if not (folder / "frames.xyz").exists():
        run("models/gfn2/frames.py", *options, "--output", folder / "frames.xyz")


def train(config: Path) -> None:
    """As ``se3set-ase train`` does."""
    run("-m", "se3set_ase", "train", config)


def run(*arguments: object) -> None:
    """A command of this Python, from the repository."""
    subprocess.run([sys.executable, *map(str, arguments)], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
