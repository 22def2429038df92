"""SE3Set, an equivariant hypergraph neural network potential, for ASE.

The public names are loaded when first used, so that importing the package (as the command line
does for ``--help``) costs no import of torch or ASE.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from se3set_ase._lazy import lazy_names

if TYPE_CHECKING:
    from se3set_ase.calculator import SE3SetCalculator
    from se3set_ase.events.observe import EventObserver
    from se3set_ase.learning.run import learn
    from se3set_ase.potential import Potential
    from se3set_ase.simulate.many import relax_many
    from se3set_ase.visualize.live import LivePlot
    from se3set_ase.visualize.molecule import draw, show

__all__ = [
    "EventObserver",
    "LivePlot",
    "Potential",
    "SE3SetCalculator",
    "__version__",
    "draw",
    "learn",
    "relax_many",
    "show",
]

__version__ = "0.1.0"

_HOMES = {
    "EventObserver": "se3set_ase.events.observe",
    "LivePlot": "se3set_ase.visualize.live",
    "Potential": "se3set_ase.potential",
    "SE3SetCalculator": "se3set_ase.calculator",
    "draw": "se3set_ase.visualize.molecule",
    "learn": "se3set_ase.learning.run",
    "relax_many": "se3set_ase.simulate.many",
    "show": "se3set_ase.visualize.molecule",
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
