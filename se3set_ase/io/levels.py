"""Which method made the labels of a structure: a level of theory, or a model of this package."""

from __future__ import annotations

from dataclasses import dataclass

from ase import Atoms

__all__ = ["LEVEL", "Origin", "level_of_model", "origin_of_labels", "same_level"]

#: Key of ``atoms.info`` for the level of theory of the labels.
LEVEL = "level_of_theory"
#: Start of the level of labels that a model predicted.
MODEL = "se3set-ase model "
#: Name of the calculator in trajectories.
CALCULATOR = "se3set"


@dataclass(frozen=True)
class Origin:
    """What made labels; both are empty if that is not declared.

    Attributes
    ----------
    level : level of theory.
    model : name or path of a model of this package, whose predictions the labels are.
    """

    level: str = ""
    model: str = ""


def level_of_model(name: str) -> str:
    """The value of ``info["level_of_theory"]`` for predictions of a model."""
    return f"{MODEL}{name}"


def origin_of_labels(atoms: Atoms) -> Origin:
    """What a structure declares: the calculator of a trajectory, or ``info["level_of_theory"]``."""
    if getattr(atoms.calc, "name", None) == CALCULATOR:  # the info may be that of its start
        return Origin(model=str(atoms.calc.parameters.get("model", "")))
    level = str(atoms.info.get(LEVEL, "")).strip()
    if level.startswith(MODEL):
        return Origin(model=level.removeprefix(MODEL))
    return Origin(level=level)


def same_level(one: str, other: str) -> bool:
    """Whether two texts name the same level of theory.

    >>> same_level("wB97X/6-31G(d)", "ωB97X / 6-31g*"), same_level("PBE-D3/SVP", "PBE/SVP")
    (True, False)
    """
    return _canonical(one) == _canonical(other)


def _canonical(level: str) -> str:
    text = level.lower().replace("**", "(d,p)").replace("*", "(d)").replace("ω", "w")
    return "".join(character for character in text if character not in " -_")
