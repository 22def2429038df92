"""Continuous integration: the versions that it tests, and the walk that CONTRIBUTING describes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]

needs_tomllib = pytest.mark.skipif(sys.version_info < (3, 11), reason="needs tomllib")


def constraints(which: str) -> dict[str, str]:
    """Versions by package, as `.ci/constraints.py` prints them."""
    command = [sys.executable, str(ROOT / ".ci" / "constraints.py"), which]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return dict(line.split("==") for line in printed.splitlines())


@needs_tomllib
def test_lowest_versions_are_the_lower_bounds() -> None:
    lowest = constraints("lowest")
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for name in ("torch", "ase", "numpy", "pyscf", "tblite", "lightning-fabric"):
        assert f'"{name}>={lowest[name]}' in text


@needs_tomllib
def test_linters_keep_the_tested_versions() -> None:
    tested = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    for which in ("lowest", "newest"):
        for name in ("ruff", "mypy", "pytest"):
            assert f"{name}=={constraints(which)[name]}\n" in tested
    assert "torch" not in constraints("newest")


def test_hosted_runner_runs_the_same_script() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())
    job = workflow["jobs"]["test"]
    versions = {entry["versions"] for entry in job["strategy"]["matrix"]["include"]}
    assert versions == {"tested", "lowest", "newest"}
    assert any(step.get("run", "").endswith(".ci/run") for step in job["steps"])


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")))
def test_issue_templates_are_complete(path: Path) -> None:
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert form["name"]
    assert form["description"]
    labels = [field["attributes"]["label"] for field in form["body"]]
    assert len(set(labels)) == len(labels) > 0


def test_walk_from_positions_to_forces_names_existing_files() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    stops = re.findall(r"^\d\. `([\w/.]+)`", text, re.MULTILINE)
    assert 3 < len(stops) <= 8
    for stop in stops:
        assert (ROOT / stop).is_file(), stop
    for named in re.findall(r"`((?:se3set_ase|tests|docs|\.ci|\.github)/[\w/.-]+)`", text):
        assert (ROOT / named).exists(), named
