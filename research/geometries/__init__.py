"""Families of geometries to be labelled. Each module is a script with a seed."""
