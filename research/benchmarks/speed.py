"""Time of one ASE call for energy and forces, of this package and others, in one run on one core.

    python -m research.benchmarks.speed --environments FOLDER --install    # makes the environments
    python -m research.benchmarks.speed --environments FOLDER    # again, without installing
    python -m research.benchmarks.speed --draw                   # only the table and figure

FOLDER gets a virtual environment for each other potential. The machine has to be idle: compare
ratios within one run, not milliseconds of two runs. Shared machines change their speed within
minutes, so all are measured in turn, twice. Networks have random weights and their published sizes;
float32 where there is a choice. GFN2-xTB beyond 302 atoms and the published SE3Set network beyond
102 are left out, where a call takes half a minute. Writes speed.csv and speed.png.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from ase import Atoms
from ase.build import molecule
from ase.io import read, write
from matplotlib.figure import Figure

from research.benchmarks.machine import about
from research.benchmarks.peers import PEERS, measure
from research.benchmarks.systems import peptide_helix
from research.benchmarks.untrained import save_untrained
from research.organic.geometry import as_atoms, embedded_once
from research.paths import DIMER_PEPTIDE, DOCS, ROOT
from research.tables import read_rows, write_rows
from se3set_ase import SE3SetCalculator

OURS = {
    "SE3Set, default": {"preset": "light", "compile": False},
    "SE3Set, default, compiled": {"preset": "light", "compile": True},
    "SE3Set, published": {"preset": "published", "compile": False},
}
#: Largest molecule of methods for which larger ones take minutes.
LARGEST = {"SE3Set, published": 102, "GFN2-xTB": 302, "MACE-OFF medium": 302}
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#999999", "#CC79A7", "#000000")
ELEMENTS = (1, 6, 7, 8, 9, 16, 17)


def main() -> None:
    """Time all potentials, write the table and the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--environments", type=Path, help="folder for the environments of others")
    parser.add_argument("--install", action="store_true", help="make missing environments")
    parser.add_argument("--torch", default="torch==2.13.0", help="build of torch to install first")
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=PEERS)
    parser.add_argument(
        "--rounds", type=int, default=2, help="alternating; the fastest time of each counts"
    )
    parser.add_argument("--output", type=Path, default=DOCS)
    parser.add_argument("--draw", action="store_true", help="no runs")
    parser.add_argument("--ours", nargs=2, metavar=("NAME", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ours:
        measure(lambda: calculator(arguments.ours[0]), arguments.ours[1])
        return
    path = arguments.output / "speed.csv"
    if not arguments.draw:
        fastest: dict[tuple[str, object], dict[str, object]] = {}
        commands = {
            name: [sys.executable, "-m", "research.benchmarks.speed", "--ours", name]
            for name in OURS
        }
        for name in arguments.peers if arguments.environments else ():
            python = environment(arguments.environments, name, arguments)
            if python is not None:
                commands[name] = [str(python), str(Path(__file__).with_name("peers.py")), name]
        for name, command in list(commands.items()) * arguments.rounds:
            for row in timed(name, command):
                print({"potential": name, **row}, flush=True)
                new = {"potential": name, **row, **about(), "threads": 1}
                best = fastest.setdefault((name, row["atoms"]), new)
                if float(str(row["ms"])) < float(str(best["ms"])):
                    fastest[name, row["atoms"]] = new
        write_rows(path, list(fastest.values()))
    table = read_rows(path)
    print(markdown(table))
    draw(table, arguments.output / "speed.png")


def molecules() -> list[Atoms]:
    """Ethanol, aspirin, 3BPA, and Ac-Ala_n-NHMe of 42 to 1002 atoms."""
    names = ("CC(=O)Oc1ccccc1C(=O)O", "Nc1ncccc1OCc1ccccc1")
    rings = [as_atoms(embedded_once(smiles), 0) for smiles in names]
    short = read(DIMER_PEPTIDE / "ac-ala3-nhme.xyz")
    return [molecule("CH3CH2OH"), *rings, short, *(peptide_helix(n) for n in (9, 29, 99))]


def environment(folder: Path, name: str, arguments: argparse.Namespace) -> Path | None:
    """Python of the environment of another potential, or None."""
    packages = PEERS[name].packages
    home = folder / packages[0]
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not python.exists() and arguments.install:
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        pip = [str(python), "-m", "pip", "install", "-q"]
        with tempfile.TemporaryDirectory() as temporary:
            # Pinned, because another package might install another build of torch.
            pinned = Path(temporary) / "constraints.txt"
            pinned.write_text(arguments.torch + "\n")
            if name != "GFN2-xTB":
                subprocess.run([*pip, arguments.torch], check=True)
            subprocess.run([*pip, "-c", str(pinned), *packages, "ase"], check=True)
    if not python.exists():
        print(f"left out, no environment: {name} ({python})")
        return None
    return python


def timed(name: str, command: Sequence[str]) -> list[dict[str, object]]:
    """Rows for all molecules, measured in a separate process on one core."""
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "molecules.xyz"
        largest = LARGEST.get(name, 10**6)
        write(file, [m for m in molecules() if len(m) <= largest], format="extxyz")
        ran = subprocess.run(
            [*command, str(file)],
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            cwd=ROOT,
            check=False,
        )
    rows = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    if ran.returncode:
        print(f"{name} stopped after {len(rows)} molecules: {ran.stderr.strip()[-300:]}")
    return rows


def calculator(name: str) -> SE3SetCalculator:
    """Calculator of this package with random weights."""
    options = OURS[name]
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = save_untrained(Path(folder), ELEMENTS, str(options["preset"]))
        return SE3SetCalculator(
            path, device="cpu", dtype="float32", compile=bool(options["compile"])
        )


def markdown(table: Sequence[dict[str, str]]) -> str:
    """Table of times (ms) by potential and number of atoms."""
    sizes = sorted({int(row["atoms"]) for row in table})
    lines = [
        "| ms per call, atoms | " + " | ".join(map(str, sizes)) + " |",
        "|---" * (len(sizes) + 1) + "|",
    ]
    for name in dict.fromkeys(row["potential"] for row in table):
        ms = {int(row["atoms"]): float(row["ms"]) for row in table if row["potential"] == name}
        cells = [f"{ms[n]:.3g}" if n in ms else "" for n in sizes]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(table: Sequence[dict[str, str]], path: Path) -> None:
    """Draw time over size; thick lines are this package."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    colours = iter(COLOURS)
    strokes = {"SE3Set, default": "--", "SE3Set, default, compiled": "-", "SE3Set, published": ":"}
    for name in dict.fromkeys(row["potential"] for row in table):
        rows = [row for row in table if row["potential"] == name]
        stroke = (
            {"color": "#0072B2", "lw": 2.5, "ls": strokes[name]}
            if name in strokes
            else {"color": next(colours), "lw": 1.2}
        )
        axes.loglog(
            [int(row["atoms"]) for row in rows],
            [float(row["ms"]) for row in rows],
            marker=".",
            label=name,
            **stroke,
        )
    axes.set_xlabel("atoms")
    axes.set_ylabel("ms per energy and forces, one core")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
