"""Seconds from the start of Python to the first energy and forces: eager and compiled.

    python -m research.benchmarks.first_minute    # five minutes; the machine has to be idle

Aspirin with `organic` in float32. "compiled, first" has an empty cache, "compiled, later" finds the
compiled model, and "in the background" answers while another process compiles: the second number is
when it uses the compiled model. Writes first_minute.csv.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from research.benchmarks.machine import about
from research.paths import DOCS, ROOT
from research.tables import write_rows

#: Name of a measurement: the option, and whether the cache is empty.
WAYS: dict[str, tuple[bool | str, bool]] = {
    "eager": (False, True),
    "compiled, first": (True, True),
    "compiled, later": (True, False),
    "in the background": ("background", True),
}
CODE = """
import json, sys, time
start = float(sys.argv[1])
from se3set_ase import SE3SetCalculator
from se3set_ase.io.smiles import atoms_from_smiles
imported = time.time() - start
atoms = atoms_from_smiles("CC(=O)Oc1ccccc1C(=O)O")
ready = time.time()
atoms.calc = SE3SetCalculator(dtype="float32", device="cpu", compile=eval(sys.argv[2]))
atoms.get_forces()
first = time.time() - ready
steps = 0
while atoms.calc.potential._compilation is not None:
    atoms.rattle(1e-3, seed=steps)
    atoms.get_forces()
    steps += 1
print(json.dumps({"import_s": imported, "first_forces_s": first,
                  "compiled_after_s": time.time() - ready if steps else "", "eager_steps": steps}))
"""


def main() -> None:
    """Each way in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=DOCS)
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (way, (option, empty)) in enumerate(WAYS.items()):
            cache = Path(folder) / (str(number) if empty else str(number - 1))
            ran = subprocess.run(
                [sys.executable, "-c", CODE, str(time.time()), repr(option)],
                env={**os.environ, "SE3SET_ASE_CACHE": str(cache), "OMP_NUM_THREADS": "1"},
                capture_output=True,
                text=True,
                check=True,
                cwd=ROOT,
            )
            found = json.loads(ran.stdout)
            row = {k: round(v, 1) if isinstance(v, float) else v for k, v in found.items()}
            rows.append({"way": way, "atoms": 21, **row, **about()})
            print(rows[-1], flush=True)
    write_rows(arguments.output / "first_minute.csv", rows)


if __name__ == "__main__":
    main()
