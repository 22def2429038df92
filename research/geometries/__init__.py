"""Families of geometries to be labelled. Each module is a reproducible script with a seed."""
