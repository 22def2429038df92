"""How the data and the models of se3set-ase were made, and how they are measured.

Run its modules from the root of the repository: ``python -m research.geometries.ions --help``.
Nothing of it is in the wheel.
"""
