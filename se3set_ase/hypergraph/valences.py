"""Valences of the elements, from which unsaturated atoms are recognised."""

from __future__ import annotations

from collections.abc import Mapping

#: Lowest and, beyond the octet, highest valence. An atom is saturated if its number of neighbours
#: is one of these or above the highest. Intermediate valences are not listed: the sulfur of a
#: sulfone has four neighbours and is unsaturated. (So is that of SF4, but its fluorines are not.)
#: Elements that are not listed count as saturated.
VALENCES: Mapping[int, tuple[int, ...]] = {
    1: (1,), 5: (3,), 6: (4,), 7: (3,), 8: (2,), 9: (1,),
    14: (4,), 15: (3, 5), 16: (2, 6), 17: (1, 7),
    33: (3, 5), 34: (2, 6), 35: (1, 7), 52: (2, 6), 53: (1, 7),
}  # fmt: skip
