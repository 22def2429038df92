"""Labels for training: energies and forces of geometries by quantum chemistry."""

from se3set_ase.label.labellers import make_labeller
from se3set_ase.label.protocol import LabelError
from se3set_ase.label.run import label

__all__ = ["LabelError", "label", "make_labeller"]
