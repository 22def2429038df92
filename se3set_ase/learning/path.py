"""The path of a reaction on the present surface, by nudged elastic band."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.build import minimize_rotation_and_translation
from ase.calculators.calculator import CalculatorError
from ase.mep import NEB
from ase.optimize import FIRE

from se3set_ase.learning.geometry import change, n_fragments, overlapping
from se3set_ase.learning.sampling import bare, noted, relaxed
from se3set_ase.learning.surfaces import Surface, without_warnings

#: Images between reactant and product.
IMAGES = 9
#: Steps and criterion (eV/Angstrom) before the highest image climbs, and afterwards.
FIRST, CLIMB = (60, 0.3), (120, 0.05)
#: Steps of the relaxation of the ends; Angstrom by which their distances may change.
END_STEPS, STAY = 100, 0.3
#: Displacement of each coordinate of geometries around the highest one, Angstrom.
AROUND = 0.04


@dataclass(frozen=True, kw_only=True)
class ReactionPath:
    """Images from the reactant to the product.

    Attributes
    ----------
    images : the ends are minima, the highest one is the saddle if the path has converged.
    energies : eV, relative to the first image; None without a surface.
    """

    images: tuple[Atoms, ...]
    energies: np.ndarray | None

    @property
    def highest(self) -> int:
        """Index of the highest image; the middle one without energies."""
        if self.energies is None:
            return len(self.images) // 2
        return 1 + int(np.argmax(self.energies[1:-1]))

    @property
    def barrier(self) -> float:
        """Energy of the highest image relative to the reactant, eV; NaN without a surface."""
        return math.nan if self.energies is None else float(self.energies[self.highest])

    def saddle_change(self, earlier: ReactionPath) -> float:
        """Change of the distances in the highest image, root mean square, Angstrom."""
        return change(self.images[self.highest], earlier.images[earlier.highest])


def find_path(
    surface: Surface, ends: Sequence[Atoms], earlier: ReactionPath | None = None
) -> ReactionPath:
    """Relax the ends and the path between them, starting from an earlier path if there is one."""
    if surface.make is None:
        return ReactionPath(images=tuple(_interpolated(*ends)), energies=None)
    with without_warnings():
        reactant, product = (_relaxed_end(end, surface) for end in ends)
        if earlier is None or not _similar(earlier, reactant, product):
            images = _interpolated(reactant, product)
        else:
            images = [bare(image) for image in earlier.images]
            images[0], images[-1] = _onto(reactant, images[0]), _onto(product, images[-1])
        for image in images:
            image.calc = surface.make()
        try:
            for (steps, fmax), climb in ((FIRST, False), (CLIMB, True)):
                FIRE(_band(images, climb=climb), logfile=None).run(fmax=fmax, steps=steps)
            energies = np.array([image.get_potential_energy() for image in images])
            whole = np.isfinite(energies).all() and not any(map(overlapping, images))
        except (CalculatorError, ValueError):
            whole = False
        if not whole:  # the surface is wrong between the ends: labels there will change it
            return ReactionPath(images=tuple(_interpolated(*ends)), energies=None)
    return ReactionPath(images=tuple(map(bare, images)), energies=energies - energies[0])


def candidates(path: ReactionPath, n: int, rng: np.random.Generator) -> list[Atoms]:
    """Geometries around the highest image: between its neighbours, displaced at random."""
    found = []
    for _ in range(n):
        at = float(np.clip(path.highest + rng.uniform(-1.5, 1.5), 0, len(path.images) - 1.001))
        left, share = int(at), at % 1.0
        one, other = path.images[left], path.images[left + 1].copy()
        minimize_rotation_and_translation(one, other)
        atoms = bare(one)
        atoms.positions = (1.0 - share) * one.positions + share * other.positions
        atoms.positions += rng.normal(0.0, AROUND, atoms.positions.shape)
        found.append(noted(atoms, "path", 0.0, settled=False))
    return [atoms for atoms in found if not overlapping(atoms)]


def _band(images: list[Atoms], *, climb: bool) -> NEB:
    return NEB(
        images,
        climb=climb,
        method="improvedtangent",
        remove_rotation_and_translation=True,
    )


def _interpolated(reactant: Atoms, product: Atoms) -> list[Atoms]:
    """Image-dependent pair potential between the ends."""
    last = _onto(product, reactant)
    images = [bare(reactant), *(bare(reactant) for _ in range(IMAGES)), last]
    _band(images, climb=False).interpolate("idpp")
    return [bare(image) for image in images]


def _onto(atoms: Atoms, target: Atoms) -> Atoms:
    """The same geometry, moved and rotated onto another one."""
    new = bare(atoms)
    minimize_rotation_and_translation(target, new)
    return new


def _relaxed_end(end: Atoms, surface: Surface) -> Atoms:
    """The relaxed end; the given one if it becomes another molecule on this surface."""
    assert surface.make is not None
    new = relaxed(end, surface.make(), steps=END_STEPS)
    stayed = change(end, new) < STAY and n_fragments(new) == n_fragments(end)
    return new if stayed else bare(end)


def _similar(path: ReactionPath, reactant: Atoms, product: Atoms) -> bool:
    """Whether the ends of a path are nearly these."""
    return all(
        change(*pair) < STAY for pair in ((path.images[0], reactant), (path.images[-1], product))
    )
