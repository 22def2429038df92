"""Cost of the hypergraph: per MD step, for new chemistry, and with growing N.

    python -m research.benchmarks.engine    # a quarter of an hour on one core

Writes engine.csv; times are processor times. The network is the default one with random weights,
float32, one thread. MD steps are those of Langevin dynamics at 300 K, 0.5 fs, run with the model
`gfn2`; each frame is then given to the timed calculator.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from ase import Atoms, units
from ase.build import molecule
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.optimize import FIRE

from research.benchmarks.machine import about, resident_kB
from research.benchmarks.systems import graphene_flake, peptide_helix, water_cluster
from research.benchmarks.untrained import save_untrained
from research.paths import DOCS, ROOT
from research.tables import read_rows, write_rows
from se3set_ase import SE3SetCalculator, pipeline
from se3set_ase.hypergraph import HypergraphConfig, Refragmenter, build_hypergraph
from se3set_ase.hypergraph.structure import Hypergraph
from se3set_ase.potential import Potential

#: Number of steps by number of atoms.
STEPS = {42: 1000, 102: 300, 302: 100, 1002: 40}
ELEMENTS = (1, 6, 7, 8)
MEASUREMENTS = ("step", "unseen", "growth")
GROWTH: dict[str, list[Callable[[], Atoms]]] = {
    "peptide helix": [partial(peptide_helix, n) for n in (9, 29, 99, 199)],
    "water cluster": [partial(water_cluster, n) for n in (34, 100, 334, 667)],
    "graphene flake": [partial(graphene_flake, n) for n in (7, 12, 22, 32)],
}


def main() -> None:
    """Run the measurements and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("measurements", nargs="*", default=MEASUREMENTS, metavar="MEASUREMENT")
    parser.add_argument("--output", type=Path, default=DOCS)
    parser.add_argument("--one", nargs=2, metavar=("SYSTEM", "INDEX"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.one:
        system, index = arguments.one
        print(json.dumps(one_call(GROWTH[system][int(index)]())))
        return
    path = arguments.output / "engine.csv"
    kept = [row for row in read_rows(path) if row["measurement"] not in arguments.measurements]
    rows: list[dict[str, object]] = []
    if "step" in arguments.measurements:
        rows += [per_step(n, steps) for n, steps in STEPS.items()]
    if "unseen" in arguments.measurements:
        rows.append(unseen_chemistry())
    if "growth" in arguments.measurements:
        rows += growth()
    table: list[Mapping[str, object]] = [*kept, *({**row, **about()} for row in rows)]
    write_rows(path, sorted(table, key=lambda row: MEASUREMENTS.index(str(row["measurement"]))))


def growth() -> list[dict[str, object]]:
    """Time and memory of a call for growing N, and their exponents."""
    rows = []
    for system, sizes in GROWTH.items():
        calls = []
        for index in range(len(sizes)):
            # Each in a separate process, because peak memory is measured for a process.
            command = [
                sys.executable,
                "-m",
                "research.benchmarks.engine",
                "--one",
                system,
                str(index),
            ]
            result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
            calls.append(json.loads(result.stdout))
            rows.append(shown({"measurement": "growth", "system": system, **calls[-1]}))
        exponents = {
            f"exponent_{key}": slope([c["atoms"] for c in calls], [c[key] for c in calls])
            for key in ("edges", "call_ms", "memory_MB")
        }
        rows.append(shown({"measurement": "growth", "system": system, **exponents}))
    return rows


def per_step(n_atoms: int, steps: int) -> dict[str, object]:
    """Share of the hypergraph in a step: lists, tensors, log."""
    atoms = peptide_helix((n_atoms - 12) // 10)
    spent = {"hypergraph": 0.0, "step": 0.0}
    rebuilt = 0
    with tempfile.TemporaryDirectory() as folder:
        calc = untrained(folder)
        first, *frames = heated(atoms, steps)
        calc.get_forces(first)
        for owner, name in (
            (Refragmenter, "update"),
            (Potential, "_collated"),
            (pipeline, "observe_all"),
        ):
            timed(owner, name, spent)
        last = None
        for moved in frames:
            start = time.process_time()
            calc.get_forces(moved)
            spent["step"] += time.process_time() - start
            rebuilt += structure_of(calc) is not last
            last = structure_of(calc)
    n = len(frames)
    return shown(
        {
            "measurement": "step",
            "system": "peptide helix",
            "atoms": len(atoms),
            "step_ms": 1e3 * spent["step"] / n,
            "hypergraph_ms": 1e3 * spent["hypergraph"] / n,
            "hypergraph_percent": 100 * spent["hypergraph"] / spent["step"],
            "rebuilt_percent": 100 * rebuilt / n,
            "events": len(calc.events),
        }
    )


def structure_of(calc: SE3SetCalculator) -> Hypergraph:
    """Structure of the last call; the same object until the lists are rebuilt."""
    assert calc.hypergraph is not None
    return calc.hypergraph.structure


def timed(owner: object, name: str, spent: dict[str, float]) -> None:
    """Add the time of a method to spent["hypergraph"], from now on."""
    inner = getattr(owner, name)
    if hasattr(inner, "inner"):
        inner = inner.inner

    def outer(*args: object, **kwargs: object) -> object:
        start = time.process_time()
        try:
            return inner(*args, **kwargs)
        finally:
            spent["hypergraph"] += time.process_time() - start

    outer.inner = inner  # type: ignore[attr-defined]
    setattr(owner, name, outer)


def heated(atoms: Atoms, steps: int) -> list[Atoms]:
    """Geometries of consecutive MD steps of 0.5 fs at 300 K."""
    moving = atoms.copy()
    moving.calc = SE3SetCalculator("gfn2", device="cpu", dtype="float32")
    FIRE(moving, logfile=None).run(fmax=0.5, steps=30)
    thermalize_momenta(moving, temperature_K=300, rng=np.random.default_rng(1))
    dynamics = Langevin(
        moving, 0.5 * units.fs, temperature_K=300, friction=0.02 / units.fs, fixcm=False
    )
    dynamics.run(40)
    frames = []
    dynamics.attach(lambda: frames.append(moving.copy()))
    dynamics.run(steps - 1)
    return frames


def unseen_chemistry() -> dict[str, object]:
    """Time of a hypergraph of 1002 atoms without cached results, three bonds partially broken."""
    atoms = peptide_helix(99)
    config = HypergraphConfig()
    hydrogens = np.flatnonzero(atoms.numbers == 1)[[100, 300, 301]]
    distance = np.linalg.norm(atoms.positions[hydrogens][:, None] - atoms.positions, axis=2)
    for h, row in zip(hydrogens, distance, strict=True):
        row[h] = np.inf
        bonded = atoms.positions[row.argmin()]
        atoms.positions[h] = bonded + 1.35 * (atoms.positions[h] - bonded)
    times = []
    for _ in range(5):
        start = time.process_time()
        graph = build_hypergraph(atoms.numbers, atoms.positions, config)
        times.append(time.process_time() - start)
    return shown(
        {
            "measurement": "unseen",
            "system": "peptide helix",
            "atoms": len(atoms),
            "ambiguous_bonds": len(graph.bond_atoms),
            "hypergraph_ms": 1e3 * min(times),
        }
    )


def one_call(atoms: Atoms) -> dict[str, float]:
    """Time and peak memory of an energy and forces call without cached lists."""
    with tempfile.TemporaryDirectory() as folder:
        calc = untrained(folder)
        calc.get_forces(molecule("H2O"))
        times, memory = [], []
        for k in range(3 if len(atoms) > 500 else 6):
            moved = atoms.copy()
            moved.positions += k  # makes all lists invalid
            Path("/proc/self/clear_refs").write_text("5")  # resets the peak
            before = resident_kB("VmRSS")
            start = time.process_time()
            calc.get_forces(moved)
            times.append(time.process_time() - start)
            memory.append(resident_kB("VmHWM") - before)
    hypergraph = calc.hypergraph
    assert hypergraph is not None
    return {
        "atoms": len(atoms),
        "fragments": len(hypergraph.fragments),
        "edges": hypergraph.n_edges,
        "call_ms": 1e3 * min(times),
        "memory_MB": max(memory) / 1024,  # in addition to the memory before the call
    }


def slope(sizes: list[float], values: list[float]) -> float:
    """Slope of a straight line through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def untrained(folder: str) -> SE3SetCalculator:
    """Calculator of the default network with random weights."""
    path = save_untrained(Path(folder) / "untrained", ELEMENTS)
    return SE3SetCalculator(path, device="cpu", dtype="float32")


def shown(row: dict[str, object]) -> dict[str, object]:
    """Print a row and return it."""
    print({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}, flush=True)
    return row


if __name__ == "__main__":
    main()
