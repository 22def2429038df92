"""Pictures of molecules with their hyperedges, and plots of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from se3set_ase._lazy import lazy_names

if TYPE_CHECKING:
    from se3set_ase.simulate.plots import plot_timeline
    from se3set_ase.visualize.live import LivePlot
    from se3set_ase.visualize.molecule import draw, show

__all__ = [
    "LivePlot",
    "draw",
    "plot_timeline",
    "show",
]

_HOMES = {
    "LivePlot": "se3set_ase.visualize.live",
    "draw": "se3set_ase.visualize.molecule",
    "plot_timeline": "se3set_ase.simulate.plots",
    "show": "se3set_ase.visualize.molecule",
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
