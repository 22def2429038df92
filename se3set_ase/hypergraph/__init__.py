"""From positions to the hypergraph: bonds, fragments, and their mixing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from se3set_ase._lazy import lazy_names

if TYPE_CHECKING:
    from se3set_ase.hypergraph.build import build_hypergraph
    from se3set_ase.hypergraph.config import HypergraphConfig
    from se3set_ase.hypergraph.fragments import find_fragments
    from se3set_ase.hypergraph.published_recipe import published_fragments
    from se3set_ase.hypergraph.refragment import Refragmenter
    from se3set_ase.hypergraph.structure import Hypergraph
    from se3set_ase.hypergraph.weighted import WeightedHypergraph

__all__ = [
    "Hypergraph",
    "HypergraphConfig",
    "Refragmenter",
    "WeightedHypergraph",
    "build_hypergraph",
    "find_fragments",
    "published_fragments",
]

_HOMES = {
    "Hypergraph": "se3set_ase.hypergraph.structure",
    "HypergraphConfig": "se3set_ase.hypergraph.config",
    "Refragmenter": "se3set_ase.hypergraph.refragment",
    "WeightedHypergraph": "se3set_ase.hypergraph.weighted",
    "build_hypergraph": "se3set_ase.hypergraph.build",
    "find_fragments": "se3set_ase.hypergraph.fragments",
    "published_fragments": "se3set_ase.hypergraph.published_recipe",
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
