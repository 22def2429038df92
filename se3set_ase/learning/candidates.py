"""Chooses the geometries of a round, and those of the final test."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms

from se3set_ase.learning.defaults import RANDOM_SHARE
from se3set_ase.learning.geometry import distances
from se3set_ase.learning.members import potentials, uncertainties
from se3set_ase.learning.path import ReactionPath, candidates, find_path
from se3set_ase.learning.sampling import CANDIDATES, CONTACTS, Plan, bare, noted, sample
from se3set_ase.learning.selection import select
from se3set_ase.learning.start import Start
from se3set_ase.learning.surfaces import Surface

#: Distinguishes the random numbers of the test from those of rounds.
TEST_SEED = 1_000_003


By = Literal["committee", "different", "random"]
"""Which geometries are labelled: those about which the committee is least sure, those that differ
most, or any."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """How geometries are made and chosen.

    Attributes
    ----------
    temperatures_K : of the dynamics.
    torsions, dimers : see :class:`~se3set_ase.learning.sampling.Plan`.
    by : see :data:`By`.
    seed : of all random numbers.
    """

    temperatures_K: tuple[float, ...]
    torsions: bool
    dimers: bool
    by: By
    seed: int


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Geometries with ``info["role"]``: random, uncertain, reactant, product or saddle.

    Attributes
    ----------
    path : of a reaction; empty otherwise.
    facts : barrier (eV) and change of the saddle (Angstrom), None if unknown.
    """

    frames: list[Atoms]
    path: list[Atoms] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def choose(
    choice: Choice,
    start: Start,
    surface: Surface,
    labelled: Sequence[Atoms],
    members: Sequence[Path],
    *,
    n: int,
    number: int,
    earlier_path: Sequence[Atoms],
    progress: Callable[[], object],
) -> Chosen:
    """Make geometries on the present surface, and choose n of them to label.

    Parameters
    ----------
    labelled : all geometries with labels.
    members : models whose disagreement decides; without them, the most different are chosen.
    number : of the round.
    earlier_path : that of the previous round.
    """
    rng = np.random.default_rng([choice.seed, number])
    pool, path, facts = _pool(
        choice, start, surface, labelled, n, rng, earlier_path, given=number == 0, progress=progress
    )
    drawn = _draw(pool, max(1, round(RANDOM_SHARE * n)), rng)
    taken = {id(atoms) for atoms in drawn}
    rest = [atoms for atoms in pool if id(atoms) not in taken]
    named = [] if path is None else _named(path)
    n_left = max(0, n - len(drawn) - len(named))
    single = len(start.frames[0])
    contacts = [atoms for atoms in rest if len(atoms) > single]
    rest = [atoms for atoms in rest if len(atoms) == single]
    n_contacts = min(len(contacts), math.ceil(CONTACTS * n_left)) if contacts else 0
    models = potentials(members) if choice.by == "committee" else []
    frames = [*named, *drawn]
    for some, n_some in ((rest, n_left - n_contacts), (contacts, n_contacts)):
        if not some or not n_some:
            continue
        size = len(some[0])
        known = [atoms for atoms in [*labelled, *frames] if len(atoms) == size]
        doubt = uncertainties(models, some) if models else None
        if choice.by == "random":
            doubt = rng.random(len(some))
        for index in select(_distances(some), _distances(known), n_some, uncertainty=doubt):
            atoms = some[index]
            atoms.info["role"] = "uncertain"
            if models and doubt is not None:
                atoms.info["uncertainty"] = float(doubt[index])
            frames.append(atoms)
    return Chosen(frames=frames, path=[] if path is None else _stored(path), facts=facts)


def choose_test(
    choice: Choice,
    start: Start,
    surface: Surface,
    labelled: Sequence[Atoms],
    *,
    n: int,
    number: int,
    earlier_path: Sequence[Atoms],
    progress: Callable[[], object],
) -> Chosen:
    """Geometries drawn at random from dynamics of the final model; of reactions half around the
    highest geometry of its path."""
    rng = np.random.default_rng([choice.seed, number, TEST_SEED])
    pool, path, facts = _pool(
        choice, start, surface, labelled, n, rng, earlier_path, given=False, progress=progress
    )
    frames = [] if path is None else candidates(path, n // 2, rng)
    for atoms in frames:
        atoms.info["role"] = "random"
    if not any(atoms.info["settled"] for atoms in pool):  # every run has ended early
        for atoms in pool:
            atoms.info["settled"] = True
    frames += _draw(pool, n - len(frames), rng)
    return Chosen(frames=frames, path=[] if path is None else _stored(path), facts=facts)


def _pool(
    choice: Choice,
    start: Start,
    surface: Surface,
    labelled: Sequence[Atoms],
    n: int,
    rng: np.random.Generator,
    earlier_path: Sequence[Atoms],
    *,
    given: bool,
    progress: Callable[[], object],
) -> tuple[list[Atoms], ReactionPath | None, dict[str, Any]]:
    """Geometries to choose from, and the path of a reaction with facts about it."""
    single = len(start.frames[0])
    starts = [*start.frames, *(bare(a) for a in labelled if len(a) == single)]
    pool: list[Atoms] = []
    path, facts = None, {}
    if start.reaction:
        earlier = _read(earlier_path) if earlier_path else None
        path = find_path(surface, start.frames, earlier)
        facts["barrier"] = None if path.energies is None else path.barrier
        facts["saddle_change"] = None if earlier is None else path.saddle_change(earlier)
        starts += path.images
        pool += candidates(path, CANDIDATES * n // 2, rng)
    plan = Plan(
        temperatures_K=choice.temperatures_K,
        n=CANDIDATES * n,
        torsions=choice.torsions,
        dimers=choice.dimers,
        may_dissociate=start.reaction,
        charge=start.charge,
    )
    pool += sample(surface, starts, plan, rng, progress)
    if given and len(start.frames) > 2:  # the frames of a trajectory
        pool += [noted(atoms, "given", 0.0, settled=True) for atoms in start.frames[1:]]
    return pool, path, facts


def _draw(pool: Sequence[Atoms], n: int, rng: np.random.Generator) -> list[Atoms]:
    """Geometries at random from the settled part of the runs, a fair sample of the dynamics."""
    settled = [atoms for atoms in pool if atoms.info["settled"]]
    chosen = rng.permutation(len(settled))[:n]
    for index in chosen:
        settled[index].info["role"] = "random"
    return [settled[index] for index in chosen]


def _named(path: ReactionPath) -> list[Atoms]:
    """Both ends and the highest image, whose labels give the error of the barrier."""
    found = []
    for role, index in (("reactant", 0), ("saddle", path.highest), ("product", -1)):
        atoms = noted(path.images[index], "path", 0.0, settled=False)
        atoms.info["role"] = role
        found.append(atoms)
    return found


def _distances(frames: Sequence[Atoms]) -> np.ndarray:
    return distances(frames) if frames else np.zeros((0, 0))


def _stored(path: ReactionPath) -> list[Atoms]:
    """Images with their energies, for a file."""
    frames = [bare(image) for image in path.images]
    for atoms, energy in zip(
        frames, path.energies if path.energies is not None else [], strict=False
    ):
        atoms.info["relative_energy_eV"] = float(energy)
    return frames


def _read(frames: Sequence[Atoms]) -> ReactionPath:
    """The inverse of :func:`_stored`."""
    energies = [atoms.info.get("relative_energy_eV") for atoms in frames]
    known = None not in energies
    return ReactionPath(
        images=tuple(map(bare, frames)), energies=np.array(energies) if known else None
    )
