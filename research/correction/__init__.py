"""How `organic-xtb`, the correction of GFN2-xTB to wB97X-3c, is trained and measured."""
