"""Geometries at and around the saddle points of many small reactions.

Molecules, pairs and triples are drawn from a pool (`reaction_pool`). Pushing electron pairs gives
their possible products (`reaction_edits`), and a search finds saddle points of GFN2-xTB between the
bond graphs (`reaction_paths`). Each reaction has up to five frames::

    python -m research.geometries.reactions --seed 0 --number 1500 \\
        --output runs/geometries/reactions.xyz

Frames are appended to the file, and the same command resumes an interrupted run.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import iread, write

from research.geometries.reaction_edits import (
    BondGraph,
    enumerate_reactions,
    is_sensible,
    likelihood,
)
from research.geometries.reaction_kinds import PREFERENCE, kind_of
from research.geometries.reaction_paths import HIGHEST, find_path, relaxed
from research.geometries.reaction_paths import Path as ReactionPath
from research.geometries.reaction_pool import FAMILIES, draw_system
from research.geometries.reaction_surface import bonded_atoms
from research.geometries.reaction_turns import INVERSION, ROTATION, find_turn, pyramids
from research.geometries.sampling import SMALLEST_GAP
from research.geometries.xtb import force_and_gap
from research.splits import part_of

log = logging.getLogger(__name__)

#: Number of reactions that are tried for each system.
TRIES = 4
#: Largest number of atoms.
ATOMS = 16
#: Standard deviation of the displacements of all frames except saddle points, A.
RATTLE = 0.02


@dataclass(frozen=True, kw_only=True)
class Found:
    """A reaction and its path."""

    draw: int
    reactant: BondGraph
    product: BondGraph
    path: ReactionPath
    kind: str

    @property
    def smiles(self) -> str:
        """``REACTANTS>>PRODUCTS``."""
        return f"{self.reactant.smiles}>>{self.product.smiles}"


def search(
    draw: int,
    *,
    seed: int,
    known: frozenset[str],
    full: frozenset[str],
    families: Sequence[str] = tuple(FAMILIES),
) -> tuple[list[Found], Counter[str]]:
    """Find reactions of a system drawn from the pool, and the kinds of all that were tried.

    Parameters
    ----------
    known : ``REACTANTS>>PRODUCTS`` to leave out, in both directions.
    full : kinds of reactions to leave out.
    families : families of systems to draw from, names in `reaction_pool.FAMILIES`.
    """
    rng = np.random.default_rng([seed, draw])
    family, smiles = draw_system(rng, families)
    try:
        reactant = BondGraph.from_smiles(smiles)
    except ValueError:
        return [], Counter()
    # Small systems give more reactions per hour; cycloadditions need many atoms.
    decay = 12 if family == "Diels-Alder" else 4
    likely = rng.random() < np.exp(-max(len(reactant.numbers) - 8, 0) / decay)
    if not likely or not 3 <= len(reactant.numbers) <= ATOMS:
        return [], Counter()
    if not is_sensible(reactant, reactant):
        return [], Counter()
    if family == "turn":
        return search_turn(draw, reactant, rng=rng, known=known, full=full)
    relay = family == "relay"
    cycles = (4, 6, 8) if relay and len(reactant.fragments) > 2 else (3, 4, 5, 6)
    products = [
        product
        for product, _ in enumerate_reactions(reactant, max_sigma=3 if relay else 2, cycles=cycles)
    ]
    # The resonance structure with the fewest charges.
    products.sort(key=lambda product: np.abs(product.charges).sum())
    graphs = {reactant.bonded.tobytes(): reactant}
    for product in products:
        graphs.setdefault(product.bonded.tobytes(), product)
    candidates: dict[str, list[BondGraph]] = {}
    for product in list(graphs.values())[1:]:
        if is_new(reactant, product, known):
            candidates.setdefault(kind_of(reactant, product), []).append(product)
    for kind in full.intersection(candidates):
        del candidates[kind]
    if not candidates:
        return [], Counter()
    minimum = relaxed(reactant, rng)
    highest = minimum[0] + HIGHEST if minimum else np.inf
    found: dict[str, Found] = {}
    weights = {
        kind: PREFERENCE.get(kind, 1.0)
        * np.array([likelihood(product, reactant) for product in products])
        for kind, products in candidates.items()
    }
    # Exponential waiting times with these rates draw kinds without repetition.
    order = sorted(candidates, key=lambda kind: rng.exponential() / weights[kind].max())
    kinds = order[:TRIES]
    for kind in kinds:
        share = weights[kind] / weights[kind].sum()
        product = candidates[kind][int(rng.choice(len(share), p=share))]
        result = find_path(reactant, product, rng=rng, graphs=graphs, highest=highest)
        if result is None:
            continue
        path, first, second = result
        saddle = Atoms(reactant.numbers, path.positions[path.saddle])
        if force_and_gap(saddle, reactant.charge)[1] < SMALLEST_GAP:
            continue
        if is_new(first, second, known | frozenset(found)):
            one = Found(
                draw=draw, reactant=first, product=second, path=path, kind=kind_of(first, second)
            )
            found[one.smiles] = one
    return list(found.values()), Counter(kinds)


def search_turn(
    draw: int,
    graph: BondGraph,
    *,
    rng: np.random.Generator,
    known: frozenset[str],
    full: frozenset[str],
) -> tuple[list[Found], Counter[str]]:
    """Find an inversion or rotation of one molecule, and the kinds of all that were tried."""
    inversion = bool(pyramids(graph)) and rng.random() < 0.7
    kind = INVERSION if inversion else ROTATION
    minimum = relaxed(graph, rng) if kind not in full and is_new(graph, graph, known) else None
    bonded = bonded_atoms(graph.numbers, minimum[1]) if minimum else None
    if minimum is None or bonded is None or (bonded != graph.bonded).any():
        return [], Counter()
    path = find_turn(graph, minimum[1], rng=rng, inversion=inversion)
    if path is None:
        return [], Counter([kind])
    return [Found(draw=draw, reactant=graph, product=graph, path=path, kind=kind)], Counter([kind])


def is_new(reactant: BondGraph, product: BondGraph, known: frozenset[str]) -> bool:
    """Whether neither the reaction nor its reverse is known."""
    forward = f"{reactant.smiles}>>{product.smiles}"
    return not known.intersection((forward, f"{product.smiles}>>{reactant.smiles}"))


def frames_of(found: Found, name: str, rng: np.random.Generator) -> list[Atoms]:
    """Frames of a reaction: the saddle point, and two on each side of the path."""
    path, fractions = found.path, found.path.fractions()
    frames = []
    for index in path.selected():
        saddle = index == path.saddle
        positions = path.positions[index]
        if not saddle:
            positions = positions + rng.normal(0, RATTLE, positions.shape)
        frame = Atoms(found.reactant.numbers, positions - positions.mean(axis=0))
        frame.info = {
            "family": "reactions",
            "kind": found.kind,
            "reaction": name,
            "smiles": found.smiles,
            "charge": found.reactant.charge,
            "part": part_of(found.smiles),
            "path": round(float(fractions[index]), 4),
            "saddle": bool(saddle),
        }
        if saddle:
            frame.info["gfn2_barrier"] = round(path.barrier, 4)
        frames.append(frame)
    return frames


def append(output: Path, frames: list[Atoms]) -> None:
    """Write the frames of one reaction at once, so that a reader never sees only some of them."""
    text = StringIO()
    write(text, frames, format="extxyz")
    with output.open("a") as file:
        file.write(text.getvalue())
        file.flush()


def run(
    *,
    seed: int,
    number: int,
    output: Path,
    others: list[Path],
    processes: int,
    largest: float,
    families: Sequence[str] = tuple(FAMILIES),
) -> None:
    """Add reactions to a file until it has the requested number.

    Parameters
    ----------
    others : files with reactions to leave out.
    largest : largest share of one kind of reaction.
    families : families of systems to draw from, names in `reaction_pool.FAMILIES`.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    known = {frame.info["smiles"] for path in others for frame in _saddles(path)}
    kinds: Counter[str] = Counter()
    draw = 0
    for frame in _saddles(output):
        known.add(frame.info["smiles"])
        kinds[frame.info["kind"]] += 1
        draw = max(draw, int(frame.info["reaction"][3:-2]) + 1)
    tried: Counter[str] = Counter()
    began = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        while kinds.total() < number:
            full = frozenset(kind for kind, n in kinds.items() if n >= max(5, largest * number))
            job = partial(search, seed=seed, known=frozenset(known), full=full, families=families)
            for results, tries in pool.imap(job, range(draw, draw + 4 * processes)):
                tried += tries
                log.info("tried %s", dict(tries))
                for index, found in enumerate(results):
                    if not is_new(found.reactant, found.product, frozenset(known)):
                        continue
                    name = f"R{seed:02d}{found.draw:06d}{index:02d}"
                    rng = np.random.default_rng([seed, found.draw, index])
                    frames = frames_of(found, name, rng)
                    append(output, frames)
                    known.add(found.smiles)
                    kinds[frames[0].info["kind"]] += 1
                    log.info("%s %s %s", name, frames[0].info["kind"], found.smiles)
            draw += 4 * processes
            seconds = time.monotonic() - began
            log.info("%d reactions, %d tries, %.0f s", kinds.total(), tried.total(), seconds)
    for kind in sorted(kinds | tried):
        log.info("%s: %d found, %d tried in this run", kind, kinds[kind], tried[kind])


def _saddles(path: Path) -> Iterator[Atoms]:
    if path.exists() and path.stat().st_size:
        for frame in iread(path, index=":", format="extxyz"):
            if frame.info["saddle"]:
                yield frame


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--number", type=int, default=1500, help="number of reactions")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--others", type=Path, nargs="*", default=[], help="not wanted again")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--largest", type=float, default=0.08, help="share of one kind")
    parser.add_argument("--families", nargs="*", choices=list(FAMILIES), default=list(FAMILIES))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    run(**vars(arguments))


if __name__ == "__main__":
    main()
