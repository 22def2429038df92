"""Write a pip constraints file with the lowest or the newest supported versions.

    python .ci/constraints.py lowest > lowest.txt
    python .ci/constraints.py newest > newest.txt

``lowest`` pins every lower bound of ``pyproject.toml``; tools of development keep the versions of
``constraints.txt``, since an older linter or type checker has other rules. ``newest`` leaves the
versions of all other packages to pip. Needs Python 3.11 or newer.
"""

import re
import sys
from pathlib import Path

import tomllib

ROOT = Path(__file__).parents[1]
TOOLS = ("dev", "docs", "notebook")
"""Extras of ``pyproject.toml`` that no user of the package needs."""
REQUIREMENT = re.compile(r"^([\w.-]+)(?:>=([\w.]+))?[^;]*(;.*)?$")


def lowest(project: dict) -> list[str]:
    """``name==version`` for every lower bound of the package and its extras, with markers."""
    requirements = list(project["dependencies"])
    for name, extra in project["optional-dependencies"].items():
        if name not in TOOLS:
            requirements += extra
    found = (REQUIREMENT.match(requirement) for requirement in requirements)
    return sorted({f"{m[1]}=={m[2]}{' ' + m[3] if m[3] else ''}" for m in found if m and m[2]})


def tools(project: dict, constraints: str) -> list[str]:
    """The lines of ``constraints.txt`` for the tools of development."""
    extras = project["optional-dependencies"]
    found = (REQUIREMENT.match(text) for name in TOOLS for text in extras[name])
    names = {m[1].lower() for m in found if m}
    return [line for line in constraints.splitlines() if line.partition("==")[0].lower() in names]


def main(arguments: list[str]) -> None:
    if arguments not in (["lowest"], ["newest"]):
        sys.exit("expected one argument, lowest or newest")
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(pyproject)["project"]
    lines = tools(project, (ROOT / "constraints.txt").read_text(encoding="utf-8"))
    if arguments == ["lowest"]:
        lines = lowest(project) + lines
    print("\n".join(lines))


if __name__ == "__main__":
    main(sys.argv[1:])
