"""Defaults of learning, the same in Python and at the command line."""

from __future__ import annotations

from typing import Final

TEMPERATURES_K: Final = (300.0, 500.0)
FORCES: Final = 15.0
"""meV/Angstrom: mean absolute error of forces on fresh geometries at which learning ends."""
LABELS: Final = 300
"""Largest number of labels, those of the final test included."""
COMMITTEE: Final = 3
"""Number of models."""
BARRIER: Final = 0.02
"""eV: error and change of the barrier of a reaction at which learning ends."""
SADDLE: Final = 0.05
"""Angstrom: change of the distances in the highest geometry at which learning ends."""

TRAINING_FRAMES: Final = 1600
"""Geometries that the training of a round processes, all epochs together."""
FINAL: Final = 3
"""How many times as many the final training processes."""
ROUNDS: Final = 8
"""Number of rounds that the labels are divided into; the final test has as many as a round."""
SMALLEST_ROUND: Final = 4
"""Labels."""
RANDOM_SHARE: Final = 0.2
"""Share of each round that is drawn at random. It measures the errors and is never trained on."""
