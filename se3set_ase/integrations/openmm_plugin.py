"""Plug-in for openmm-ml (entry point ``openmmml.potentials``): the potential by its name.

openmm-ml loads this module whenever it is imported, whichever potential is wanted, so that it must
be quick and must not fail: torch and the network are imported when a potential is made.
"""

from __future__ import annotations

from typing import Any

try:
    from openmmml.mlpotential import MLPotentialImplFactory
except ImportError:  # without openmm-ml nobody calls it
    MLPotentialImplFactory = object


class SE3SetFactory(MLPotentialImplFactory):
    """Makes the potential of ``MLPotential("se3set", **options)``."""

    def createImpl(self, name: str, **options: Any) -> Any:
        """The potential with these options, see :class:`.SE3SetPotential`."""
        from se3set_ase.integrations.openmm import SE3SetPotential

        return SE3SetPotential(**options)
