"""Energy conservation in NVE dynamics, with smooth and with hard membership.

    python -m research.benchmarks.energy_conservation    # everything: hours on one core
    python -m research.benchmarks.energy_conservation acac --dtype float64
    python -m research.benchmarks.energy_conservation acac --compile    # compiles the smooth runs
    python -m research.benchmarks.energy_conservation water-box --model MODEL --picoseconds 5
    python -m research.benchmarks.energy_conservation --draw            # only table and figure

Each run writes its row and its energies to docs/energy_conservation/. The table and the figure are
made from the files in that folder, so runs may be separate or in parallel.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.io import read
from matplotlib.figure import Figure
from tqdm import tqdm

from research.benchmarks.machine import about
from research.benchmarks.systems import water_box, zwitterion_in_water
from research.paths import DIMER_PEPTIDE, DOCS, EXAMPLES
from research.tables import read_rows, write_rows
from se3set_ase import SE3SetCalculator
from se3set_ase.simulate import DynamicsResult, md, relax

Membership = Literal["smooth", "hard"]
Dtype = Literal["float64", "float32"]
COLOURS = {"smooth": "#0072B2", "hard": "#D55E00"}
KINDS = ("reach", "fragments", "bond")
STROKES: dict[str, dict[str, Any]] = {
    "reach": {"color": "#999999"},
    "fragments": {"color": "#009E73", "lw": 2.5},
    "bond": {"color": "#CC79A7", "linestyle": "--"},
}
#: Number of steps of 0.5 fs between rows of the written energies: 0.1 ps.
THINNING = 200


@dataclass(frozen=True)
class System:
    """A molecule, its model, and the initial temperature after a relaxation.

    Half of the heat becomes potential energy: 600 K lead to about 300 K, at which a dimer
    dissociates.
    """

    title: str
    model: str
    atoms: Callable[[], Atoms]
    start_K: float = 600.0


SYSTEMS = {
    "acac": System(
        "acetylacetone, model acac", "acac", partial(read, EXAMPLES / "acetylacetone.xyz")
    ),
    "ethanol-dimer": System(
        "ethanol dimer, model gfn2",
        "gfn2",
        partial(read, DIMER_PEPTIDE / "ethanol-dimer.xyz"),
        start_K=300.0,
    ),
    "ac-ala3-nhme": System(
        "Ac-Ala3-NHMe, model gfn2", "gfn2", partial(read, DIMER_PEPTIDE / "ac-ala3-nhme.xyz")
    ),
}
#: Systems for a model with charges, which is given.
CHARGED = {
    "zwitterion": System("glycine zwitterion in four waters", "", zwitterion_in_water),
    "water-box": System("box of 32 waters", "", water_box),
}


def main() -> None:
    """Run the dynamics, write the table and the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("systems", nargs="*", metavar="SYSTEM", help=", ".join(SYSTEMS))
    parser.add_argument("--dtype", nargs="+", default=["float64", "float32"])
    parser.add_argument("--refragment", nargs="+", default=["smooth", "hard"])
    parser.add_argument("--picoseconds", type=float, default=50.0)
    parser.add_argument("--hard-picoseconds", type=float, default=1.0)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--output", type=Path, default=DOCS / "energy_conservation")
    parser.add_argument("--model", help=f"for {', '.join(CHARGED)}")
    parser.add_argument("--draw", action="store_true", help="no runs")
    arguments = parser.parse_args()
    systems = dict(SYSTEMS)
    if arguments.model:
        systems |= {k: replace(s, model=arguments.model) for k, s in CHARGED.items()}
    if unknown := set(arguments.systems) - set(systems):
        parser.error(f"expected systems out of {', '.join(systems)}, got {', '.join(unknown)}")
    arguments.output.mkdir(parents=True, exist_ok=True)
    lengths = {"smooth": arguments.picoseconds, "hard": arguments.hard_picoseconds}
    for name in [] if arguments.draw else arguments.systems or SYSTEMS:
        for dtype in arguments.dtype:
            for refragment in arguments.refragment:
                compiled = arguments.compile and refragment == "smooth"
                steps = round(lengths[refragment] * 2000)
                result = run(systems[name], refragment, dtype, compiled, steps)
                row = describe(name, systems[name].model, refragment, dtype, compiled, result)
                path = arguments.output / f"{name}_{refragment}_{dtype}"
                write_rows(path.with_suffix(".row.csv"), [row])
                write_rows(path.with_suffix(".csv"), trace(result))
                print({k: row[k] for k in list(row)[:10]}, flush=True)
    rows = [read_rows(path)[0] for path in sorted(arguments.output.glob("*.row.csv"))]
    if rows:
        write_rows(arguments.output.with_suffix(".csv"), rows)
        draw(arguments.output, arguments.output.with_suffix(".png"))


def run(
    system: System, refragment: Membership, dtype: Dtype, compiled: bool, steps: int
) -> DynamicsResult:
    """Relax, then run NVE from a Maxwell-Boltzmann distribution in steps of 0.5 fs."""
    atoms = system.atoms()
    atoms.calc = SE3SetCalculator(system.model, dtype="float64")
    relax(atoms, fmax=0.02)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that hard membership is for comparison only
        atoms.calc = SE3SetCalculator(
            system.model, dtype=dtype, refragment=refragment, compile=compiled
        )
    with tqdm(desc=f"{refragment}, {dtype}", total=steps, disable=None) as bar:
        return md(
            atoms,
            temperature_K=system.start_K,
            timestep=0.5,
            steps=steps,
            ensemble="nve",
            seed=1,
            interval=2,
            progress=bar.update,
        )


def describe(
    name: str, model: str, refragment: str, dtype: str, compiled: bool, result: DynamicsResult
) -> dict[str, object]:
    """Row of the table."""
    kinds = [e.kind for e in result.events]
    return {
        "system": name,
        "model": model,
        "refragment": refragment,
        "dtype": dtype,
        "compiled": compiled,
        "picoseconds": round(float(result.time[-1]), 3),
        "mean_temperature_K": round(float(result.temperature.mean()), 1),
        "drift_meV_atom_ps": result.drift(),
        "spread_meV_atom": float(per_atom(result).std()),
        "largest_step_meV": float(1000 * np.abs(np.diff(result.total)).max()),
        "events": len(kinds),
        "bond_events": sum(kind.startswith("bond") for kind in kinds),
        "atoms": result.n_atoms,
        **about(),
    }


def per_atom(result: DynamicsResult) -> np.ndarray:
    """Change of the total energy since the start, meV/atom."""
    return 1000 * (result.total - result.total[0]) / result.n_atoms


def trace(result: DynamicsResult) -> list[dict[str, object]]:
    """Total energy and number of events since the last row, every 0.1 ps."""
    every = slice(None, None, THINNING // 2)
    times = result.time[every]
    bins = np.append(times, np.inf)
    events = np.array(result.event_times)
    kinds = np.array([e.kind.split()[0] for e in result.events], dtype=str)
    counts = {kind: np.histogram(events[kinds == kind], bins)[0] for kind in KINDS}
    return [
        {
            "time_ps": round(float(time), 4),
            "total_energy_meV_atom": round(float(energy), 6),
            **{f"{kind}_events": int(count[k]) for kind, count in counts.items()},
        }
        for k, (time, energy) in enumerate(zip(times, per_atom(result)[every], strict=True))
    ]


def draw(folder: Path, path: Path) -> None:
    """Draw total energy and events over time for each system, float64."""
    names = [name for name in SYSTEMS if (folder / f"{name}_smooth_float64.csv").exists()]
    if not names:
        return
    figure = Figure(figsize=(8, 2.6 * len(names)), layout="constrained")
    axes = figure.subplots(
        2 * len(names), 1, sharex=True, squeeze=False, height_ratios=[3, 1] * len(names)
    )[:, 0]
    for name, energy, events in zip(names, axes[::2], axes[1::2], strict=True):
        for refragment in ("hard", "smooth"):
            stem = f"{name}_{refragment}_float64"
            if not (folder / f"{stem}.csv").exists():
                continue
            row = read_rows(folder / f"{stem}.row.csv")[0]
            rows = read_rows(folder / f"{stem}.csv")
            time, total = (
                np.array([float(r[key]) for r in rows])
                for key in ("time_ps", "total_energy_meV_atom")
            )
            drift = float(row["drift_meV_atom_ps"])
            label = f"{refragment}: {drift:+.2g} meV/atom/ps, {row['events']} events"
            energy.plot(time, total, color=COLOURS[refragment], lw=1.2, label=label)
        times = [float(r["time_ps"]) for r in rows]  # of the smooth run, drawn last
        for kind in KINDS:
            counts = [int(r[f"{kind}_events"]) for r in rows]
            if any(counts):
                per_ps, edges = np.histogram(times, np.arange(max(times) + 1), weights=counts)
                events.stairs(per_ps, edges, baseline=None, label=kind, **STROKES[kind])
        energy.set_title(SYSTEMS[name].title, loc="left", fontsize="medium")
        energy.set_ylabel("total energy\nmeV/atom")
        energy.legend(frameon=False, fontsize="small")
        events.set_ylim(0, 1.5 * events.get_ylim()[1])
        events.set_ylabel("events\nper ps")
        events.legend(frameon=False, fontsize="small", ncols=3, loc="upper right")
    axes[-1].set_xlabel("time / ps")
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
