"""Check an installed wheel: imported from site-packages, typed, and with all its models."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import se3set_ase

package = Path(se3set_ase.__file__).parent
assert package.is_relative_to(Path(sys.prefix)), f"imported from {package}, not from the wheel"
assert importlib.util.find_spec("research") is None, "the wheel carries what made the models"
assert (package / "py.typed").is_file(), "py.typed is missing"
assert (package / "pictures" / "javascript" / "3Dmol-min.js").is_file(), "the viewer is missing"
assert se3set_ase.SE3SetCalculator is not None

bundled = sorted(path.parent.name for path in (package / "models").glob("*/model.json"))
assert bundled, "the wheel carries no model"
command = Path(sys.executable).parent / "se3set-ase"
listed = subprocess.run([command, "models"], capture_output=True, text=True, check=True).stdout
missing = [name for name in bundled if name not in listed]
assert not missing, f"`se3set-ase models` does not list {missing}:\n{listed}"
kinds = {path.suffix for path in (package / "models").rglob("*") if path.is_file()}
assert kinds <= {".safetensors", ".json", ".md", ".png"}, f"models holds {sorted(kinds)}"
for name in bundled:
    se3set_ase.SE3SetCalculator(name)
print(f"wheel: se3set-ase {se3set_ase.__version__}, models {', '.join(bundled)}")
