"""A small model of an ethanol dimer and of Ac-Ala3-NHMe, and its data."""
