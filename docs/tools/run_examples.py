"""Run the examples and save their output for the pages of the site.

    python docs/tools/run_examples.py [01_single_point ...]

Needed again when a bundled model or an example has changed; a quarter of an hour for all of them.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
PRINTED = ROOT / "docs" / "tutorials" / "printed"


def printed(script: Path) -> str:
    """Command and standard output; files go to a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, str(script)],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    # Timings differ between machines.
    lines = [line for line in done.stdout.splitlines() if not line.startswith("speed ")]
    return "\n".join([f"$ python examples/{script.name}", *lines]) + "\n"


def main() -> None:
    """Run all examples, or those named on the command line."""
    names = sys.argv[1:] or sorted(path.stem for path in EXAMPLES.glob("*.py"))
    PRINTED.mkdir(parents=True, exist_ok=True)
    for name in names:
        print(name, flush=True)
        (PRINTED / f"{name}.txt").write_text(printed(EXAMPLES / f"{name}.py"), encoding="utf-8")


if __name__ == "__main__":
    main()
