"""Kinds of events: bonds are shown by default, fragments and reach on request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol

__all__ = ["ALL", "BONDS", "KINDS", "checked_kinds", "not_shown", "nothing_changed", "of_kinds"]

#: In the order of their importance; reach changes with every larger vibration.
KINDS = ("bonds", "fragments", "reach")
#: What is shown by default, and the word for all kinds.
BONDS, ALL = "bonds", "all"


class _Event(Protocol):
    @property
    def kind(self) -> str: ...


def checked_kinds(kinds: str | Iterable[str]) -> tuple[str, ...]:
    """Names of kinds in the order of :data:`KINDS`.

    Parameters
    ----------
    kinds : names, or a text with commas between them; ``"all"`` stands for all of them.

    Raises
    ------
    ValueError : an unknown name, or none.

    >>> checked_kinds("reach,bonds")
    ('bonds', 'reach')
    """
    names = [name.strip() for name in (kinds.split(",") if isinstance(kinds, str) else kinds)]
    if not names or {*names} - {*KINDS, ALL}:
        raise ValueError(f"expected kinds out of {', '.join(KINDS)} or {ALL}, got {kinds!r}")
    return KINDS if ALL in names else tuple(kind for kind in KINDS if kind in names)


def of_kinds(events: Sequence[_Event], kinds: str | Iterable[str] = BONDS) -> list[int]:
    """Indices of the events of some kinds, ascending.

    Parameters
    ----------
    events : in any order.
    kinds : ``"bonds"``, ``"fragments"`` or ``"reach"``, several of them, or ``"all"``; see
        :func:`checked_kinds`.
    """
    wanted = checked_kinds(kinds)
    return [index for index, event in enumerate(events) if _kind(event) in wanted]


def not_shown(events: Sequence[_Event], kinds: str | Iterable[str]) -> str:
    """Numbers of events of the other kinds; empty if there are none.

    For instance ``not shown: 4 changes of fragments, 2213 of reach (kinds: all)``.
    """
    counts = Counter(map(_kind, events))
    left = [kind for kind in KINDS if counts[kind] and kind not in checked_kinds(kinds)]
    if not left:
        return ""
    first, *others = left
    change = "change" if counts[first] == 1 else "changes"
    numbers = [f"{counts[first]} {change} of {first}", *(f"{counts[k]} of {k}" for k in others)]
    return f"not shown: {', '.join(numbers)} (kinds: {ALL})"


def nothing_changed(kinds: str | Iterable[str]) -> str:
    """For instance ``no bond changed``."""
    return f"no {' or '.join(kind.removesuffix('s') for kind in checked_kinds(kinds))} changed"


def _kind(event: _Event) -> str:
    """``bonds`` of ``bond formed``."""
    first = event.kind.split()[0]
    return BONDS if first == "bond" else first
