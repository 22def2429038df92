"""Defaults of relaxations and dynamics, the same in Python and at the command line."""

from __future__ import annotations

from typing import Final, Literal

FMAX: Final = 0.01
"""Convergence criterion of a relaxation: largest force, eV/Angstrom."""
RELAX_STEPS: Final = 500
"""Maximum number of steps of an optimiser."""
OPTIMIZER: Final = "LBFGS"
TEMPERATURE_K: Final = 300.0
TIMESTEP: Final = 0.5
"""fs."""
MD_STEPS: Final = 4000
"""Number of time steps."""
ENSEMBLE: Final[Literal["langevin", "nve"]] = "langevin"
FRICTION: Final = 0.01
"""Friction of the thermostat, 1/fs."""
VELOCITIES: Final[Literal["maxwell", "keep"]] = "maxwell"
INTERVAL: Final = 10
"""Time steps between records."""
