"""Geometries of an ethanol dimer and of Ac-Ala3-NHMe."""
