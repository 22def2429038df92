"""Screenshots of the notebooks in a browser: docs/notebook_*.png.

    pip install '.[notebook]'           # and a chromium
    python docs/tools/screenshots.py

Each notebook runs from top to bottom, so the pictures are of what the bundled models do now.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES, DOCS = ROOT / "examples", ROOT / "docs"
WIDTH = 900
#: Height of each screenshot in pixels, up to the end of a cell.
HEIGHTS = {"06_relax_a_drug": 2195, "07_watch_a_proton_hop": 1735}


def main() -> None:
    """Run each notebook and save its screenshot."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("expected chromium or google-chrome among the programs, found neither")
    for name, height in HEIGHTS.items():
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            for file in (f"{name}.ipynb", "acetylacetone.xyz"):
                shutil.copy(EXAMPLES / file, folder)
            convert = [sys.executable, "-m", "nbconvert", "--execute", "--to", "html"]
            subprocess.run([*convert, f"{name}.ipynb"], cwd=folder, check=True)
            show = [
                browser, "--headless=new", "--no-sandbox", "--disable-gpu",
                "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--hide-scrollbars",
                f"--user-data-dir={folder / 'profile'}", f"--window-size={WIDTH},{height}",
                "--virtual-time-budget=30000",  # ms: until the molecules are drawn
                f"--screenshot={DOCS / f'notebook_{name[:2]}.png'}",
                (folder / f"{name}.html").as_uri(),
            ]  # fmt: skip
            subprocess.run(show, check=True, capture_output=True)


if __name__ == "__main__":
    main()
