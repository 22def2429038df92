"""Reaction energies, barriers, conformers and interactions against which methods are measured."""
