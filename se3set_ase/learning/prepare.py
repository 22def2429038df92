"""Checks a learning run before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from se3set_ase.baseline import KNOWN
from se3set_ase.checkpoint.registry import list_models, resolve_model
from se3set_ase.checkpoint.store import load_metadata
from se3set_ase.io.levels import same_level
from se3set_ase.jobs.resumable import fingerprint
from se3set_ase.label.labellers import make_labeller
from se3set_ase.label.protocol import Labeller, charge_and_spin
from se3set_ase.learning import defaults
from se3set_ase.learning.budget import Budget
from se3set_ase.learning.candidates import By, Choice
from se3set_ase.learning.members import Recipe
from se3set_ase.learning.models import Job
from se3set_ase.learning.start import Given, Start, check_elements, read_start
from se3set_ase.learning.state import State
from se3set_ase.learning.surfaces import HEAVIEST, First, default_first

DEFAULT_INITIAL = "organic"
"""Initial model if no bundled one has the level of theory of the labels."""
NONE = "none"
"""As initial model: random weights."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A checked run, before anything is computed."""

    job: Job
    budget: Budget
    state: State
    settings: dict[str, Any]
    initial_name: str

    def describe(self) -> str:
        """What the run does, in a few lines."""
        job, budget = self.job, self.budget
        what = "reaction of " if job.start.reaction else ""
        charge = f", charge {job.start.charge:+d}" if job.start.charge else ""
        temperatures = " and ".join(f"{t:g}" for t in job.choice.temperatures_K)
        extra = [
            *(["torsions"] if job.choice.torsions else []),
            *(["contacts of two molecules"] if job.choice.dimers else []),
            *(["the path of the reaction"] if job.start.reaction else []),
        ]
        correction = f", as a correction to {job.recipe.baseline}" if job.recipe.baseline else ""
        hours = "" if budget.hours is None else f" or {budget.hours:g} h"
        return (
            f"learn {what}{job.start.formula}{charge}: {job.labeller.level_of_theory} from "
            f"{self.initial_name}{correction}\n"
            f"sample: {', '.join([f'dynamics at {temperatures} K', *extra])}; the first geometries "
            f"by {job.first}\n"
            f"until: {budget.forces:g} meV/A on fresh geometries, {budget.labels} labels{hours}; "
            f"{job.per_round} a round, {job.committee} models"
        )


def prepare(
    given: Sequence[Given],
    *,
    method: str | Labeller,
    output: str | Path,
    charge: int | None,
    options: Mapping[str, Any] | None,
    temperatures_K: Sequence[float],
    forces: float,
    labels: int,
    hours: float | None,
    committee: int,
    choice: By | None,
    initial: str | Path | None,
    baseline: str | None,
    torsions: bool,
    dimers: bool,
    reaction: bool | None,
    per_round: int | None,
    training_frames: int,
    first: First | None,
    seed: int,
    conformer_seed: int,
    overwrite: bool,
) -> Prepared:
    """Check everything that can be checked without computing; the arguments are those of
    :func:`learn`."""
    _require(forces > 0, f"a target above 0 meV/A, got {forces:g}")
    _require(labels >= 8, f"at least 8 labels, got {labels}")
    _require(hours is None or hours > 0, f"hours above 0, got {hours}")
    _require(training_frames >= 1, f"at least 1 training frame, got {training_frames}")
    _require(committee >= 1, f"at least 1 model in the committee, got {committee}")
    _require(
        len(temperatures_K) > 0 and all(0 < t < np.inf for t in temperatures_K),
        f"temperatures above 0 K, got {', '.join(f'{t:g}' for t in temperatures_K) or 'none'}",
    )
    state = State(Path(output))
    if per_round is None and not overwrite:  # more labels may be allowed when a run resumes
        per_round = state.earlier_settings().get("labels_per_round")
    per_round = per_round or max(defaults.SMALLEST_ROUND, round(labels / defaults.ROUNDS))
    _require(2 <= per_round < labels, f"between 2 and {labels - 1} labels a round, got {per_round}")
    if baseline is not None and baseline not in KNOWN:
        raise ValueError(f"expected a baseline among {', '.join(KNOWN)}, got {baseline!r}")
    start = read_start(given, charge=charge, reaction=reaction, conformer_seed=conformer_seed)
    _require(
        not (dimers and (start.charge or start.reaction)),
        "a neutral molecule for contacts of two, got an ion or a reaction",
    )
    labeller = _labeller(method, start, options)
    _require(
        baseline is None or not same_level(baseline, labeller.level_of_theory),
        f"a baseline that is not the method itself, got {baseline} for both",
    )
    folder = _initial(initial, labeller.level_of_theory, baseline)
    metadata = load_metadata(folder) if folder is not None else None
    if metadata is not None:
        check_elements(start, metadata)
    heaviest = int(start.frames[0].numbers.max())
    first = first or default_first(metadata, start.charge, heaviest)
    _require(
        first in get_args(First) and not (first == "model" and folder is None),
        f"first geometries by {', '.join(get_args(First))} (of an initial model), got {first!r}",
    )
    by = choice or ("committee" if committee > 1 else "different")
    _require(
        by in get_args(By) and not (by == "committee" and committee == 1),
        f"a choice by {', '.join(get_args(By))} (of several models), got {by!r}",
    )
    how = Choice(
        temperatures_K=tuple(float(t) for t in temperatures_K),
        torsions=torsions and not start.reaction,
        dimers=dimers,
        by=by,
        seed=seed,
    )
    temperatures = " and ".join(f"{t:g}" for t in how.temperatures_K)
    sampled = f"Dynamics at {temperatures} K"
    sampled += ", and a reaction path," if start.reaction else ""
    sampled += ", and contacts of two molecules," if dimers else ""
    recipe = Recipe(
        level_of_theory=labeller.level_of_theory,
        charge=start.charge,
        baseline=baseline,
        limits=(f"{sampled} of {start.formula} only; errors elsewhere are unknown.",),
        seed=seed,
        n_frames=training_frames,
    )
    settings = {
        "geometries": [fingerprint(atoms) for atoms in start.frames],
        "reaction": start.reaction,
        "charge": start.charge,
        "level_of_theory": labeller.level_of_theory,
        "label_settings": labeller.settings(),
        "temperatures_K": list(how.temperatures_K),
        "torsions": how.torsions,
        "dimers": dimers,
        "choice": by,
        "committee": committee,
        "labels_per_round": per_round,
        "initial": metadata and [metadata.name, metadata.weights and metadata.weights.sha256],
        "baseline": baseline,
        "first_geometries": first,
        "training_frames": training_frames,
        "seed": seed,
    }
    state.check(settings, overwrite=overwrite)
    return Prepared(
        job=Job(
            start=start,
            labeller=labeller,
            recipe=recipe,
            choice=how,
            first=first,
            initial=folder,
            committee=committee,
            per_round=per_round,
        ),
        budget=Budget(forces=forces, labels=labels, hours=hours),
        state=state,
        settings=settings,
        initial_name=metadata.name if metadata else NONE,
    )


def _labeller(method: str | Labeller, start: Start, options: Mapping[str, Any] | None) -> Labeller:
    """The labeller, which must agree with the charge and know the elements."""
    if isinstance(method, str):
        method = make_labeller(method, options=options)
    fixed = getattr(method, "charge", None), getattr(method, "spin_multiplicity", None)
    try:
        charge_and_spin(start.frames[0], *fixed)
    except RuntimeError as error:
        hint = "; give the charge as an option of the method" if fixed[0] is not None else ""
        raise ValueError(
            f"{method.level_of_theory} does not fit the molecule: {error}{hint}"
        ) from error
    heaviest = int(start.frames[0].numbers.max())
    if "tblite" in getattr(method, "calculator", "") and heaviest > HEAVIEST:
        symbol = start.frames[0].symbols[int(start.frames[0].numbers.argmax())]
        raise ValueError(
            f"expected elements up to Rn, which {method.level_of_theory} has, got {symbol}"
        )
    return method


def _initial(initial: str | Path | None, level: str, baseline: str | None) -> Path | None:
    """Folder of the initial model; None for random weights."""
    if initial == NONE:
        return None
    if initial is None:
        same = [
            model.name
            for model in list_models()
            if same_level(model.metadata.level_of_theory, level)
            and (model.metadata.baseline and model.metadata.baseline.name) == baseline
            and not model.metadata.formulas
        ]
        preferred = [name for name in same if name.startswith(DEFAULT_INITIAL)]
        initial = next(iter(preferred), DEFAULT_INITIAL)
    path = resolve_model(initial)
    return path if path.is_dir() else path.parent


def _require(fine: bool, expected: str) -> None:
    if not fine:
        raise ValueError(f"expected {expected}")
