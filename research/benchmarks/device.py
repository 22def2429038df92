"""One device and one core of the processor, in the same run: MD, batches, training, memory.

    make gpu                  # the GPU tests, then this; needs no network
    make gpu DEVICE=cpu       # without a GPU, a minute
    python -m research.benchmarks.device --device cuda

Model `organic` in float32. Prints the table and writes device.csv. What the time does not suffice
for is left out and named. On a GPU, MD and training are measured compiled, too.
"""

from __future__ import annotations

import argparse
import gzip
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from ase import Atoms, units
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet
from tabulate import tabulate

from research.benchmarks.machine import about, resident_kB
from research.benchmarks.speed import molecules
from research.paths import DOCS, ORGANIC
from research.tables import read_rows, write_rows
from se3set_ase import Potential, SE3SetCalculator
from se3set_ase.pipeline import Batch, Replica
from se3set_ase.train.config import load_config
from se3set_ase.train.trainer import Trainer

MODEL = "organic"
#: A measurement takes this many seconds, after calls that do not count.
SECONDS, WARM_UP = 1.0, 3
#: Largest molecule on one core, where a step of 1,002 atoms takes a second.
LARGEST_ON_CPU = 302
#: Numbers of aspirin molecules in a batch; on one core up to 64.
BATCHES, MOST_ON_CPU = (1, 16, 64, 256, 1024), 64
#: Frames and epochs of a training; the first epoch compiles and does not count.
FRAMES, EPOCHS, BATCH_SIZE = 320, 3, 32
TEMPERATURE_K = 300.0


class Deadline:
    """The end of the time for all measurements."""

    def __init__(self, minutes: float):
        self.end = time.monotonic() + 60.0 * minutes

    def allows(self, seconds: float, what: str) -> bool:
        """Whether there is time for something; says so if not."""
        if time.monotonic() + seconds < self.end:
            return True
        print(f"no time left for {what}", flush=True)
        return False


def main() -> None:
    """Measure on the device and on one core, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--minutes", type=float, default=7.0)
    parser.add_argument("--output", type=Path, default=DOCS)
    arguments = parser.parse_args()
    with_gpu = arguments.device == "cuda"
    if with_gpu and not torch.cuda.is_available():
        parser.error("expected a CUDA device, found none; --device cpu measures the processor")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    deadline = Deadline(arguments.minutes)
    rows: list[dict[str, object]] = []
    devices = ["cuda", "cpu"] if with_gpu else ["cpu"]
    try:
        for measure in (md_steps, batches, training):
            for each in devices:
                for row in measure(each, with_gpu, deadline):
                    rows.append({**row, "device_name": name_of(each), **about()})
    finally:
        torch.set_num_threads(threads)
    shown = ["measurement", "device", "compiled", "system", "atoms", "molecules", "value", "unit",
             "memory_MB"]  # fmt: skip
    print(tabulate([[row[key] for key in shown] for row in rows], headers=shown))
    print("; ".join(f"{each}: {name_of(each)}" for each in devices))
    write_rows(arguments.output / "device.csv", rows)


def md_steps(device: str, with_compiler: bool, deadline: Deadline) -> Iterator[dict[str, object]]:
    """Milliseconds of an MD step through ASE."""
    for compiled in (False, True) if with_compiler else (False,):
        calculator = SE3SetCalculator(MODEL, device=device, dtype="float32", compile=compiled)
        for atoms in molecules():
            name = f"an MD step of {len(atoms)} atoms on {device}"
            on_one_core = device == "cpu" and len(atoms) > LARGEST_ON_CPU
            if on_one_core or not deadline.allows(60.0 if compiled else 10.0, name):
                continue
            atoms.calc = calculator
            thermalize_momenta(atoms, temperature_K=TEMPERATURE_K, rng=np.random.default_rng(0))
            dynamics = VelocityVerlet(atoms, 0.2 * units.fs)
            reset_memory(device)
            seconds = seconds_of(partial(dynamics.run, 1))
            yield row_of(
                "MD step", device, compiled, atoms.get_chemical_formula(), len(atoms), 1,
                1000 * seconds, "ms",
            )  # fmt: skip


def batches(device: str, with_compiler: bool, deadline: Deadline) -> Iterator[dict[str, object]]:
    """Microseconds per atom of energies and forces of many molecules at once."""
    del with_compiler
    potential = Potential(MODEL, device=device, dtype="float32")
    aspirin = molecules()[1]
    for n in BATCHES:
        if (device == "cpu" and n > MOST_ON_CPU) or not deadline.allows(
            20.0, f"a batch of {n} on {device}"
        ):
            continue
        batch = Batch([Replica(potential) for _ in range(n)])
        rng = np.random.default_rng(0)
        moved = [aspirin.copy() for _ in range(n)]

        reset_memory(device)
        per_atom = 1e6 * seconds_of(partial(step, batch, moved, rng)) / (n * len(aspirin))
        yield row_of("batch", device, False, "aspirin", len(aspirin), n, per_atom, "us per atom")


def step(batch: Batch, molecules: list[Atoms], rng: np.random.Generator) -> None:
    """Displace the atoms of all molecules a little, and evaluate them."""
    for atoms in molecules:
        atoms.rattle(0.003, rng=rng)
    batch.follow(molecules)


def training(device: str, with_compiler: bool, deadline: Deadline) -> Iterator[dict[str, object]]:
    """Geometries per second of a training on labels of `organic`."""
    if not deadline.allows(180.0 if with_compiler else 20.0, f"training on {device}"):
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        train = folder / "train.xyz"
        train.write_bytes(gzip.decompress((ORGANIC / "data" / "train.xyz.gz").read_bytes()))
        config = folder / "config.yaml"
        config.write_text(CONFIG.format(folder, train, FRAMES, EPOCHS, with_compiler, device))
        reset_memory(device)
        trainer = Trainer(load_config(config), progress=False)
        trainer.run()
        seconds = [float(row["seconds"]) for row in read_rows(trainer.folder / "log.csv")]
        frames = len(trainer.batches) * BATCH_SIZE * (EPOCHS - 1)
        atoms = np.mean([len(frame.numbers) for frame in trainer.train_frames])
    speed = frames / (seconds[-1] - seconds[0])
    yield row_of(
        "training", device, with_compiler, "organic", round(float(atoms)), BATCH_SIZE, speed,
        "geometries per s",
    )  # fmt: skip


def seconds_of(call: Callable[[], object]) -> float:
    """Mean wall time of a call, after a few that do not count."""
    for _ in range(WARM_UP):
        call()
    began, calls = time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS:
        call()
        calls += 1
    return (time.perf_counter() - began) / calls


def row_of(
    measurement: str,
    device: str,
    compiled: bool,
    system: str,
    atoms: int,
    n: int,
    value: float,
    unit: str,
) -> dict[str, object]:
    """A row of the table; printed as soon as it is there."""
    row: dict[str, object] = {
        "measurement": measurement,
        "device": device,
        "compiled": compiled,
        "system": system,
        "atoms": atoms,
        "molecules": n,
        "value": float(f"{value:.3g}"),
        "unit": unit,
        "memory_MB": memory_MB(device),
    }
    print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    return row


def reset_memory(device: str) -> None:
    """Begin a new peak; the processor's is that of the whole process."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()


def memory_MB(device: str) -> int:
    """Peak memory: of the tensors on a CUDA device, or of this process."""
    if device == "cuda":
        return round(torch.cuda.max_memory_allocated() / 2**20)
    return round(resident_kB("VmHWM") / 1024) if Path("/proc/self/status").exists() else 0


def name_of(device: str) -> str:
    """Name of the hardware."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    cores = Path("/proc/cpuinfo")
    lines = cores.read_text().splitlines() if cores.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"one core of {names[0] if names else platform.machine()}"


CONFIG = """
name: speed
output: {}
data:
  train: {}
  validation: 8
  n_train: {}
  level_of_theory: as published
network:
  preset: light
training:
  loss: l2mae
  epochs: {}
  compile: {}
  device: {}
  batch_size: 32
  validate_every: 1
  threads: 1
"""

if __name__ == "__main__":
    main()
