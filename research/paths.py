"""Folders of the repository that the scripts read and write."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "models"
EXAMPLES = ROOT / "examples"
#: Tables and figures of the documentation site.
DOCS = ROOT / "docs"
#: Not tracked: geometries, prepared data and trainings.
RUNS = ROOT / "runs"
#: Training configurations, one for each training.
CONFIGS = ROOT / "research" / "configs"
#: Lists of molecules (``*.smi``, ``molecules.csv``) and labels of the model `organic`.
ORGANIC = ROOT / "research" / "organic"
#: A small model for benchmarks of energy conservation, with its molecules.
DIMER_PEPTIDE = ROOT / "research" / "benchmarks" / "gfn2"
